"""What the tests need beside Python: promtool and prometheus, a browser and what drives it."""

import os
import shutil

import pytest

from tests.support import install


def prometheus():
    """Paths of promtool and prometheus: Debian's, unpacked into the cache and not installed."""
    try:
        folder = install.debian("prometheus") / "usr/bin"
    except install.InstallError as why:
        found = [shutil.which(name) for name in ("promtool", "prometheus")]
        if not all(found):
            pytest.skip(f"no promtool and prometheus: {why}")
        return found
    return [str(folder / "promtool"), str(folder / "prometheus")]


def browser():
    """The browser, node, and the folder whose node_modules holds playwright-core."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium; on Debian: apt-get install chromium")
    try:
        driver = install.playwright()
    except install.InstallError as why:
        pytest.skip(f"no playwright-core: {why}")
    node = shutil.which("node")
    if not node:
        pytest.skip("no node")
    return chromium, node, driver
