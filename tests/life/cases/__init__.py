"""Every case; the order is the order of the run, the longest last."""

from tests.life.cases import upgrade, notify, stop, kill, disk, clock, image, front, memory, limits, soak  # noqa: F401
