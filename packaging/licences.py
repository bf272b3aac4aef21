"""The licences of everything that is linked into the binary, as Markdown."""

import pathlib
import sys

import linked

NAMES = ("license", "licence", "copying", "notice", "unlicense")
CODE = (".c", ".h", ".rs", ".py")


def main() -> None:
    crates = linked.crates()
    print("# Third-party licences\n\nscopeshim is linked with these libraries.\n")
    print(f"- std {linked.rust()}: MIT OR Apache-2.0")
    texts: dict[str, list[str]] = {}
    for crate in crates:
        name = f"{crate['name']} {crate['version']}"
        print(f"- {name}: {crate['license']}")
        # Some crates leave the text to their siblings from the same repository.
        siblings = [c for c in crates if crate["repository"] and c["repository"] == crate["repository"]]
        files = next(filter(None, map(found, [crate, *siblings])), [])
        if not files or not crate["license"]:
            sys.exit(f"{name} has no licence, or no text of it")
        for file in files:
            text = file.read_text(encoding="utf-8", errors="replace").strip()
            texts.setdefault(text, []).append(f"{name} ({file.name})")
    print("\n# Texts\n")
    for text, names in texts.items():
        print(f"## {', '.join(names)}\n\n```\n{text}\n```\n")


def found(crate: dict) -> list[pathlib.Path]:
    folder = pathlib.Path(crate["manifest_path"]).parent
    # Crates that bring a C library along have its licence somewhere below.
    files = folder.rglob("*") if crate["links"] else folder.glob("*")
    return sorted(f for f in files if f.is_file() and f.name.lower().startswith(NAMES) and f.suffix not in CODE)


if __name__ == "__main__":
    main()
