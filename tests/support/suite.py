"""What suites of cases share: the cases by their names, and the loop that runs them and says what held."""

import os
import time
import traceback

CASES = {}


class Miss(Exception):
    """The case failed."""


class Unable(Exception):
    """This machine lacks what the case needs."""


def case(name):
    def register(function):
        CASES[name] = function
        return function
    return register


def need(condition, message):
    if not condition:
        raise Miss(message)


def named(prefixes):
    """The cases whose names begin so; all without prefixes."""
    return [name for name in CASES if not prefixes or name.startswith(tuple(prefixes))]


def run(ctx, names, after=lambda: None):
    """Runs the cases in turn, `after` behind each, and closes the context; the exit code."""
    passed = failed = skipped = 0
    try:
        for name in names:
            begun = time.monotonic()
            try:
                said, mark = CASES[name](ctx) or "", "ok"
                passed += 1
            except Unable as why:
                said, mark = str(why), "skip"
                skipped += 1
            except Exception as why:
                said, mark = f"{'' if isinstance(why, Miss) else type(why).__name__ + ': '}{why}", "FAIL"
                failed += 1
                if not isinstance(why, Miss):
                    traceback.print_exc()
            finally:
                after()
            print(f"{mark:5} {name:26} {said} ({time.monotonic() - begun:.1f} s)", flush=True)
    finally:
        ctx.close()
    # A check that is skipped where everything can be had is a check that failed.
    if os.environ.get("CI"):
        failed, skipped = failed + skipped, 0
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0
