"""The release after the one under test: a higher version, and another configuration as shipped."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.packages.tools import Missing

ROOT = Path(__file__).resolve().parents[2]
ADDED = "# The next release says one thing more.\n"
VERSION = "999.0.0"


def deb(package, folder):
    """Takes the package apart and puts it together again."""
    tree, made = folder / "next-deb", folder / "next.deb"
    _run(["dpkg-deb", "--raw-extract", package, tree])
    config = tree / "etc/scopeshim/config.toml"
    config.write_text(ADDED + config.read_text())
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text("\n".join(f"Version: {VERSION}-1" if x.startswith("Version:") else x for x in lines) + "\n")
    sums = tree / "DEBIAN/md5sums"
    if sums.exists():
        sums.write_text("".join(x for x in sums.read_text().splitlines(True) if "etc/scopeshim" not in x))
    _run(["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", tree, made])
    return made


def rpm(folder):
    """There is nothing that takes an rpm apart and puts it together: it is built like the first one."""
    tool = ROOT / "target/tools/bin/cargo-generate-rpm"
    if not os.access(tool, os.X_OK):
        raise Missing(f"no {tool.relative_to(ROOT)}; make packages installs it")
    tree = folder / "next-rpm"
    tree.mkdir()
    # Whatever the package takes from the repository, so that a new asset needs no line here.
    for entry in ROOT.iterdir():
        if entry.name not in ("Cargo.toml", "packaging") and not entry.name.startswith("."):
            (tree / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "packaging", tree / "packaging")
    config = tree / "packaging/config.toml"
    config.write_text(ADDED + config.read_text())
    lines = (ROOT / "Cargo.toml").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("version = "))
    lines[at] = f'version = "{VERSION}"'
    (tree / "Cargo.toml").write_text("\n".join(lines) + "\n")
    made = folder / "next.rpm"
    _run([tool, "generate-rpm", "--target-dir", ROOT / "target", "--output", made], tree)
    return made


def _run(command, folder=None):
    done = subprocess.run([str(c) for c in command], cwd=folder, stdin=subprocess.DEVNULL, timeout=300, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
