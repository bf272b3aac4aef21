"""No secret of the run stands in anything the process ever wrote or showed."""

import subprocess

from tests.observe import traffic
from tests.support import clients, shim


def _shown(binary, harness):
    """Everything there is to read of one process."""
    texts = {"log": harness.wrote(), "metrics": harness.metrics()}
    for path in ("/status", "/", "/livez", "/readyz", "/no-such-thing"):
        for accept in ("application/json", "text/html"):
            texts[f"{path} {accept}"] = clients.request("GET", harness.admin + path, [("accept", accept)]).body.decode()
    for command in (["status"], ["status", "--json"], ["top", "--looks", "1"], ["check"]):
        done = subprocess.run([binary, *command, "--config", harness.config], timeout=30, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        texts[" ".join(command)] = done.stdout
    return texts


def test_no_secret_is_ever_written(binary, harnesses, say):
    # At the most talkative level.
    harness = harnesses.new(level="trace")
    traffic.one_round(harness)
    # What people do: a token where its hash belongs, a key that does not exist.
    for line in ('sha256 = "{}"', 'token = "{}"', 'sha265 = "{}"', 'scopes = "{}"', '"{}"'):
        pasted = harness.secret("pasted")
        harnesses.seen.append(harness.reload(f'{harness.good}\n[[token]]\nname = "new"\n{line.format(pasted)}\n'))
        harnesses.seen.append(str(harness.status()))
    every = {secret for each in harnesses.all for secret in each.secrets}
    assert len(every) > 20, "there were hardly any secrets"
    texts = {"what people saw": "\n".join(harnesses.seen)}
    for number, each in enumerate(harnesses.all):
        if each.shim.child.alive():
            texts |= {f"{number}: {name}": text for name, text in _shown(binary, each).items()}
        else:
            texts[f"{number}: log"] = each.wrote()
    found = {(name, secret.split("-")[0]) for name, text in texts.items() for secret in every if secret in text}
    assert not found, f"a secret stands in: {sorted(found)}"
    # The test is blind if nothing was written.
    log = harness.wrote()
    assert "request ends" in log and "reader" in log, "the log holds no trace of the requests"
    assert shim.TOKENS["reader"] in every, "the secrets of the run are not looked for"
    size = sum(map(len, texts.values()))
    say(f"{len(every)} secrets, none in {len(texts)} texts of {size // 1024} KiB")
