"""A bill of materials in CycloneDX 1.5: everything that is linked into the binary."""

import json
import tomllib

import linked


def main() -> None:
    with open("Cargo.toml", "rb") as file:
        own = tomllib.load(file)["package"]
    components = [
        {
            "type": "library",
            "name": "std",
            "version": linked.rust(),
            "licenses": [{"expression": "MIT OR Apache-2.0"}],
        }
    ]
    components += [
        {
            "type": "library",
            "bom-ref": purl(crate["name"], crate["version"]),
            "name": crate["name"],
            "version": crate["version"],
            "purl": purl(crate["name"], crate["version"]),
            "licenses": [{"expression": crate["license"]}],
            "hashes": [{"alg": "SHA-256", "content": crate["checksum"]}],
        }
        for crate in linked.crates()
    ]
    application = {
        "type": "application",
        "bom-ref": purl(own["name"], own["version"]),
        "name": own["name"],
        "version": own["version"],
        "licenses": [{"expression": own["license"]}],
    }
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": application},
        "components": components,
    }
    print(json.dumps(bom, indent=1))


def purl(name: str, version: str) -> str:
    # A plus sign would be read as a blank.
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


if __name__ == "__main__":
    main()
