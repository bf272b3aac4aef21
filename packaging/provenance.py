"""The provenance of files in the form of SLSA v1 (an in-toto statement): from which commit they were made, with what, and how.

usage: provenance.py FILE...      BUILDER in the environment says who built: the address of a CI job, or nothing
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tomllib


def said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    root = pathlib.Path(__file__).resolve().parents[1]
    os.chdir(root)
    commit = said("git", "rev-parse", "HEAD")
    with open("rust-toolchain.toml", "rb") as file:
        rust = tomllib.load(file)["toolchain"]["channel"]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": file.name, "digest": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}
                    for file in sorted(map(pathlib.Path, sys.argv[1:]), key=lambda f: f.name)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                # What was run is packaging/release.sh of that commit.
                "buildType": "urn:scopeshim:packaging/release.sh:1",
                "externalParameters": {"commit": commit},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": commit}},
                    {"name": "Cargo.lock", "digest": {"sha256": hashlib.sha256(pathlib.Path("Cargo.lock").read_bytes()).hexdigest()}},
                    {"name": "rust", "uri": f"pkg:generic/rust@{rust}"},
                ],
            },
            "runDetails": {"builder": {"id": os.environ.get("BUILDER") or "urn:scopeshim:a-maintainer's-machine"}},
        },
    }
    print(json.dumps(statement, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
