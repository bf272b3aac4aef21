"""A package is followed by the next one, and goes."""

from tests.packages import repack
from tests.support.suite import need
from tests.packages.cases.arriving import CONFIG, SECRET, UNITS, need_serving
from tests.packages.cases.stopping import Callers


def upgrades(kind, ctx):
    """Over a configuration that was edited, to a release that ships another one, while clients call."""
    machine = ctx.machine(kind.name, kind.suite)
    token = machine.must("scopeshim", "token", "new", "kept", "--scope", "operator.read", "--write").strip()
    edited = machine.path(CONFIG).read_text()
    file = ctx.bring(machine, kind.following(ctx))
    before = machine.main_pid()
    callers = Callers(machine, ctx)
    kind.install(machine, file)
    fared = callers.need_all_answered()
    need(kind.version(machine).startswith(repack.VERSION), f"the version is {kind.version(machine)!r}")
    need(machine.main_pid() != before, "the new release does not run")
    need(machine.path(CONFIG).read_text() == edited, "the edited configuration was changed")
    offered = machine.path(CONFIG + kind.beside)
    need(offered.exists() and offered.read_text().startswith(repack.ADDED), f"{offered.name} is not there")
    need_serving(machine, token)
    mode = machine.must("stat", "--format=%a %U:%G", CONFIG, "/etc/scopeshim").splitlines()
    need(mode == ["640 root:scopeshim", "2750 root:scopeshim"], f"modes are {mode}")
    for unit in UNITS:
        need(machine.must("systemctl", "is-enabled", unit).strip() == "enabled", f"{unit} is not enabled any more")
    machine.must("systemctl", "reset-failed")
    return f"{fared}; {offered.name} beside the edited one"


def is_removed(kind, ctx):
    machine = ctx.machine(kind.name, kind.suite)
    edited = machine.path(CONFIG).read_text()
    kind.remove(machine)
    for unit in UNITS:
        state = machine.run("systemctl", "is-active", unit).stdout.strip()
        need(state == "inactive", f"{unit} is {state}")
    need(machine.ask("/healthz")[0] == 0, "something still answers")
    left = machine.run("sh", "-c", "find / -xdev -path /proc -prune -o -name '*scopeshim*' -print 2>/dev/null").stdout
    kept = machine.path(CONFIG if kind.name != "rpm" else CONFIG + ".rpmsave")
    need(kept.exists() and kept.read_text() == edited, f"{kept.name} is not the edited one")
    need(machine.path(SECRET).exists(), "the secret that root wrote is gone")
    programs = [path for path in left.split() if path.startswith(("/usr/bin", "/usr/lib/systemd", "/usr/share"))]
    need(not programs, f"left behind: {programs}")
    need(not kind.version(machine), "the package manager still has it installed")
    return f"stopped and gone; {kept.name}, the secret and the state stay"


def comes_again(kind, ctx):
    machine = ctx.machine(kind.name, kind.suite)
    kind.install(machine, ctx.bring(machine, kind.package(ctx)))
    need(not kind.version(machine).startswith(repack.VERSION), "it is not the first package again")
    if kind.name == "rpm":
        machine.must("mv", f"{CONFIG}.rpmsave", CONFIG)
    machine.must("systemctl", "start", "scopeshim")
    need_serving(machine, ctx.secret)
    need('name = "kept"' in machine.path(CONFIG).read_text(), "the edited configuration is not in force")
    return "with the configuration it was left with"


def is_purged(kind, ctx):
    machine = ctx.machine(kind.name, kind.suite)
    kind.purge(machine)
    need(machine.ask("/healthz")[0] == 0, "something still answers")
    for path in (CONFIG, CONFIG + kind.beside, "/var/lib/scopeshim", "/run/scopeshim", "/usr/bin/scopeshim"):
        need(machine.run("test", "-e", path).returncode, f"{path} is still there")
    links = machine.run("find", "/etc/systemd/system", "/var/lib/systemd", "-name", "scopeshim.s*", "-not", "-type", "d").stdout.split()
    need(not links, f"systemd still has {links}")
    need(machine.path(SECRET).exists(), "a file that root wrote is gone")
    return "configuration and state gone; what root wrote beside them stays"
