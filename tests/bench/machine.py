"""The machine: which core a process starts on, what it used, what it is."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_ALL = sorted(os.sched_getaffinity(0))
PINNED = len(_ALL) >= 2
# The load and what stands behind on one core, what is measured alone on another.
LOAD, CANDIDATE = ({_ALL[0]}, {_ALL[1]}) if PINNED else (set(_ALL), set(_ALL))


def settle():
    """Puts this process on the load's core and lets it and its children have many descriptors."""
    os.sched_setaffinity(0, LOAD)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 65536), max(hard, 65536)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@contextlib.contextmanager
def on(cores):
    """What is started within runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def family(pid):
    """The process and its children."""
    pids = [pid]
    for task in _tasks(pid):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                pids += family(int(child))
    return pids


def cpu_seconds(pid):
    """utime + stime of all threads of the process and of its children."""
    ticks = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def rss(pid):
    """Resident bytes of the process and of its children."""
    return sum(_status(one, "VmRSS") for one in family(pid))


def reset_peak(pid):
    for one in family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def peak_rss(pid):
    return sum(_status(one, "VmHWM") for one in family(pid))


def stripped_size(binary, folder):
    copy = Path(folder) / "stripped"
    shutil.copyfile(binary, copy)
    if shutil.which("strip"):
        subprocess.run(["strip", str(copy)], check=True, timeout=60)
    size = copy.stat().st_size
    copy.unlink()
    return size


def describe():
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    model = model[1].strip() if model else os.uname().machine
    pins = f"candidate on core {min(CANDIDATE)}, load and upstream on core {min(LOAD)}" if PINNED else "nothing pinned"
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    return f"{len(_ALL)} cores, {model}, Linux {os.uname().release}; {pins}; load average at the start {load}"


def version(command, pattern):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    except OSError:
        return "not there"
    found = re.search(pattern, done.stdout)
    return found[1] if found else "unknown"


def _tasks(pid):
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _status(pid, field):
    with contextlib.suppress(OSError):
        found = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        if found:
            return int(found[1]) * 1024
    return 0
