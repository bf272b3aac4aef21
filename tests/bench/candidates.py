"""What is measured, and the upstream behind it: start, wait for, stop."""

import http.client
import http.server
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.bench import machine, peers, policies
from tests.support import procs

START_SECONDS = 60
HERE = Path(__file__).resolve().parent


class Candidate:
    """A process on 127.0.0.1 that serves `port`."""

    def __init__(self, name, port, command, folder, cores=machine.CANDIDATE, env=None):
        self.name, self.port, self.folder = name, port, folder
        self.config = folder / "config"
        self.begun = time.monotonic()
        with machine.on(cores):
            self.child = procs.Child(command, folder / "log", {**os.environ, "NO_COLOR": "1", **(env or {})}, folder)

    @property
    def pid(self):
        return self.child.pid

    def wait(self):
        procs.until(self._listens, START_SECONDS, f"{self.name} listens", every=0.02)
        return self

    def stop(self):
        self.child.kill(grace=1)

    def cpu_seconds(self):
        return machine.cpu_seconds(self.pid)

    def rss(self):
        return machine.rss(self.pid)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def _listens(self):
        if not self.child.alive():
            raise RuntimeError(f"{self.name} ended with {self.child.process.returncode}:\n{self.child.tail()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Bench:
    """Starts candidates in folders of their own; as a context manager, stops them all."""

    def __init__(self, options):
        self.options = options
        self._running = []
        self.root = Path(tempfile.mkdtemp(prefix="run-", dir=options.folder))
        self.root.chmod(0o711)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self._running:
            self._running.pop().stop()

    def stop(self, one):
        self._running.remove(one)
        one.stop()

    def folder(self):
        folder = Path(tempfile.mkdtemp(dir=self.root))
        # nginx started by root has workers that are nobody.
        folder.chmod(0o711)
        return folder

    def upstream(self):
        folder, port = self.folder(), procs.free_port()
        return self._nginx("upstream", folder, port, policies.upstream(folder, port), machine.LOAD)

    def script(self, name, *arguments):
        """One of the Python upstreams beside this file."""
        folder, port = self.folder(), procs.free_port()
        command = [sys.executable, HERE / name, str(port), *map(str, arguments)]
        return self._keep(Candidate(name, port, command, folder, machine.LOAD)).wait()

    def scopeshim(self, upstream, name="scopeshim", **what):
        return self.scopeshim_spawned(upstream, name, **what).wait()

    def scopeshim_spawned(self, upstream, name="scopeshim", **what):
        """As above, without waiting."""
        folder, port = self.folder(), procs.free_port()
        (folder / "config").write_text(policies.scopeshim(folder, port, upstream.port, **what))
        # As in packaging/systemd/scopeshim.service.
        env = {"MIMALLOC_PURGE_DELAY": "0"}
        return self._keep(Candidate(name, port, [self.options.binary, "run", "--config", folder / "config"], folder, env=env))

    def nginx_spawned(self, upstream, **what):
        """As below, without waiting."""
        folder, port = self.folder(), procs.free_port()
        (folder / "config").write_text(policies.nginx(folder, port, upstream.port, **what))
        return self._keep(Candidate("nginx", port, ["nginx", "-c", folder / "config"], folder))

    def nginx(self, upstream, name="nginx", log=False, **what):
        folder, port = self.folder(), procs.free_port()
        if log:
            what["access_log"] = f"{folder}/access.log"
        return self._nginx(name, folder, port, policies.nginx(folder, port, upstream.port, **what), machine.CANDIDATE)

    def haproxy(self, upstream, name="HAProxy", **what):
        folder, port = self.folder(), procs.free_port()
        return self._haproxy(name, folder, port, policies.haproxy(folder, port, upstream.port, **what))

    def haproxy_jwt(self, upstream, algorithm, keys):
        folder, port = self.folder(), procs.free_port()
        return self._haproxy(f"HAProxy {algorithm}", folder, port, policies.haproxy_jwt(port, upstream.port, algorithm, keys))

    def envoy(self, upstream, keys=None):
        folder, port = self.folder(), procs.free_port()
        said = peers.envoy_jwt(folder, port, upstream.port, keys) if keys else peers.envoy(folder, port, upstream.port)
        return self._peer("Envoy", folder, port, *said)

    def caddy(self, upstream):
        folder, port = self.folder(), procs.free_port()
        return self._peer("Caddy", folder, port, *peers.caddy(folder, port, upstream.port))

    def oauth2_proxy(self, upstream, keys):
        folder, port = self.folder(), procs.free_port()
        said = peers.oauth2_proxy(folder, port, upstream.port, served(keys.jwks))
        return self._peer("oauth2-proxy", folder, port, *said)

    def _peer(self, name, folder, port, command, env):
        return self._keep(Candidate(name, port, command, folder, env=env)).wait()

    def _nginx(self, name, folder, port, config, cores):
        (folder / "config").write_text(config)
        return self._keep(Candidate(name, port, ["nginx", "-c", folder / "config"], folder, cores)).wait()

    def _haproxy(self, name, folder, port, config):
        (folder / "config").write_text(config)
        return self._keep(Candidate(name, port, ["haproxy", "-db", "-f", folder / "config"], folder)).wait()

    def _keep(self, candidate):
        self._running.append(candidate)
        return candidate


def served(file):
    """An address at which this process serves a file, as an issuer serves its keys."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = file.read_bytes()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/jwks.json"


def ask(port, token, path="/v1/models", seconds=10):
    """One request; the answer's status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def prove(candidate, token):
    """A candidate that answers wrongly would be measured for nothing."""
    status, headers, body = ask(candidate.port, token)
    seen = headers.get("x-seen-scopes")
    if status != 200 or seen != policies.SCOPES or len(body) < 500:
        raise RuntimeError(f"{candidate.name} answers {status}, scopes sent {seen!r}: {body[:300]!r}\n{candidate.child.tail()}")
    refused = ask(candidate.port, "nobody")[0]
    if refused != 401:
        raise RuntimeError(f"{candidate.name} answers {refused} to a stranger")


def output(command, seconds):
    """What a command on the load's core prints."""
    with machine.on(machine.LOAD):
        done = procs.run([str(part) for part in command], dict(os.environ), seconds)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}")
    return done.stdout


