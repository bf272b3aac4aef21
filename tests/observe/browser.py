"""A real browser that looks at the status page as it is told to."""

import json
import os
import subprocess
import time
from pathlib import Path

from tests.observe import tools
from tests.support import procs

HERE = Path(__file__).resolve().parent


class Browser:
    def __init__(self, url, folder, shots, seen):
        chromium, node, driver = tools.browser()
        profile = folder / f"profile-{time.monotonic_ns()}"
        self._log = open(folder / "browser.log", "ab")
        self._process = subprocess.Popen([node, HERE / "page.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._log, text=True, env={**os.environ, "HOME": str(folder)})
        procs.adopt(self._process)
        self._say(url=url, browser=chromium, driver=str(driver), profile=str(profile), shots=str(shots))
        self._folder, self._seen = folder, seen

    def _say(self, **what):
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def look(self, name, **how):
        """What the page shows; `wait` is for the verdict, `need` for any text."""
        self._say(look=name, **how)
        line = self._process.stdout.readline()
        if not line:
            self._log.flush()
            raise RuntimeError(f"the browser ended: {(self._folder / 'browser.log').read_text()[-1500:]}")
        seen = json.loads(line)
        self._seen.append(seen["text"])
        assert not seen["faults"], f"{name}: faults {seen['faults']}"
        assert not seen["foreign"], f"{name}: asks elsewhere {seen['foreign']}"
        assert not seen["markup"], f"{name}: a value became markup"
        assert not seen["faint"], f"{name}: hard to read: {seen['faint'][:5]}"
        assert seen["wide"] <= 0, f"{name}: {seen['wide']} pixels wider than the screen"
        return seen

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        procs.disown(self._process)
