"""Run pytest, of the version in tests/requirements.txt.

usage: python3 -m tests SUITE [pytest's options]     SUITE: a folder or file below tests, such as e2e
       python3 -m tests ruff [ruff's options]
"""

import os
import sys
from pathlib import Path

from tests.support import install
from tests.tailnet import isolation

HERE = Path(__file__).resolve().parent


def main():
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if words else 2
    try:
        python = install.pytest()
    except install.InstallError as err:
        sys.exit(str(err))
    os.chdir(HERE.parent)
    if words[0] == "ruff":
        program = python.parent / "ruff"
        os.execv(program, [str(program), *words[1:]])
    where, *options = words
    suite = where if Path(where.partition("::")[0]).exists() else f"tests/{where}"
    command = [str(python), "-m", "pytest", suite, *options]
    if suite.startswith("tests/tailnet"):
        command = isolation.enter(command, options)
    os.execvp(command[0], command)
    return None


if __name__ == "__main__":
    sys.exit(main())
