"""The packages as files, without installing them."""

import hashlib
import json
import os
import posixpath
import re
import subprocess
import tomllib

from tests.packages import tools
from tests.packages.dist import ROOT
from tests.packages.kinds import DOC, KINDS
from tests.support import procs

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


def test_checksums(dist, say):
    lines = [line.split(maxsplit=1) for line in (dist.packages / "SHA256SUMS").read_text().splitlines()]
    named = {name for _, name in lines}
    there = {file.name for file in dist.packages.iterdir()} - {"SHA256SUMS"}
    assert named == there, f"it names {sorted(named)}, and there are {sorted(there)}"
    for wanted, name in lines:
        assert hashlib.sha256((dist.packages / name).read_bytes()).hexdigest() == wanted, f"{name} has another checksum"
    say(", ".join(f"{name} {(dist.packages / name).stat().st_size / 1e6:.1f} MB" for name in sorted(named)))


def test_pages_that_the_readme_and_the_manual_lead_to(dist, say):
    """Each link to a page in docs/, from the README or from another page, leads to a file of the package."""
    for kind in KINDS:
        held = kind.listed(dist)
        links = 0
        for page in ["README.md", *(f"docs/{p.relative_to(ROOT / 'docs')}" for p in (ROOT / "docs").rglob("*.md"))]:
            assert f"{DOC}/{page}" in held, f"{kind.name}: {page} is missing"
            for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text()):
                if "://" in target:
                    continue
                linked = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
                if linked.startswith("docs/") and linked.endswith(".md"):
                    links += 1
                    assert f"{DOC}/{linked}" in held, f"{kind.name}: {page} leads to {linked}, which is missing"
        assert links > 50, f"{kind.name}: only {links} links were found"
    say(f"{links} links in each package")


def test_glibc(dist, say):
    """Both packages ask for what the binary needs, and the binary for nothing newer than is promised."""
    for kind in KINDS:
        tree = dist.folder / f"tree-{kind.name}"
        _unpack(kind, dist, tree)
        symbols = _said(["objdump", "--dynamic-syms", tree / "usr/bin/scopeshim"])
        newest = max(tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([0-9.]+)", symbols))
        assert newest <= GLIBC, f"{kind.name}: it asks for glibc {newest}"
        sections = _said(["objdump", "--section-headers", tree / "usr/bin/scopeshim"])
        assert ".symtab" not in sections and ".debug" not in sections, f"{kind.name}: the binary is not stripped"
    version = ".".join(map(str, newest))
    depends = _said(["dpkg-deb", "--field", dist.deb, "Depends"]).strip()
    assert f"libc6 (>= {version})" in depends, f"the deb depends on {depends}"
    requires = set(_said(["rpm", "-qp", "--requires", "--nosignature", dist.rpm]).splitlines())
    assert f"libc.so.6(GLIBC_{version})(64bit)" in requires, f"the rpm requires {sorted(requires)}"
    assert "systemd" in requires, "the rpm does not require systemd"
    odd = [name for name in requires if name.split(" ")[0] not in HAD and not LIBRARIES.fullmatch(name)]
    assert not odd, f"the rpm requires {odd}, which nobody has"
    size = (tree / "usr/bin/scopeshim").stat().st_size
    say(f"glibc {version}, binary {size:,} bytes")


def _unpack(kind, dist, tree):
    if tree.exists():
        return
    tree.mkdir()
    if kind.package(dist) is dist.deb:
        _said(["dpkg-deb", "--extract", dist.deb, tree])
        return
    # Debian's ends with 1 when all went well, too.
    archive = subprocess.run(["rpm2cpio", str(dist.rpm)], capture_output=True, check=False, timeout=60).stdout
    subprocess.run(["cpio", "--extract", "--make-directories", "--quiet"], input=archive, cwd=tree, check=True, timeout=60)


def test_lintian(dist, say):
    command = [tools.program("lintian"), "--no-cfg", "--color=never", "--allow-root", "--display-level=>=warning"]
    plain = procs.run([*command, str(dist.deb)], dict(os.environ), 180)
    seen = set(re.findall(r"^[EW]: scopeshim: (\S+)", plain.stdout, re.MULTILINE))
    assert set(LINTIAN) <= seen, f"these need not be set aside: {sorted(set(LINTIAN) - seen)} {plain.stderr}"
    done = procs.run([*command, f"--suppress-tags={','.join(LINTIAN)}", str(dist.deb)], dict(os.environ), 180)
    assert not done.stdout.strip() and not done.returncode, f"{done.stdout}{done.stderr}"
    say(f"nothing, {len(LINTIAN)} tags set aside")


def test_piuparts(dist, say):
    """Debian's own judge of what an installation leaves behind, and adequate on what was installed."""
    command = [tools.program("piuparts"), "--existing-chroot", str(tools.root("bookworm")), "--distribution", "bookworm",
               "--no-eatmydata", "--no-upgrade-test", str(dist.deb)]
    tools.program("adequate")
    done = procs.run(command, dict(os.environ), 300)
    said = f"{done.stdout}{done.stderr}"
    assert not done.returncode and "PASS: Installation and purging test." in said, said[-3000:]
    assert "Running adequate" in said, said[-3000:]
    say("installed and purged, nothing left; nothing inadequate")


def test_rpmlint(dist, say):
    config = ROOT / "packaging/rpm/rpmlint.toml"
    done = procs.run([tools.program("rpmlint"), "--config", str(config), str(dist.rpm)], dict(os.environ), 180)
    found = [line for line in done.stdout.splitlines() if re.match(r"scopeshim\S* *(\(\w+\))?: [EW]:", line)]
    assert not found and not done.returncode, "\n".join(found) or done.stdout + done.stderr
    say(f"nothing, {len(tomllib.loads(config.read_text())['Filters'])} filters")


def test_scripts(dist, say):
    """What runs as root while packages come and go."""
    shellcheck, seen = tools.program("shellcheck"), []
    for kind in (KINDS[0], KINDS[-1]):
        folder = dist.folder / f"scripts-{kind.name}"
        for name, text in kind.scripts(dist, folder).items():
            seen.append(name)
            done = procs.run([shellcheck, "--shell=sh", "--severity=warning", "-"], None, 60, text)
            assert not done.returncode, f"{kind.name} {name}: {done.stdout}"
    assert len(seen) >= 7, f"only {seen} were found"
    say(", ".join(seen))


def test_linked_crates(dist, say):
    """Every crate that is linked in: its licence in both packages, its checksum in the bill of materials."""
    tree = dist.folder / "tree-deb"
    _unpack(KINDS[0], dist, tree)
    # Where something may panic, the binary holds the file's name.
    data = (tree / "usr/bin/scopeshim").read_bytes()
    paths = re.findall(rb"/cargo/registry/src/[^/]*/([A-Za-z0-9_-]+?)-([0-9][0-9A-Za-z.+-]*)/", data)
    linked = {(name.decode(), version.decode()) for name, version in paths}
    assert len(linked) > 80, f"the binary names {len(linked)} crates alone"
    bom = json.loads((dist.packages / "scopeshim.cdx.json").read_text())
    listed = {(c["name"], c["version"]): c for c in bom["components"]}
    assert linked <= set(listed), f"the bill of materials lacks {sorted(linked - set(listed))}"
    for crate in sorted(linked):
        entry = listed[crate]
        assert entry.get("hashes") and entry.get("licenses"), f"{crate} has no checksum or no licence there"
    for kind in (KINDS[0], KINDS[-1]):
        tree = dist.folder / f"tree-{kind.name}"
        _unpack(kind, dist, tree)
        text = next(tree.rglob("THIRD-PARTY-LICENSES.md")).read_text()
        named = set(re.findall(r"^- (\S+) (\S+): ", text, re.MULTILINE))
        assert linked <= named, f"{kind.name}: no licence of {sorted(linked - named)}"
        assert "see below" not in text, f"{kind.name}: a crate names no licence"
        covered = {pair for heading in re.findall(r"^## (.*)$", text, re.MULTILINE)
                   for pair in re.findall(r"(\S+) (\d\S*) \(", heading)}
        assert linked <= covered, f"{kind.name}: no text for {sorted(linked - covered)}"
    say(f"{len(listed)} are listed, among them the {len(linked)} that the binary names itself")


def _said(command, folder=None):
    done = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout
