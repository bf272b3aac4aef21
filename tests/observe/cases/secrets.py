"""No secret of the run stands in anything the process ever wrote or showed."""

import subprocess

from tests.support import clients
from tests.support import shim
from tests.observe import traffic
from tests.support.suite import case, need


def _shown(ctx, rig):
    """Everything there is to read of one process."""
    texts = {"log": rig.wrote(), "metrics": rig.metrics()}
    for path in ("/status", "/", "/livez", "/readyz", "/no-such-thing"):
        for accept in ("application/json", "text/html"):
            texts[f"{path} {accept}"] = clients.request("GET", rig.admin + path, [("accept", accept)]).body.decode()
    for command in (["status"], ["status", "--json"], ["top", "--looks", "1"], ["check"]):
        done = subprocess.run([ctx.binary, *command, "--config", rig.config], timeout=30, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        texts[" ".join(command)] = done.stdout
    return texts


@case("secrets.nowhere")
def nowhere(ctx):
    # At the most talkative level.
    rig = ctx.new_rig(level="trace")
    traffic.one_round(rig)
    # What people do: a token where its hash belongs, a key that does not exist.
    for line in ('sha256 = "{}"', 'token = "{}"', 'sha265 = "{}"', 'scopes = "{}"', '"{}"'):
        pasted = rig.secret("pasted")
        ctx.seen.append(rig.reload(f'{rig.good}\n[[token]]\nname = "new"\n{line.format(pasted)}\n'))
        ctx.seen.append(str(rig.status()))
    every = {secret for each in ctx.rigs for secret in each.secrets}
    need(len(every) > 20, "there were hardly any secrets")
    texts = {"what people saw": "\n".join(ctx.seen)}
    for number, each in enumerate(ctx.rigs):
        if each.shim.child.alive():
            texts |= {f"{number}: {name}": text for name, text in _shown(ctx, each).items()}
        else:
            texts[f"{number}: log"] = each.wrote()
    found = {(name, secret.split("-")[0]) for name, text in texts.items() for secret in every if secret in text}
    need(not found, f"a secret stands in: {sorted(found)}")
    # The test is blind if nothing was written.
    log = rig.wrote()
    need("request ends" in log and "reader" in log, "the log holds no trace of the requests")
    need(shim.TOKENS["reader"] in every, "the secrets of the run are not looked for")
    size = sum(map(len, texts.values()))
    return f"{len(every)} secrets, none in {len(texts)} texts of {size // 1024} KiB"
