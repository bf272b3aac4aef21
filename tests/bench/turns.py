"""In turn, again and again: A B C A B C, so that what the machine does meanwhile meets all alike."""

import sys

from tests.bench import load


def in_turn(todo, repeats, what):
    """`todo` maps names to functions; gives back what each returned, in order."""
    got = {name: [] for name in todo}
    for turn in range(repeats):
        for name, function in todo.items():
            value = function()
            got[name].append(value)
            shown = f"{value:.2f}" if isinstance(value, float) else str(value)
            print(f"  {what}: {name}, turn {turn + 1}: {shown}", file=sys.stderr, flush=True)
    return got


def cpu_per_request(candidate, fire):
    """Microseconds of the candidate's CPU for each of the requests that `fire` made and counts."""
    before = candidate.cpu_seconds()
    count = fire()
    return (candidate.cpu_seconds() - before) * 1e6 / count


def steady(candidate, token, seconds, rate=None):
    """A function for `in_turn`: warmed up, then measured."""
    def fire():
        load.steady(candidate.port, token, 1, rate)
        return cpu_per_request(candidate, lambda: load.steady(candidate.port, token, seconds, rate))
    return fire
