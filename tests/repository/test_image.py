"""The image that packaging/image.py lays out: whole, the same twice, and set up as packaging/Containerfile says."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def image():
    spec = importlib.util.spec_from_file_location("image", ROOT / "packaging/image.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lay_out(folder, name):
    roots = []
    for arch in ("amd64", "arm64"):
        root = folder / name / arch
        for inner in ("usr/bin", "run/scopeshim", "var/lib/scopeshim", "etc/scopeshim/config"):
            (root / inner).mkdir(parents=True)
        (root / "usr/bin/scopeshim").write_text(f"#!/bin/sh\n# of {arch}\n")
        (root / "usr/bin/scopeshim").chmod(0o700)
        (root / "bin").symlink_to("usr/bin")
        roots.append(f"{arch}={root}")
    sbom = folder / "scopeshim.cdx.json"
    sbom.write_text('{"bomFormat": "CycloneDX"}')
    layout = folder / name / "layout"
    done = subprocess.run([sys.executable, ROOT / "packaging/image.py", layout, "--version", "1.2.3", "--revision", "abc",
                           "--source-date", "1760000000", "--sbom", sbom, *roots], capture_output=True, text=True, timeout=60, check=True)
    return layout, done.stdout.strip()


def blob(layout, described):
    data = (layout / "blobs" / described["digest"].replace(":", "/")).read_bytes()
    assert len(data) == described["size"], described
    return data


def test_two_builds_have_one_digest_and_every_blob_its_own(tmp_path, say):
    layout, digest = lay_out(tmp_path, "one")
    other, again = lay_out(tmp_path, "two")
    assert digest == again
    subprocess.run(["diff", "--recursive", layout, other], check=True, timeout=60)
    for file in (layout / "blobs/sha256").iterdir():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
    top = json.loads((layout / "index.json").read_text())
    index = json.loads(blob(layout, top["manifests"][0]))
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]
    subjects = [json.loads(blob(layout, m))["subject"]["digest"] for m in top["manifests"][1:]]
    assert subjects == [m["digest"] for m in index["manifests"]], "the bill of materials belongs to another image"
    say(digest)


def test_it_is_not_root_and_only_its_own_folders_can_be_written(tmp_path, say):
    layout, _ = lay_out(tmp_path, "one")
    index = json.loads(blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0]))
    for described in index["manifests"]:
        manifest = json.loads(blob(layout, described))
        config = json.loads(blob(layout, manifest["config"]))
        assert config["architecture"] == described["platform"]["architecture"]
        assert config["config"]["User"] == "65532:65532"
        assert config["config"]["Labels"]["org.opencontainers.image.version"] == "1.2.3"
        packed = layout / "blobs" / manifest["layers"][0]["digest"].replace(":", "/")
        with tarfile.open(packed) as tar:
            own = {entry.name for entry in tar if entry.uid}
            modes = {entry.name: oct(entry.mode) for entry in tar if not entry.issym()}
        assert own == {"run/scopeshim", "var/lib/scopeshim"}, own
        assert modes["usr/bin/scopeshim"] == "0o755", modes
    say("user 65532")


@pytest.mark.parametrize("key", ["User", "Env", "Entrypoint", "Cmd", "ExposedPorts", "Volumes", "Healthcheck"])
def test_it_is_set_up_as_the_containerfile_says(key):
    said = image().settings({})[key]
    text = (ROOT / "packaging/Containerfile").read_text()
    text = text[text.rindex("\nFROM"):].replace("\\\n", " ")

    def line(word):
        return re.search(rf"^{word} (.*)$", text, re.MULTILINE)[1]

    if key == "Env":
        # The base of the Containerfile has no PATH of its own.
        assert said[1:] == line("ENV").split()
    elif key in ("Entrypoint", "Cmd"):
        assert said == json.loads(line(key.upper()))
    elif key == "User":
        assert said == line("USER")
    elif key == "ExposedPorts":
        assert list(said) == [f"{line('EXPOSE')}/tcp"]
    elif key == "Volumes":
        assert list(said) == [line("VOLUME")]
    else:
        options, _, command = line("HEALTHCHECK").partition(" CMD ")
        assert said["Test"] == ["CMD", *json.loads(command)]
        for option, name in (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod")):
            seconds = int(re.search(rf"--{option}=(\d+)s", options)[1])
            assert said[name] == seconds * 1_000_000_000
        assert said["Retries"] == int(re.search(r"--retries=(\d+)", options)[1])
