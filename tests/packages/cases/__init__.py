"""Cases of the packages as files, then every step of an installed package's life for every kind."""

import functools

from tests.support.suite import CASES
from tests.packages.cases import arriving, leaving, looked_at, serving, stopping  # noqa: F401  looked_at registers itself
from tests.packages.kinds import KINDS

# In this order, on one machine: each step finds what those before it left.
STEPS = (
    ("installs", arriving.installs),
    ("has-sound-units", arriving.has_sound_units),
    ("refuses-without-a-secret", arriving.refuses_without_a_secret),
    ("by-its-own-words", arriving.by_its_own_words),
    ("by-init", arriving.by_init),
    ("is-confined", serving.is_confined),
    ("reloads", serving.reloads),
    ("answers-root-alone", serving.answers_root_alone),
    ("takes-a-credential", serving.takes_a_credential),
    ("stops", stopping.stops),
    ("comes-back", stopping.comes_back),
    ("is-watched", stopping.is_watched),
    ("hands-over", stopping.hands_over),
    ("stands-side-by-side", stopping.stands_side_by_side),
    ("upgrades", leaving.upgrades),
    ("is-removed", leaving.is_removed),
    ("comes-again", leaving.comes_again),
    ("is-purged", leaving.is_purged),
)

for kind in KINDS:
    for step, act in STEPS:
        if step == "is-purged" and kind.name == "rpm":
            continue
        CASES[f"{kind.name}.{step}"] = functools.partial(act, kind)
