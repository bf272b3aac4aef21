"""What is linked into the binary: the crates, as cargo resolves them for a target, and Rust's own library.

The target is the first argument of the program that imports this; the machine's own, if it has none.
"""

import json
import subprocess
import sys
import tomllib


def crates() -> list[dict]:
    """Metadata of every crate that is linked in, by name; without what only builds or tests it."""
    how = ["--locked", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}", f"--target={target()}"]
    tree = said("cargo", "tree", *how)
    linked = {tuple(line.replace(" v", " ", 1).split()[:2]) for line in tree.splitlines() if line}
    metadata = json.loads(said("cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target()}"))
    found = [p for p in metadata["packages"] if (p["name"], p["version"]) in linked and p["source"]]
    with open("Cargo.lock", "rb") as file:
        sums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(file)["package"]}
    for package in found:
        package["checksum"] = sums[package["name"], package["version"]]
        # An older way of writing the same.
        package["license"] = (package["license"] or "").replace(" / ", " OR ").replace("/", " OR ")
    return sorted(found, key=lambda p: (p["name"], p["version"]))


def target() -> str:
    if sys.argv[1:]:
        return sys.argv[1]
    return next(line.split(": ")[1] for line in said("rustc", "-vV").splitlines() if line.startswith("host: "))


def rust() -> str:
    """The release of the compiler, which is that of the standard library."""
    return next(line.split(": ")[1] for line in said("rustc", "-vV").splitlines() if line.startswith("release: "))


def said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
