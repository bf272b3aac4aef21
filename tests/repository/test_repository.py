"""Packages come from the repositories that packaging/repository.sh makes, and nothing that was tampered with does."""

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from tests.packages import tools
from tests.support import procs

ROOT = Path(__file__).resolve().parents[2]
MOMENT = "1760000000"
SPEC = """Name: scopeshim
Version: {version}
Release: 1
Summary: stand-in
License: MIT
AutoReqProv: no
%description
Stands in for the real one.
%files
%attr(755, root, root) /usr/bin/scopeshim
"""


class Repository:
    """A folder with both repositories, and the key that signs them."""

    def __init__(self, folder):
        self.work, self.folder, self.first = folder, folder / "served", []
        self.env = os.environ | {"GNUPGHOME": str(folder / "gpg"), "SOURCE_DATE_EPOCH": MOMENT, "LC_ALL": "C.UTF-8"}
        (folder / "gpg").mkdir(mode=0o700)
        # Made before the moment that it signs for.
        self.must("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--faked-system-time",
                  str(int(MOMENT) - 1000), "--quick-gen-key", "throw-away <key@localhost>", "ed25519", "sign", "0")

    def must(self, *command, **how):
        done = subprocess.run([str(c) for c in command], env=self.env, capture_output=True, text=True, timeout=300, check=False, **how)
        assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def deb(self, version, arch):
        tree = self.work / f"deb-{version}-{arch}"
        self._program(tree, version)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(f"Package: scopeshim\nVersion: {version}-1\nArchitecture: {arch}\n"
                                             "Maintainer: nobody <nobody@localhost>\nDescription: stand-in\n")
        file = self.work / f"scopeshim_{version}-1_{arch}.deb"
        self.must("dpkg-deb", "--root-owner-group", "--build", tree, file)
        return file

    def rpm(self, version, arch):
        tree, spec = self.work / f"rpm-{version}-{arch}", self.work / f"{version}-{arch}.spec"
        self._program(tree, version)
        spec.write_text(SPEC.format(version=version))
        out = self.work / f"out-{version}-{arch}"
        self.must("rpmbuild", "-bb", "--quiet", "--target", arch, "--buildroot", tree, "--define", f"_rpmdir {out}",
                  "--define", f"_topdir {self.work}/top", "--define", "_build_id_links none", spec)
        return next(out.rglob("*.rpm"))

    @staticmethod
    def _program(tree, version):
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin/scopeshim").write_text(f"#!/bin/sh\necho scopeshim {version}\n")
        (tree / "usr/bin/scopeshim").chmod(0o755)

    def add(self, *packages, folder=None):
        self.must(ROOT / "packaging/repository.sh", folder or self.folder, "key@localhost", *packages)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    for name in ("gpg", "apt-ftparchive", "createrepo_c", "rpmbuild"):
        tools.program(name)
    made = Repository(tmp_path_factory.mktemp("repository"))
    made.first = [made.deb("0.0.1", "amd64"), made.deb("0.0.1", "arm64"), made.rpm("0.0.1", "x86_64"), made.rpm("0.0.1", "aarch64")]
    made.add(*made.first)
    return made


@pytest.fixture(scope="module")
def served(repository):
    """Where a web server, any web server, serves the folder."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

    handler = functools.partial(Quiet, directory=str(repository.folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Debian:
    """apt in a root of its own that knows no repository but ours."""

    def __init__(self, base, folder, repository, url):
        self.root = folder / "root"
        done = procs.run(["cp", "-a", "--reflink=auto", str(base), str(self.root)], None, 300)
        assert done.returncode == 0, done.stderr
        shutil.copy(repository.folder / "scopeshim.asc", self.root / "etc/apt/keyrings/scopeshim.asc")
        (self.root / "etc/apt/sources.list").write_text(
            f"deb [signed-by=/etc/apt/keyrings/scopeshim.asc] {url}/apt stable main\n")

    def run(self, *command):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        return procs.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", str(self.root), *command], env, 300)

    def apt(self, *words):
        return self.run("apt-get", "--quiet", "--yes", "-o", "APT::Update::Error-Mode=any", *words)


def test_the_same_packages_give_the_same_bytes(repository, say):
    again = repository.work / "again"
    repository.add(*repository.first, folder=again)
    repository.must("diff", "--recursive", repository.folder, again)
    text = (repository.folder / "apt/dists/stable/InRelease").read_text()
    assert "Architectures: amd64 arm64" in text, text
    say(f"{sum(1 for f in again.rglob('*') if f.is_file())} files")


def test_apt_installs_and_upgrades_and_takes_nothing_tampered_with(repository, served, tmp_path, say):
    debian = Debian(tools.root("bookworm"), tmp_path, repository, served)
    for words in (["update"], ["install", "scopeshim"]):
        done = debian.apt(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert debian.run("scopeshim").stdout == "scopeshim 0.0.1\n"
    repository.add(repository.deb("0.0.2", "amd64"))
    assert debian.apt("update").returncode == 0
    done = debian.apt("upgrade")
    assert debian.run("scopeshim").stdout == "scopeshim 0.0.2\n", done.stdout + done.stderr
    # The older one is there still.
    assert debian.apt("install", "--allow-downgrades", "scopeshim=0.0.1-1").returncode == 0
    package = repository.folder / "apt/pool/scopeshim_0.0.2-1_amd64.deb"
    good = package.read_bytes()
    package.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    # Else it is taken from apt's cache.
    assert debian.apt("clean").returncode == 0
    done = debian.apt("upgrade")
    assert done.returncode != 0 and debian.run("scopeshim").stdout == "scopeshim 0.0.1\n", done.stdout + done.stderr
    package.write_bytes(good)
    index = repository.folder / "apt/dists/stable/InRelease"
    text = index.read_text()
    index.write_text(text.replace("Suite: stable", "Suite: stabbe"))
    (index.parent / "Release.gpg").unlink()
    done = debian.apt("update")
    assert done.returncode != 0 and "BADSIG" in done.stdout + done.stderr, done.stdout + done.stderr
    index.write_text(text)
    say("installed, upgraded, downgraded; a changed package and a changed index are refused")


def documented_repository(served):
    """The file that docs/install.md has people write, for this server."""
    page = (ROOT / "docs/install.md").read_text("utf-8")
    return re.search(r"scopeshim\.repo <<'END'\n(.*?)^END", page, re.DOTALL | re.MULTILINE)[1].replace(
        "https://packages.example.org", served)


def test_dnf_installs_and_upgrades_and_takes_no_index_of_another_key(repository, served, tmp_path, say):
    dnf = tools.program("dnf")
    config = tmp_path / "dnf.conf"
    config.write_text("[main]\nreposdir=/nowhere\nassumeyes=1\n" + documented_repository(served))

    def run(*words):
        command = [dnf, f"--config={config}", f"--installroot={tmp_path / 'root'}", "--forcearch=x86_64", "--releasever=1",
                   f"--setopt=cachedir={tmp_path / 'cache'}", f"--setopt=logdir={tmp_path}", "--refresh", *words]
        return procs.run(command, dict(repository.env), 300)

    def version():
        done = subprocess.run([tmp_path / "root/usr/bin/scopeshim"], capture_output=True, text=True, timeout=30, check=False)
        return done.stdout.strip()

    done = run("install", "scopeshim")
    assert done.returncode == 0 and version() == "scopeshim 0.0.1", done.stdout + done.stderr
    repository.add(repository.rpm("0.0.2", "x86_64"))
    done = run("upgrade", "scopeshim")
    assert done.returncode == 0 and version() == "scopeshim 0.0.2", done.stdout + done.stderr
    repository.add(repository.rpm("0.0.3", "x86_64"))
    signature = repository.folder / "rpm/repodata/repomd.xml.asc"
    good = signature.read_text()
    repository.must("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key",
                    "another <another@localhost>", "ed25519", "sign", "0")
    repository.must("gpg", "--batch", "--yes", "--local-user", "another@localhost", "--armor", "--detach-sign",
                    "--output", signature, signature.with_suffix(""))
    run("upgrade", "scopeshim")
    assert version() == "scopeshim 0.0.2", "an index that another key signed was believed"
    signature.write_text(good)
    done = run("upgrade", "scopeshim")
    assert version() == "scopeshim 0.0.3", done.stdout + done.stderr
    say("installed, upgraded; an index signed by another key is refused")


def test_a_release_is_whole_signed_and_twice_the_same(repository, tmp_path, say):
    for arch in ("amd64", "arm64"):
        dist = tmp_path / f"dist-{arch}"
        dist.mkdir()
        for file in repository.first:
            if file.stem.endswith({"amd64": ("amd64", "x86_64"), "arm64": ("arm64", "aarch64")}[arch]):
                shutil.copy(file, dist)
        (dist / "scopeshim.cdx.json").write_text("{}")
        (dist / "SHA256SUMS").write_text("of this folder alone\n")
    repository.env["RELEASE_URL"] = "https://packages.example.org/releases"
    for out in (tmp_path / "one", tmp_path / "two"):
        repository.must(ROOT / "packaging/release.sh", "key@localhost", out, tmp_path / "dist-amd64", tmp_path / "dist-arm64")
    repository.must("diff", "--recursive", tmp_path / "one", tmp_path / "two")
    out = tmp_path / "one"
    repository.must("gpg", "--verify", out / "SHA256SUMS.asc", out / "SHA256SUMS")
    repository.must("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=out)
    summed = {line.split(maxsplit=1)[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
    there = {file.name for file in out.iterdir() if file.is_file()} - {"SHA256SUMS", "SHA256SUMS.asc"}
    assert summed == there, f"{summed} are summed, and {there} are there"
    statement = json.loads((out / "provenance.intoto.json").read_text())
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    told = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    assert set(told) == there - {"provenance.intoto.json"}, sorted(told)
    for name, digest in told.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest, name
    # The formula is about the source archive beside it, which holds what cargo builds from.
    source = next(out.glob("scopeshim-*-source.tar.gz"))
    assert hashlib.sha256(source.read_bytes()).hexdigest() in (out / "scopeshim.rb").read_text()
    with tarfile.open(source) as tar:
        names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    assert {"Cargo.toml", "Cargo.lock", "src/main.rs", "packaging/config.schema.json", "config.example.toml"} <= names
    # Two files of one name that differ cannot both be published.
    (tmp_path / "dist-arm64/scopeshim.cdx.json").write_text("[]")
    command = [ROOT / "packaging/release.sh", "key@localhost", tmp_path / "three", tmp_path / "dist-amd64", tmp_path / "dist-arm64"]
    done = subprocess.run(command, env=repository.env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "two files are called scopeshim.cdx.json" in done.stderr, done.stderr
    say(f"{len(there)} files and both repositories")
