"""The clients: plain HTTP with full control over headers, raw sockets, curl, the two SDKs."""

import http.client
import json
import os
import selectors
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import install, procs

HERE = Path(__file__).resolve().parent


@dataclass
class Answer:
    status: int
    headers: list = field(default_factory=list)
    body: bytes = b""
    seconds: float = 0.0

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), None)

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def message(self):
        """The message of an error body, or a piece of whatever came."""
        value = self.json()
        error = value.get("error") if isinstance(value, dict) else None
        if isinstance(error, dict):
            return str(error.get("message"))
        return self.body[:120].decode("utf-8", "replace")

    def brief(self):
        """Short enough for the table: the status and, for a refusal, why."""
        return str(self.status) if self.status < 400 else f"{self.status} {self.message()[:100]}"


def request(method, url, headers=(), body=None, seconds=120):
    """Headers are pairs and go out as given: repeated, empty, in this order."""
    parts = urlsplit(url)
    started = time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.putrequest(method, target or "/", skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        if data is not None:
            connection.putheader("content-type", "application/json")
            connection.putheader("content-length", str(len(data)))
        connection.endheaders(data)
        reply = connection.getresponse()
        return Answer(reply.status, reply.getheaders(), reply.read(), time.monotonic() - started)
    except http.client.HTTPException as err:
        raise OSError(f"{type(err).__name__}: {err}") from err
    finally:
        connection.close()


def raw(url, data, seconds=15):
    """Sends the bytes as they are; a connection closed without an answer is status 0."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as connection:
        connection.sendall(data)
        reply = http.client.HTTPResponse(connection)
        try:
            reply.begin()
            return Answer(reply.status, reply.getheaders(), reply.read())
        except (http.client.HTTPException, ConnectionError):
            return Answer(0)


def raw_get(url, target, headers=()):
    lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return raw(url, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


class Curl:
    """`curl -N`, its output taken line by line with the time each line came."""

    def __init__(self, url, headers, body, seconds=150):
        arguments = ["curl", "-sS", "-N", "-i", "--max-time", str(seconds), "--noproxy", "*"]
        for name, value in headers:
            # curl drops a header with nothing after the colon; the semicolon form sends it empty.
            arguments += ["-H", f"{name}: {value}" if value else f"{name};"]
        arguments += ["-H", "content-type: application/json", "-d", json.dumps(body), url]
        handle, log = tempfile.mkstemp(prefix="curl-")
        os.close(handle)
        self._log = log
        self._process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=open(log, "wb"), stdin=subprocess.DEVNULL)
        procs.adopt(self._process)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._buffer = b""
        self.lines = []
        self.ended = False

    def read(self, enough=lambda _lines: False, seconds=150):
        """Reads until the end or until `enough` says so; False when time ran out first."""
        deadline = time.monotonic() + seconds
        while not self.ended and not enough(self.lines):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._selector.select(left):
                self._take(os.read(self._process.stdout.fileno(), 65536))
        return True

    def _take(self, piece):
        if not piece:
            self.ended = True
            self._process.wait(10)
            return
        self._buffer += piece
        *whole, self._buffer = self._buffer.split(b"\n")
        now = time.monotonic()
        self.lines += [(now, line.rstrip(b"\r").decode("utf-8", "replace")) for line in whole]

    @property
    def status(self):
        found = [line.split()[1] for _, line in self.lines if line.startswith("HTTP/1.1 ") and line[9:12] != "100"]
        return int(found[0]) if found else 0

    @property
    def exit(self):
        return self._process.returncode

    def data(self):
        """(time, text) of every `data:` line."""
        return [(at, line[5:].strip()) for at, line in self.lines if line.startswith("data:")]

    def text(self):
        """What came after the headers."""
        lines = [line for _, line in self.lines] + [self._buffer.decode("utf-8", "replace")]
        return "\n".join(lines[lines.index("") + 1:] if "" in lines else lines)

    def close(self):
        """Hangs up."""
        self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()
        self._selector.close()
        procs.disown(self._process)
        Path(self._log).unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()


def content_times(data):
    """When each piece of chat text came."""
    times = []
    for at, text in data:
        if text != "[DONE]":
            choices = json.loads(text).get("choices") or [{}]
            if choices[0].get("delta", {}).get("content"):
                times.append(at)
    return times


def control_ui(url, token, browser, node):
    """The gateway's web page in a headless browser: what was seen."""
    env = {"PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir(),
           "PLAYWRIGHT_FOLDER": str(install.playwright())}
    done = procs.run([str(node), str(HERE / "control_ui.mjs"), url, token, browser], env, 150)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"the browser ended with {done.returncode}: {done.stderr[-600:]}") from None


def sdk(language, url, key, node, retries=0):
    """Runs the real SDK through its four calls: {call: text or 'error ...'}."""
    env = {"PATH": os.environ.get("PATH", ""), "OPENAI_API_KEY": key, "OPENAI_BASE_URL": f"{url}/v1", "RETRIES": str(retries),
           "HOME": tempfile.gettempdir()}
    if language == "py":
        command = [str(install.openai_python()), str(HERE / "sdk_client.py")]
    else:
        command = [str(node), str(HERE / "sdk_client.mjs")]
        env["OPENAI_FOLDER"] = str(install.openai_js())
    done = procs.run(command, env, 300)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"the {language} SDK ended with {done.returncode}: {done.stderr[-600:]}") from None
