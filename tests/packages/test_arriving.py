"""A package arrives: what is there then, and the way from there to a service that serves."""

import re

from tests.packages.kinds import BOTH
from tests.packages.service import CONFIG, SECRET, UNITS, bearer, need_serving
from tests.support import fake_gateway, procs

# Ten times the exposure that systemd-analyze gives at the most.
THRESHOLD = 15


def test_installs(kind, machine, dist, say):
    said = kind.install(machine, machine.bring(kind.package(dist)))
    expected = BOTH | kind.files
    # Directories are the file system's or /etc/scopeshim, which tmpfiles.d looks after.
    held, promised = kind.listed(dist), {path for path in expected if path != "/etc/scopeshim"}
    assert held == promised, f"it holds {sorted(held - promised)} too, and not {sorted(promised - held)}"
    seen = machine.must("stat", "--format=%n %a %U:%G", *expected)
    found = dict(line.split(" ", 1) for line in seen.splitlines())
    for path, wanted in expected.items():
        assert found[path] == wanted, f"{path} is {found[path]}, not {wanted}"
    assert not kind.verify(machine), f"the package manager finds it changed: {kind.verify(machine)}"
    user = machine.must("getent", "passwd", "scopeshim").split(":")
    assert user[5:7] == ["/var/lib/scopeshim", "/usr/sbin/nologin\n"], f"the user is {user}"
    for unit in UNITS:
        state = machine.run("systemctl", "is-enabled", unit).stdout.strip(), \
            machine.run("systemctl", "is-active", unit).stdout.strip()
        assert state == ("disabled", "inactive"), f"{unit} is {state}"
    assert "warning" not in said.lower() and "error" not in said.lower(), f"installing said: {said}"
    version = machine.must("scopeshim", "--version").strip()
    say(f"{version}, {len(expected)} files, nothing enabled or started")


def test_has_sound_units(machine, say):
    """What systemd itself says of the units, in this release of it."""
    for unit in UNITS:
        done = machine.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{unit}")
        assert not done.returncode and not done.stdout + done.stderr, f"{unit}: {done.stdout}{done.stderr}"
    service = "/usr/lib/systemd/system/scopeshim.service"
    done = machine.run("systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", service)
    verdict = done.stdout.strip().splitlines()[-1:]
    assert not done.returncode, f"{verdict} {done.stderr}"
    release = machine.must("systemctl", "--version").split()[1]
    say(f"systemd {release}: {verdict[0].partition(':')[2].strip()}")


def test_refuses_without_a_secret(machine, say):
    """The first start by somebody who has read nothing."""
    done = machine.run("scopeshim", "check")
    assert done.returncode == 78, f"check ended with {done.returncode}"
    for part in (SECRET, f"{CONFIG}:", "scopeshim init --force --openclaw-config FILE",
                 f"install -m 0640 -g scopeshim /dev/null {SECRET}"):
        assert part in done.stderr, f"check does not say {part!r}: {done.stderr}"
    assert machine.run("systemctl", "start", "scopeshim").returncode, "it started without a secret"
    seen = machine.shows("scopeshim", "ActiveState", "ExecMainStatus", "NRestarts")
    assert seen == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}, f"the unit is {seen}"
    assert "install -m 0640 -g scopeshim" in machine.journal(), f"the journal does not say it: {machine.journal()}"
    machine.must("systemctl", "reset-failed", "scopeshim")
    say("78, once; check and the journal say what to do")


def test_by_its_own_words(machine, dist, say):
    """Every command of the shipped configuration's second way, as it stands there."""
    machine.beside("python3", "-u", fake_gateway.__file__, dist.secret, "--port", "18789", "--stream", "3", log="gateway.log")
    text = machine.path(CONFIG).read_text()
    second = text.partition("# 2.")[2]
    commands = [line.removeprefix("#   ") for line in second.splitlines() if re.match("#   [a-z]", line)]
    assert len(commands) == 3 and "#   systemctl enable --now scopeshim" in text, (
        f"the words are not there: {commands}"
    )
    for command in [*commands, "systemctl enable --now scopeshim"]:
        machine.must("sh", "-c", command, said=f"{dist.secret}\n")
    need_serving(machine, dist.secret)
    assert machine.ask("/v1/models")[0] == 401, "a caller without a credential is not refused"
    assert machine.ask("/v1/models", "-H", "authorization: Bearer not-the-secret-at-all")[0] == 401, (
        "a wrong one is not"
    )
    seen = machine.shows("scopeshim", "Type", "ActiveState", "StatusText", "UnitFileState", "WatchdogUSec")
    assert seen["ActiveState"] == "active" and seen["UnitFileState"] == "enabled", f"the unit is {seen}"
    assert seen["StatusText"], "systemd was told no status"
    say(f"{len(commands) + 1} commands, then 200; status: {seen['StatusText']}")


def test_by_init(machine, dist, say):
    """The first way: the gateway's own configuration becomes ours, and the service can read what root wrote."""
    machine.must("systemctl", "stop", "scopeshim")
    machine.must("sh", "-c", f"cp {CONFIG} /root/as-shipped.toml")
    machine.path("/root/openclaw.json").write_text(
        f"{{ gateway: {{ port: 18789, auth: {{ mode: 'token', token: '{dist.secret}' }} }} }}")
    # A careful root's umask must not take the service its right to read.
    said = machine.must("sh", "-c", "umask 077; scopeshim init --force --openclaw-config /root/openclaw.json </dev/null")
    assert "systemctl enable --now scopeshim" in said, f"init does not say how to start it: {said}"
    token = next((line.strip() for line in said.splitlines() if line.startswith("    ")), "")
    machine.must("systemctl", "start", "scopeshim")
    need_serving(machine, token)
    done = machine.run("scopeshim", "doctor")
    assert "scopeshim" in done.stdout + done.stderr and done.returncode in (0, 1, 2), (
        f"doctor: {done.stdout}{done.stderr}"
    )
    phone = machine.must("sh", "-c", "umask 077; scopeshim token new phone --scope operator.read --write").strip()
    procs.until(lambda: machine.ask("/v1/models", *bearer(phone))[0] == 200, 10, "a token that root wrote in force")
    seen = machine.must("stat", "--format=%a %U:%G", CONFIG, SECRET).split("\n")
    assert seen[:2] == ["640 root:scopeshim"] * 2, f"modes became {seen}"
    machine.must("sh", "-c", f"cat /root/as-shipped.toml >{CONFIG}")
    procs.until(lambda: machine.ask("/v1/models", *bearer(phone))[0] == 401, 10, "the shipped configuration back in force")
    say("configuration, secret and tokens written by root, read by the service")
