"""The packages and tarballs of each processor as files: for it, of one content, and with the list of crates in the program."""

import json
import re
import struct
import subprocess
import tarfile
import tomllib
import zlib

from tests.packages.dist import ROOT, RPM

MACHINES = {"amd64": 62, "arm64": 183}  # e_machine of an ELF file
GLIBC = (2, 34)


def section(data, name):
    """A section of a 64-bit little-endian ELF file, which objcopy of another processor does not read."""
    (at,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, at + size * i) for i in range(count)]
    text = headers[names]
    for header in headers:
        begin = text[4] + header[0]
        if data[begin:data.index(b"\0", begin)].decode() == name:
            return data[header[4]:header[4] + header[5]]
    return None


def program(dist, arch):
    tree = dist.folder / f"processor-{arch}"
    if not tree.exists():
        subprocess.run(["dpkg-deb", "--extract", dist.deb_of(arch), tree], check=True, timeout=60)
    return (tree / "usr/bin/scopeshim").read_bytes()


def said(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=120).stdout


def test_each_package_is_for_its_processor(dist, say):
    seen = []
    for arch in dist.architectures:
        data = program(dist, arch)
        assert struct.unpack_from("<H", data, 18)[0] == MACHINES[arch], f"the deb for {arch} holds a program for another processor"
        symbols = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_([0-9.]+)\0", data)}
        newest = max(symbols)
        assert newest <= GLIBC, f"{arch}: it asks for glibc {newest}"
        depends = said("dpkg-deb", "--field", dist.deb_of(arch), "Depends")
        version = ".".join(map(str, newest))
        assert f"libc6 (>= {version})" in depends and "cross" not in depends, f"the deb for {arch} depends on {depends}"
        rpm = dist.rpm_of(arch)
        assert said("rpm", "-qp", "--nosignature", "--queryformat=%{ARCH}", rpm) == RPM[arch]
        requires = said("rpm", "-qp", "--requires", "--nosignature", rpm)
        assert f"libc.so.6(GLIBC_{version})(64bit)" in requires, f"the rpm for {arch} requires {requires}"
        seen.append(f"{arch} glibc {version}, {len(data):,} bytes")
    say("; ".join(seen))


def test_packages_of_all_processors_hold_the_same_files(dist, say):
    def held(arch):
        listed = said("dpkg-deb", "--contents", dist.deb_of(arch)).splitlines()
        # Mode, owner, size and path; the program's size differs.
        rows = [line.split() for line in listed]
        return {(row[0], row[1], row[5], "" if row[5].endswith("bin/scopeshim") else row[2]) for row in rows}

    first, *others = dist.architectures
    for arch in others:
        assert held(arch) == held(first), f"{arch}: {held(arch) ^ held(first)}"
    say(f"{len(held(first))} entries in each of {', '.join(dist.architectures)}")


def test_tarballs(dist, say):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    wanted = ("bin/scopeshim", "share/man/man1/scopeshim.1", "share/man/man5/scopeshim.toml.5",
              "share/bash-completion/completions/scopeshim", "share/zsh/site-functions/_scopeshim",
              "share/fish/vendor_completions.d/scopeshim.fish", "share/scopeshim/config.schema.json",
              "share/scopeshim/systemd/scopeshim.service", "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE",
              "THIRD-PARTY-LICENSES.md", "config.example.toml", "docs/packages.md", "docs/clients/README.md")
    for arch in dist.architectures:
        with tarfile.open(dist.tarball_of(arch)) as tar:
            entries = {entry.name: entry for entry in tar}
            top = f"scopeshim-{version}-linux-{arch}"
            missing = [name for name in wanted if f"{top}/{name}" not in entries]
            assert not missing, f"{arch}: {missing} are missing"
            assert {name.split("/")[0] for name in entries} == {top}
            odd = [e.name for e in entries.values() if (e.uid, e.gid) != (0, 0) or e.mode & 0o022 or not (e.isfile() or e.isdir())]
            assert not odd, f"{arch}: {odd}"
            assert tar.extractfile(f"{top}/bin/scopeshim").read() == program(dist, arch), f"{arch}: another program than the deb's"
            manual = tar.extractfile(f"{top}/share/man/man1/scopeshim.1").read()
            assert manual.startswith(b'.') and b".TH scopeshim 1" in manual, manual[:200]
            for shell in wanted[3:6]:
                assert len(tar.extractfile(f"{top}/{shell}").read()) > 1000, f"{arch}: {shell}"
    say(f"{len(entries)} entries for each of {', '.join(dist.architectures)}")


def test_the_program_lists_its_crates(dist, say):
    """What `cargo auditable` writes into it is what the bill of materials says."""
    listed = json.loads((dist.packages / "scopeshim.cdx.json").read_text())["components"]
    listed = {(c["name"], c["version"]) for c in listed if c["name"] != "std"}
    for arch in dist.architectures:
        packed = section(program(dist, arch), ".dep-v0")
        assert packed, f"{arch}: the program lists no crates"
        crates = json.loads(zlib.decompress(packed))["packages"]
        root = [c for c in crates if c.get("root")]
        assert [c["name"] for c in root] == ["scopeshim"], root
        named = {(c["name"], c["version"]) for c in crates if c.get("kind", "runtime") == "runtime" and not c.get("root")}
        # The program's list counts macros among what it is made of.
        assert listed <= named, f"{arch}: the program does not list {sorted(listed - named)}"
    say(f"{len(named)} crates in the program, {len(listed)} of them in the bill of materials")
