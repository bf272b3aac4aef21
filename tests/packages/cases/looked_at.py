"""The packages as files, looked at without installing them."""

import hashlib
import json
import os
import re
import subprocess
import tomllib

from tests.support import procs
from tests.packages import tools
from tests.packages.base import ROOT
from tests.support.suite import case, need
from tests.packages.kinds import KINDS

# What the README promises; newer symbols would shut out Ubuntu 22.04 and RHEL 9.
GLIBC = (2, 34)
LINTIAN = {
    "bogus-mail-host": "the project has no mail address",
    "bogus-mail-host-in-debian-changelog": "as above",
    "initial-upload-closes-no-bugs": "it is not uploaded to Debian, so there is no request there to close",
    "non-standard-file-perm": "the configuration is for root to write and for the service's group to read",
}
# What Fedora and RHEL 9 have without anybody installing it, beside the libraries of glibc and gcc.
HAD = {"systemd", "/bin/sh", "config(scopeshim)", "rpmlib(CompressedFileNames)", "rpmlib(FileDigests)", "rpmlib(PayloadFilesHavePrefix)",
       "rpmlib(PayloadIsZstd)", "rpmlib(PayloadIsXz)", "rtld(GNU_HASH)"}
LIBRARIES = re.compile(r"(libc|libm|libgcc_s|ld-linux-x86-64|libdl|libpthread|librt)\.so\.[0-9]+\((.*?)\)(\(64bit\))?")


@case("files.checksums")
def checksums(ctx):
    lines = [line.split(maxsplit=1) for line in (ctx.dist / "SHA256SUMS").read_text().splitlines()]
    named = {name for _, name in lines}
    there = {file.name for file in ctx.dist.iterdir()} - {"SHA256SUMS"}
    need(named == there, f"it names {sorted(named)}, and there are {sorted(there)}")
    for wanted, name in lines:
        need(hashlib.sha256((ctx.dist / name).read_bytes()).hexdigest() == wanted, f"{name} has another checksum")
    return ", ".join(f"{name} {(ctx.dist / name).stat().st_size / 1e6:.1f} MB" for name in sorted(named))


@case("files.glibc")
def glibc(ctx):
    """Both packages ask for what the binary needs, and the binary for nothing newer than is promised."""
    for kind in KINDS:
        tree = ctx.folder / f"tree-{kind.name}"
        _unpack(kind, ctx, tree)
        symbols = _said(["objdump", "--dynamic-syms", tree / "usr/bin/scopeshim"])
        newest = max(tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([0-9.]+)", symbols))
        need(newest <= GLIBC, f"{kind.name}: it asks for glibc {newest}")
        sections = _said(["objdump", "--section-headers", tree / "usr/bin/scopeshim"])
        need(".symtab" not in sections and ".debug" not in sections, f"{kind.name}: the binary is not stripped")
    version = ".".join(map(str, newest))
    depends = _said(["dpkg-deb", "--field", ctx.deb, "Depends"]).strip()
    need(f"libc6 (>= {version})" in depends, f"the deb depends on {depends}")
    requires = set(_said(["rpm", "-qp", "--requires", "--nosignature", ctx.rpm]).splitlines())
    need(f"libc.so.6(GLIBC_{version})(64bit)" in requires, f"the rpm requires {sorted(requires)}")
    need("systemd" in requires, "the rpm does not require systemd")
    odd = [name for name in requires if name.split(" ")[0] not in HAD and not LIBRARIES.fullmatch(name)]
    need(not odd, f"the rpm requires {odd}, which nobody has")
    size = (tree / "usr/bin/scopeshim").stat().st_size
    return f"glibc {version}, binary {size:,} bytes"


def _unpack(kind, ctx, tree):
    if tree.exists():
        return
    tree.mkdir()
    if kind.package(ctx) is ctx.deb:
        _said(["dpkg-deb", "--extract", ctx.deb, tree])
        return
    # Debian's ends with 1 when all went well, too.
    archive = subprocess.run(["rpm2cpio", str(ctx.rpm)], capture_output=True, check=False, timeout=60).stdout
    subprocess.run(["cpio", "--extract", "--make-directories", "--quiet"], input=archive, cwd=tree, check=True, timeout=60)


@case("files.lintian")
def lintian(ctx):
    command = [tools.program("lintian"), "--no-cfg", "--color=never", "--allow-root", "--display-level=>=warning"]
    plain = procs.run([*command, str(ctx.deb)], dict(os.environ), 180)
    seen = set(re.findall(r"^[EW]: scopeshim: (\S+)", plain.stdout, re.MULTILINE))
    need(set(LINTIAN) <= seen, f"these need not be set aside: {sorted(set(LINTIAN) - seen)} {plain.stderr}")
    done = procs.run([*command, f"--suppress-tags={','.join(LINTIAN)}", str(ctx.deb)], dict(os.environ), 180)
    need(not done.stdout.strip() and not done.returncode, f"{done.stdout}{done.stderr}")
    return f"nothing, {len(LINTIAN)} tags set aside"


@case("files.rpmlint")
def rpmlint(ctx):
    config = ROOT / "packaging/rpm/rpmlint.toml"
    done = procs.run([tools.program("rpmlint"), "--config", str(config), str(ctx.rpm)], dict(os.environ), 180)
    found = [line for line in done.stdout.splitlines() if re.match(r"scopeshim\S* *(\(\w+\))?: [EW]:", line)]
    need(not found and not done.returncode, "\n".join(found) or done.stdout + done.stderr)
    return f"nothing, {len(tomllib.loads(config.read_text())['Filters'])} filters"


@case("files.scripts")
def scripts(ctx):
    """What runs as root while packages come and go."""
    shellcheck, seen = tools.program("shellcheck"), []
    for kind in (KINDS[0], KINDS[-1]):
        folder = ctx.folder / f"scripts-{kind.name}"
        for name, text in kind.scripts(ctx, folder).items():
            seen.append(name)
            done = procs.run([shellcheck, "--shell=sh", "--severity=warning", "-"], None, 60, text)
            need(not done.returncode, f"{kind.name} {name}: {done.stdout}")
    need(len(seen) >= 7, f"only {seen} were found")
    return ", ".join(seen)


@case("files.linked-crates")
def linked_crates(ctx):
    """Every crate that is linked in: its licence in both packages, its checksum in the bill of materials."""
    tree = ctx.folder / "tree-deb"
    _unpack(KINDS[0], ctx, tree)
    # Where something may panic, the binary holds the file's name.
    data = (tree / "usr/bin/scopeshim").read_bytes()
    paths = re.findall(rb"/cargo/registry/src/[^/]*/([A-Za-z0-9_-]+?)-([0-9][0-9A-Za-z.+-]*)/", data)
    linked = {(name.decode(), version.decode()) for name, version in paths}
    need(len(linked) > 80, f"the binary names {len(linked)} crates alone")
    bom = json.loads((ctx.dist / "scopeshim.cdx.json").read_text())
    listed = {(c["name"], c["version"]): c for c in bom["components"]}
    need(linked <= set(listed), f"the bill of materials lacks {sorted(linked - set(listed))}")
    for crate in sorted(linked):
        entry = listed[crate]
        need(entry.get("hashes") and entry.get("licenses"), f"{crate} has no checksum or no licence there")
    for kind in (KINDS[0], KINDS[-1]):
        tree = ctx.folder / f"tree-{kind.name}"
        _unpack(kind, ctx, tree)
        text = next(tree.rglob("THIRD-PARTY-LICENSES.md")).read_text()
        named = set(re.findall(r"^- (\S+) (\S+): ", text, re.MULTILINE))
        need(linked <= named, f"{kind.name}: no licence of {sorted(linked - named)}")
        need("see below" not in text, f"{kind.name}: a crate names no licence")
        covered = {pair for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)
                   for pair in re.findall(r"(\S+) (\d\S*) \(", heading)}
        need(linked <= covered, f"{kind.name}: no text for {sorted(linked - covered)}")
    return f"{len(listed)} are listed, among them the {len(linked)} that the binary names itself"


def _said(command, folder=None):
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout
