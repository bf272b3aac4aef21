"""The licences of every crate that is linked into the binary, as Markdown."""

import json
import pathlib
import subprocess


def main() -> None:
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host()],
            check=True,
            capture_output=True,
        ).stdout
    )
    linked = reachable(metadata)
    print("# Third-party licences\n\nscopeshim is linked with these libraries.\n")
    texts: dict[str, list[str]] = {}
    for package in sorted(metadata["packages"], key=lambda p: (p["name"], p["version"])):
        if package["id"] not in linked or package["source"] is None:
            continue
        print(f"- {package['name']} {package['version']}: {package['license'] or 'see below'}")
        folder = pathlib.Path(package["manifest_path"]).parent
        for file in sorted(folder.glob("*")):
            if file.is_file() and file.name.lower().startswith(("license", "licence", "copying", "notice", "unlicense")):
                text = file.read_text(encoding="utf-8", errors="replace").strip()
                texts.setdefault(text, []).append(f"{package['name']} {package['version']} ({file.name})")
    print("\n# Texts\n")
    for text, names in texts.items():
        print(f"## {', '.join(names)}\n\n```\n{text}\n```\n")


def host() -> str:
    out = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return next(line.split(": ")[1] for line in out.splitlines() if line.startswith("host: "))


def reachable(metadata: dict) -> set[str]:
    """Normal dependencies of the binary, without what only builds or tests it."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found: set[str] = set()
    todo = [metadata["resolve"]["root"]]
    while todo:
        current = todo.pop()
        if current in found:
            continue
        found.add(current)
        for dependency in nodes[current]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    return found


if __name__ == "__main__":
    main()
