"""TLS: in front, by the manual's nginx lines as they stand there, with the real nginx; and on the listener itself."""

import http.client
import json
import re
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import procs, wsclient

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "tls.md"


def certificate(folder):
    cert, key = folder / "fullchain.pem", folder / "privkey.pem"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"openssl: {done.stderr.strip()[-200:]}")
    return cert


def nginx(env, folder, port):
    """nginx by the manual's lines; only places are put into them."""
    lines = re.search(r"```nginx\n(.*?)```", MANUAL.read_text(), re.S)[1]
    for old, new in {"listen 443": f"listen 127.0.0.1:{port}", "openclaw.example.org": "localhost",
                     "/etc/ssl/openclaw": str(folder), "127.0.0.1:18780": f"127.0.0.1:{env.port}"}.items():
        assert lines.count(old) == (2 if old == "/etc/ssl/openclaw" else 1), f"the manual's lines have changed: {old}"
        lines = lines.replace(old, new)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    file = folder / "nginx.conf"
    file.write_text(f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
                    f"http {{\naccess_log off;\n{temporary}\n{lines}\n}}\n")
    return procs.Child([shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"), "-p", folder, "-c", file],
                       folder / "log")


def test_nginx_in_front(new_environment, cleanup, folder, say):
    if not shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"):
        pytest.skip("nginx is not installed")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    env = new_environment()
    # The same token twice over: once for anybody, once for an address that only a header can claim.
    near = env.config.read_text()
    env.config.write_text(near + 'cidrs = ["10.1.1.0/24"]\n')
    process = env.start()
    folder = env.folder / "nginx"
    folder.mkdir()
    # Its workers have a user of their own.
    for parent in (folder, env.folder, folder):
        parent.chmod(0o755)
    cert, port = certificate(folder), procs.free_port()
    child = nginx(env, folder, port)
    cleanup.callback(child.kill)
    tls = ssl.create_default_context(cafile=cert)

    ask = asker(env, port, tls)

    procs.until(lambda: answers(ask), 10, f"nginx\n{child.tail()}")
    claims = [("x-forwarded-for", "10.1.1.1"), ("x-real-ip", "10.1.1.1"), ("forwarded", "for=10.1.1.1")]
    claimed = ask(headers=claims).status
    assert claimed in (401, 403), f"an address in a header was believed: {claimed}"
    env.config.write_text(near)
    procs.until(lambda: ask().status == 200, 10, "the token for anybody")
    assert ask(headers=claims).status == 200, "with forwarding headers"
    lines = [json.loads(line) for line in process.log().splitlines() if '"access"' in line]
    addresses = {line["client.address"] for line in lines if line.get("client.address")}
    assert addresses == {"127.0.0.1"}, f"addresses in the log: {addresses}"
    for odd in ("//v1/models", "/v1/../v1/models", "/v1/%2e%2e/v1/models"):
        assert ask(odd).status == 400, f"{odd} was judged as something else: {ask(odd).status}"

    say(f"{streams(env, ask, port, tls)}; odd paths 400; X-Forwarded-For: {claimed}")


def streams(env, ask, port, tls):
    """Events one by one, a WebSocket there and back, a large body."""
    begun = time.monotonic()
    answer = ask("/v1/chat/completions", body=json.dumps({"stream": True, "events": 10, "every_ms": 100}).encode())
    times = []
    while line := answer.readline():
        if line.startswith(b"data: {"):
            times.append(time.monotonic() - begun)
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(times) == 10 and times[0] < 0.1 + 0.5 and min(gaps) > 0.03, f"events came at {times}"
    with wsclient.Socket(f"https://localhost:{port}", [("authorization", f"Bearer {env.token}")], tls=tls) as socket:
        socket.connect(scopes=("operator.read",))
        for size in (1, 50, 5_000, 60_000):
            ok, said = socket.call("health", {"x": "x" * size})
            assert ok and said == {"x": "x" * size}, f"a frame of {size} came back as {str(said)[:80]}"
        # Many on their way at a time.
        for number in range(100):
            socket.send({"type": "req", "id": f"n{number}", "method": "health", "params": {"x": "y" * 20_000}})
        for number in range(100):
            assert socket.answer(f"n{number}")["ok"], f"the answer {number}"
    big = ask("/v1/chat/completions", body=b'{"stream":false,"x":"' + b"x" * 5_000_000 + b'"}').status
    assert big == 200, f"a body of 5 MB got {big}"
    return (f"events one by one (the first after {times[0] * 1000:.0f} ms, then every {sum(gaps) / len(gaps) * 1000:.0f} ms), "
            f"a WebSocket, a body of 5 MB")


def test_tls_of_its_own(new_environment, say):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    env = new_environment()
    cert = certificate(env.folder)
    (env.folder / "privkey.pem").chmod(0o600)
    secured = f'tls = {{ certificate = "{cert}", key = "{env.folder}/privkey.pem" }}'
    text = env.config.read_text()
    assert "probe" in text, text
    env.config.write_text(text.replace("\n\n[gateway]", f"\n{secured}\n\n[gateway]", 1))
    process = env.start()
    tls = ssl.create_default_context(cafile=cert)
    ask = asker(env, env.port, tls)
    first = streams(env, ask, env.port, tls)
    # A new certificate under load, while a stream is open.
    answer = ask("/v1/chat/completions", body=json.dumps({"stream": True, "events": 30, "every_ms": 100}).encode())
    old = cert.read_text()
    certificate(env.folder)
    (env.folder / "privkey.pem").chmod(0o600)
    begun = time.monotonic()
    now = ssl.create_default_context(cafile=cert)
    procs.until(lambda: answers(asker(env, env.port, now)), 10, "the new certificate", every=0.02)
    shown = time.monotonic() - begun
    events = answer.read().count(b"data: {")
    assert events == 30 and cert.read_text() != old, f"{events} of 30 events while the certificate changed"
    idle = process.rss()
    many = []
    for _ in range(200):
        connection = http.client.HTTPSConnection("localhost", env.port, context=now, timeout=20)
        connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {env.token}"})
        connection.getresponse().read()
        many.append(connection)
    each = (process.rss() - idle) / len(many)
    for connection in many:
        connection.close()
    say(f"{first}; a new certificate is shown after {shown:.2f} s, an open stream goes on; {each:.0f} KiB for each resting connection")


def asker(env, port, tls):
    def ask(target="/v1/models", headers=(), body=None):
        connection = http.client.HTTPSConnection("localhost", port, context=tls, timeout=20)
        connection.putrequest("GET" if body is None else "POST", target)
        for name, value in [("authorization", f"Bearer {env.token}"), *headers]:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()
    return ask


def answers(ask):
    try:
        return ask().status
    except (OSError, http.client.HTTPException):
        return None
