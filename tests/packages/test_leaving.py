"""A package is followed by the next one, and goes."""

from tests.packages import repack
from tests.packages.service import CONFIG, SECRET, UNITS, Callers, need_serving
from tests.support.outcomes import NotAvailable


def test_upgrades(kind, machine, dist, say):
    """Over a configuration that was edited, to a release that ships another one, while clients call."""
    token = machine.must("scopeshim", "token", "new", "kept", "--scope", "operator.read", "--write").strip()
    edited = machine.path(CONFIG).read_text()
    file = machine.bring(kind.following(dist))
    before = machine.main_pid()
    callers = Callers(machine, dist)
    kind.install(machine, file)
    fared = callers.need_all_answered()
    assert kind.version(machine).startswith(repack.VERSION), f"the version is {kind.version(machine)!r}"
    assert machine.main_pid() != before, "the new release does not run"
    assert machine.path(CONFIG).read_text() == edited, "the edited configuration was changed"
    offered = machine.path(CONFIG + kind.beside)
    assert offered.exists() and offered.read_text().startswith(repack.ADDED), f"{offered.name} is not there"
    need_serving(machine, token)
    mode = machine.must("stat", "--format=%a %U:%G", CONFIG, "/etc/scopeshim").splitlines()
    assert mode == ["640 root:scopeshim", "2750 root:scopeshim"], f"modes are {mode}"
    for unit in UNITS:
        assert machine.must("systemctl", "is-enabled", unit).strip() == "enabled", f"{unit} is not enabled any more"
    machine.must("systemctl", "reset-failed")
    say(f"{fared}; {offered.name} beside the edited one")


def test_is_removed(kind, machine, say):
    edited = machine.path(CONFIG).read_text()
    kind.remove(machine)
    for unit in UNITS:
        state = machine.run("systemctl", "is-active", unit).stdout.strip()
        assert state == "inactive", f"{unit} is {state}"
    assert machine.ask("/healthz")[0] == 0, "something still answers"
    left = machine.run("sh", "-c", "find / -xdev -path /proc -prune -o -name '*scopeshim*' -print 2>/dev/null").stdout
    kept = machine.path(CONFIG if kind.name != "rpm" else CONFIG + ".rpmsave")
    assert kept.exists() and kept.read_text() == edited, f"{kept.name} is not the edited one"
    assert machine.path(SECRET).exists(), "the secret that root wrote is gone"
    programs = [path for path in left.split() if path.startswith(("/usr/bin", "/usr/lib/systemd", "/usr/share"))]
    assert not programs, f"left behind: {programs}"
    assert not kind.version(machine), "the package manager still has it installed"
    say(f"stopped and gone; {kept.name}, the secret and the state stay")


def test_comes_again(kind, machine, dist, say):
    kind.install(machine, machine.bring(kind.package(dist)))
    assert not kind.version(machine).startswith(repack.VERSION), "it is not the first package again"
    if kind.name == "rpm":
        machine.must("mv", f"{CONFIG}.rpmsave", CONFIG)
    machine.must("systemctl", "start", "scopeshim")
    need_serving(machine, dist.secret)
    assert 'name = "kept"' in machine.path(CONFIG).read_text(), "the edited configuration is not in force"
    say("with the configuration it was left with")


def test_is_purged(kind, machine, say):
    if kind.name == "rpm":
        raise NotAvailable("rpm knows no purging")
    kind.purge(machine)
    assert machine.ask("/healthz")[0] == 0, "something still answers"
    for path in (CONFIG, CONFIG + kind.beside, "/var/lib/scopeshim", "/run/scopeshim", "/usr/bin/scopeshim"):
        assert machine.run("test", "-e", path).returncode, f"{path} is still there"
    links = machine.run("find", "/etc/systemd/system", "/var/lib/systemd", "-name", "scopeshim.s*", "-not", "-type", "d").stdout.split()
    assert not links, f"systemd still has {links}"
    assert machine.path(SECRET).exists(), "a file that root wrote is gone"
    say("configuration and state gone; what root wrote beside them stays")
