"""A tailnet of real tailscaled processes on this machine, and a control server of its own."""

import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

from tests.support import install, procs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "target" / "tailnet"
START_SECONDS = 60
# The pair of interfaces between this network namespace and that of a node with a TUN device.
OUTSIDE, INSIDE = "198.18.77.1", "198.18.77.2"


class Unavailable(Exception):
    """What is needed is not on this machine."""


def build():
    """tailscale, tailscaled and the control server, unless they are there and nothing changed."""
    BUILT.mkdir(parents=True, exist_ok=True)
    wanted = ["tailscale", "tailscaled", "control"]
    sources = max(file.stat().st_mtime for file in (HERE / "go.sum", HERE / "control.go"))
    if all((BUILT / name).exists() and (BUILT / name).stat().st_mtime > sources for name in wanted):
        return
    print("building tailscaled, tailscale and the control server; the first time takes minutes", flush=True)
    go = install.go()
    env = {**os.environ, "GOFLAGS": "-p=1 -buildvcs=false", "CGO_ENABLED": "0"}
    for name, package in (("tailscaled", "tailscale.com/cmd/tailscaled"), ("tailscale", "tailscale.com/cmd/tailscale"),
                          ("control", ".")):
        done = subprocess.run([go, "build", "-o", BUILT / name, package], cwd=HERE, env=env,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{package} cannot be built: {' '.join(done.stderr.split())[-400:]}")


def why_no_namespaces():
    """What is missing for a TUN device in a network namespace, or None."""
    if os.geteuid() == 0 and Path("/dev/net/tun").exists() and shutil.which("ip") and shutil.which("unshare"):
        return None
    return "a TUN device in a network namespace needs root, ip(8), unshare(1) and /dev/net/tun"


class Namespace:
    """A network namespace that reaches this one and nothing else."""

    def __init__(self):
        self.name = f"scopeshim-{os.getpid()}"
        self._link = f"ss{os.getpid()}"
        for command in (
            f"ip netns add {self.name}",
            f"ip link add {self._link} type veth peer name uplink netns {self.name}",
            f"ip addr add {OUTSIDE}/30 dev {self._link}", f"ip link set {self._link} up",
            f"ip -n {self.name} addr add {INSIDE}/30 dev uplink", f"ip -n {self.name} link set uplink up",
            f"ip -n {self.name} link set lo up", f"ip -n {self.name} route add default via {OUTSIDE}",
        ):
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                self.close()
                raise Unavailable(f"{command}: {done.stderr.strip()}")

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *words]

    def close(self):
        for command in (f"ip link del {self._link}", f"ip netns del {self.name}"):
            subprocess.run(command.split(), capture_output=True, check=False)


class Control:
    def __init__(self, folder, ip):
        self.ip, self.port = ip, procs.free_port()
        self.url = f"http://{ip}:{self.port}"
        command = [BUILT / "control", "-ip", ip, "-port", self.port]
        self.child = procs.Child(command, folder / "control.log")
        procs.until(self._answers, START_SECONDS, "control server")

    def put(self, path, value):
        connection = http.client.HTTPConnection(self.ip, self.port, timeout=10)
        connection.request("PUT", path, json.dumps(value))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()

    def _answers(self):
        try:
            socket.create_connection((self.ip, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Node:
    """One machine of the tailnet: in userspace networking, or with a TUN device in a namespace."""

    def __init__(self, name, folder, control, tag=None, namespace=None):
        self.name, self.folder, self.namespace = name, folder / name, namespace
        self.folder.mkdir()
        self.socket = self.folder / "tailscaled.sock"
        self.socks = procs.free_port()
        self.child = None
        self.start()
        extra = [f"--advertise-tags={tag}"] if tag else []
        if namespace:
            extra.append("--netfilter-mode=off")
        self.cli("up", f"--login-server={control.url}", f"--hostname={name}", "--accept-dns=false", "--timeout=60s",
                 *extra)
        self.ip = procs.until(self._address, START_SECONDS, f"{name} in the tailnet")

    def start(self):
        tun = "tailscale0" if self.namespace else "userspace-networking"
        command = [BUILT / "tailscaled", f"--tun={tun}", f"--socket={self.socket}", f"--statedir={self.folder}",
                   "--port=0", "--no-logs-no-support"]
        if self.namespace:
            command = self.namespace.command(*command)
        else:
            command.append(f"--socks5-server=127.0.0.1:{self.socks}")
        env = {**os.environ, "TS_DISABLE_PORTMAPPER": "1", "TS_NO_LOGS_NO_SUPPORT": "1",
               "TS_PANIC_IF_HIT_MAIN_CONTROL": "1", "HOME": str(self.folder)}
        self.child = procs.Child(command, self.folder / "tailscaled.log", env, self.folder)
        procs.until(lambda: self.child.alive() and self.socket.exists(), START_SECONDS, f"tailscaled of {self.name}")

    def stop(self):
        self.child.kill(grace=5)

    def signal(self, number):
        os.killpg(self.child.pid, number)

    def status(self):
        return json.loads(self.cli("status", "--json"))

    def cli(self, *words):
        command = [str(BUILT / "tailscale"), f"--socket={self.socket}", *words]
        done = procs.run(command, {**os.environ, "HOME": str(self.folder)}, 90)
        if done.returncode:
            raise RuntimeError(f"tailscale {' '.join(words)}: {done.stderr.strip()}\n{self.child.tail(8)}")
        return done.stdout

    def connect(self, ip, port, seconds=20):
        """A connection from this node to another: through its SOCKS server (RFC 1928)."""
        sock = socket.create_connection(("127.0.0.1", self.socks), timeout=seconds)
        try:
            sock.sendall(b"\x05\x01\x00")
            if _exactly(sock, 2) != b"\x05\x00":
                raise OSError("SOCKS: no way in")
            sock.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(ip) + struct.pack("!H", port))
            head = _exactly(sock, 4)
            if head[1] != 0:
                raise OSError(f"SOCKS: refused with {head[1]}")
            _exactly(sock, {1: 4, 4: 16}[head[3]] + 2)
        except BaseException:
            sock.close()
            raise
        return sock

    def _address(self):
        status = self.status()
        ready = status["BackendState"] == "Running" and status["Self"]["TailscaleIPs"]
        return ready and status["Self"]["TailscaleIPs"][0]


def _exactly(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError("the other side closed")
        data += piece
    return data
