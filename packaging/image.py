"""An OCI image layout for several processors, from folders made by image-root.sh. The same folders give the same bytes.

By hand, without buildah or umoci: both leave the moment of the build in the layers, both want mounts or user namespaces, and
what they would do here is one archive and four JSON files for each processor.

usage: image.py LAYOUT --version V --revision R --source-date SECONDS --sbom FILE ARCH=FOLDER...
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile
import time

USER = 65532
OWNED = ("run/scopeshim", "var/lib/scopeshim")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
SBOM = "application/vnd.cyclonedx+json"


class Layout:
    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)

    def blob(self, kind: str, data: bytes, **more) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}

    def document(self, kind: str, content: dict, **more) -> dict:
        return self.blob(kind, as_json(content), **more)


def as_json(content: dict) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def archive(root: pathlib.Path, moment: int) -> bytes:
    """The folder as a tar: names in order, one moment, and root's but for what the service writes to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            info = tar.gettarinfo(path, name)
            info.mtime, info.uname, info.gname = moment, "", ""
            info.uid = info.gid = USER if name.startswith(OWNED) else 0
            if info.isdir():
                info.mode = 0o750 if name in OWNED else 0o755
            elif info.isfile():
                info.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            if info.isfile():
                with open(path, "rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    return out.getvalue()


def settings(labels: dict) -> dict:
    """What packaging/Containerfile says, too; a test compares them."""
    return {
        "User": f"{USER}:{USER}",
        "Env": [
            "PATH=/usr/bin",
            "MIMALLOC_PURGE_DELAY=0",
            "SCOPESHIM_CONFIG=/etc/scopeshim/config/config.toml",
            "STATE_DIRECTORY=/var/lib/scopeshim",
        ],
        "Entrypoint": ["/usr/bin/scopeshim"],
        "Cmd": ["run"],
        "ExposedPorts": {"18780/tcp": {}},
        "Volumes": {"/var/lib/scopeshim": {}},
        "WorkingDir": "/",
        "Labels": labels,
        "StopSignal": "SIGTERM",
        # Docker's and podman's; the OCI's own form has no health check, and leaves room for this.
        "Healthcheck": {
            "Test": ["CMD", "/usr/bin/scopeshim", "status"],
            "Interval": 10_000_000_000,
            "Timeout": 5_000_000_000,
            "StartPeriod": 5_000_000_000,
            "Retries": 3,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("layout", type=pathlib.Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--source-date", required=True, type=int)
    parser.add_argument("--sbom", required=True, type=pathlib.Path)
    parser.add_argument("roots", nargs="+", metavar="ARCH=FOLDER")
    args = parser.parse_args()

    layout = Layout(args.layout)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(args.source_date))
    labels = {
        "org.opencontainers.image.title": "scopeshim",
        "org.opencontainers.image.description": "Least privilege in front of an OpenClaw gateway",
        "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
        "org.opencontainers.image.version": args.version,
        "org.opencontainers.image.revision": args.revision,
        "org.opencontainers.image.created": created,
    }
    manifests, attached = [], []
    for pair in args.roots:
        arch, _, folder = pair.partition("=")
        tar = archive(pathlib.Path(folder), args.source_date)
        packed = gzip.compress(tar, compresslevel=9, mtime=0)
        config = {
            "architecture": arch,
            "os": "linux",
            "created": created,
            "config": settings(labels),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
            "history": [{"created": created, "created_by": "packaging/image.py", "comment": f"scopeshim {args.version}"}],
        }
        if arch == "arm64":
            config["variant"] = "v8"
        platform = {"architecture": arch, "os": "linux"} | ({"variant": "v8"} if arch == "arm64" else {})
        manifest = layout.document(MANIFEST, {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": layout.document(CONFIG, config),
            "layers": [layout.blob(LAYER, packed)],
            "annotations": labels,
        })
        manifests.append(manifest | {"platform": platform})
        # The bill of materials, as what the OCI calls a referrer of the image.
        attached.append(layout.document(MANIFEST, {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": SBOM,
            "config": layout.blob(EMPTY, b"{}"),
            "layers": [layout.blob(SBOM, args.sbom.read_bytes(), annotations={"org.opencontainers.image.title": args.sbom.name})],
            "subject": manifest,
        }, artifactType=SBOM))
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": labels}
    image = layout.document(INDEX, index, annotations={"org.opencontainers.image.ref.name": args.version})
    top = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [image, *attached]}
    (args.layout / "index.json").write_bytes(as_json(top))
    (args.layout / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
    print(image["digest"])


if __name__ == "__main__":
    main()
