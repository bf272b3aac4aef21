"""A bill of materials in CycloneDX 1.5: every crate of Cargo.lock with its checksum."""

import json
import tomllib


def main() -> None:
    with open("Cargo.lock", "rb") as file:
        packages = tomllib.load(file)["package"]
    with open("Cargo.toml", "rb") as file:
        own = tomllib.load(file)["package"]
    components = [
        {
            "type": "library",
            "name": package["name"],
            "version": package["version"],
            "purl": f"pkg:cargo/{package['name']}@{package['version']}",
            **({"hashes": [{"alg": "SHA-256", "content": package["checksum"]}]} if "checksum" in package else {}),
        }
        for package in packages
        if package["name"] != own["name"]
    ]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": own["name"], "version": own["version"]}},
        "components": components,
    }
    print(json.dumps(bom, indent=1))


if __name__ == "__main__":
    main()
