"""The service as systemd runs it: what it may do, whom it answers, and how it follows its configuration."""

from tests.packages.service import CONFIG, HERE, SECRET, bearer, need_serving

MAY = {"write-state", "write-runtime", "read-configuration", "internet-socket"}
NO_CAPABILITIES = "0000000000000000"


def test_is_confined(machine, say):
    """The unit's restrictions, asked of the kernel for the process, and tried out under the same unit."""
    pid = machine.main_pid()
    status = dict(line.split(":\t", 1) for line in machine.must("cat", f"/proc/{pid}/status").splitlines())
    uid = machine.must("id", "-u", "scopeshim").strip()
    assert set(status["Uid"].split()) == {uid}, f"it runs as {status['Uid']}, not {uid}"
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert status[name] == NO_CAPABILITIES, f"{name} is {status[name]}"
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), (
        "no_new_privs or the system call filter is not there"
    )
    outside, inside = _tried(machine, sandboxed=False), _tried(machine, sandboxed=True)
    vain = {name for name, can in outside.items() if not can}
    assert not vain, f"not even root without a sandbox can {sorted(vain)}: nothing was shown"
    can = {name for name in inside if inside[name]}
    assert can == MAY, f"within the unit it can {sorted(can - MAY)}, and cannot {sorted(MAY - can)}"
    assert "not permitted" not in machine.journal(lines=500), (
        f"the service met its limits: {machine.journal(lines=500)}"
    )
    say(f"no capability, filter on; {len(inside) - len(can)} attempts fail that succeed outside")


def _tried(machine, sandboxed):
    probe = machine.path("/usr/local/bin/probe")
    probe.write_text((HERE / "probe.sh").read_text())
    probe.chmod(0o755)
    machine.must("touch", "/tmp/left-by-somebody")
    # Not the file's owner says no there, but the read-only file system.
    machine.must("install", "-d", "-o", "scopeshim", "/opt/its-own")
    if not sandboxed:
        said = machine.must("unshare", "--mount", "--uts", "/usr/local/bin/probe")
    else:
        # The installed unit, but for what makes it this service.
        unit = machine.path("/usr/lib/systemd/system/scopeshim.service").read_text()
        dropped = ("Type=", "ExecReload=", "Restart", "WatchdogSec=", "RuntimeDirectory=", "WantedBy=", "[Install]")
        lines = [line for line in unit.splitlines() if not line.startswith(dropped)]
        at = next(number for number, line in enumerate(lines) if line.startswith("ExecStart="))
        lines[at] = "ExecStart=/usr/local/bin/probe\nType=oneshot\nRuntimeDirectory=probe"
        machine.path("/etc/systemd/system/probe.service").write_text("\n".join(lines) + "\n")
        machine.must("systemctl", "daemon-reload")
        machine.must("systemctl", "start", "probe")
        said = machine.journal("probe.service")
    tried = [line.split() for line in said.splitlines()]
    return {words[0]: words[1] == "can" for words in tried if len(words) == 2 and words[1] in ("can", "cannot")}


def test_reloads(machine, say):
    config, shipped = machine.path(CONFIG), machine.path(CONFIG).read_text()
    token = machine.must("scopeshim", "token", "new", "reader", "--scope", "operator.read", "--write").strip()
    machine.must("systemctl", "reload", "scopeshim")
    need_serving(machine, token)
    good = config.read_text()
    config.write_text(good + "\n[[token]]\nname = 7\n")
    done = machine.run("systemctl", "reload", "scopeshim")
    assert done.returncode, "a reload of a broken file is no failure to systemd"
    need_serving(machine, token)
    # Restarted with the broken file: the last good policy, from the state directory.
    machine.must("systemctl", "restart", "scopeshim")
    need_serving(machine, token)
    assert "last good" in machine.journal(), f"nothing is said of the last good one: {machine.journal()}"
    config.write_text(shipped)
    machine.must("systemctl", "reload", "scopeshim")
    assert machine.ask("/v1/models", *bearer(token))[0] == 401, "the revoked token still passes"
    say("waits for the verdict; a broken file changes nothing, not even over a restart")


def test_answers_root_alone(machine, say):
    """The admin socket."""
    assert "scopeshim" in machine.must("scopeshim", "status"), "no status for root"
    done = machine.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "scopeshim", "status")
    assert done.returncode, f"nobody gets the status: {done.stdout}"
    seen = machine.must("stat", "--format=%a %U:%G", "/run/scopeshim", "/run/scopeshim/admin.sock", "/var/lib/scopeshim")
    wanted = ["750 scopeshim:scopeshim", "600 scopeshim:scopeshim", "700 scopeshim:scopeshim"]
    assert seen.splitlines() == wanted, f"modes of /run/scopeshim, its socket and the state: {seen}"
    say("status for root, not for others")


def test_takes_a_credential(machine, dist, say):
    """The way the unit's comment shows: a secret that the service's user cannot read from disk."""
    unit = machine.path("/usr/lib/systemd/system/scopeshim.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("# LoadCredential="))
    source = line.rpartition(":")[2]
    machine.must("sh", "-c", f"umask 077; mkdir -p $(dirname {source}) && cp {SECRET} {source}")
    machine.must("chown", "-R", "root:root", "/etc/scopeshim/credentials")
    drop_in = machine.path("/etc/systemd/system/scopeshim.service.d/credential.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(f"[Service]\n{line.removeprefix('# ')}\n")
    config = machine.path(CONFIG)
    shipped = config.read_text()
    auth = next(line for line in unit.splitlines() if "auth = {" in line).partition("auth =")[2]
    config.write_text("".join(
        f"auth ={auth}\n" if line.startswith("auth =") else line for line in shipped.splitlines(True)))
    machine.path(SECRET).rename(machine.path("/root/secret"))
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    need_serving(machine, dist.secret)
    machine.path("/root/secret").rename(machine.path(SECRET))
    config.write_text(shipped)
    drop_in.unlink()
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "scopeshim")
    need_serving(machine, dist.secret)
    say(line.removeprefix("# "))
