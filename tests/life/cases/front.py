"""TLS in front: the manual's nginx lines, as they stand there, with the real nginx."""

import http.client
import json
import re
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import procs
import wsclient
from base import Unable, case, need

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "tls.md"


def certificate(folder):
    cert, key = folder / "fullchain.pem", folder / "privkey.pem"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"openssl: {done.stderr.strip()[-200:]}")
    return cert


def nginx(house, folder, port):
    """nginx by the manual's lines; only places are put into them."""
    lines = re.search(r"```nginx\n(.*?)```", MANUAL.read_text(), re.S)[1]
    for old, new in {"listen 443": f"listen 127.0.0.1:{port}", "openclaw.example.org": "localhost",
                     "/etc/ssl/openclaw": str(folder), "127.0.0.1:18790": f"127.0.0.1:{house.port}"}.items():
        need(lines.count(old) == (2 if old == "/etc/ssl/openclaw" else 1), f"the manual's lines have changed: {old}")
        lines = lines.replace(old, new)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    file = folder / "nginx.conf"
    file.write_text(f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
                    f"http {{\naccess_log off;\n{temporary}\n{lines}\n}}\n")
    return procs.Child([shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"), "-p", folder, "-c", file],
                       folder / "log")


@case("front, nginx")
def front(ctx):
    if not shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"):
        raise Unable("nginx is not installed")
    if not shutil.which("openssl"):
        raise Unable("openssl is not installed")
    house = ctx.house()
    # The same token twice over: once for anybody, once for an address that only a header can claim.
    near = house.config.read_text()
    house.config.write_text(near + 'cidrs = ["10.1.1.0/24"]\n')
    process = house.start()
    folder = house.folder / "nginx"
    folder.mkdir()
    # Its workers have a user of their own.
    for parent in (ctx.folder, house.folder, folder):
        parent.chmod(0o755)
    cert, port = certificate(folder), procs.free_port()
    child = nginx(house, folder, port)
    ctx.after(child.kill)
    tls = ssl.create_default_context(cafile=cert)

    def ask(target="/v1/models", headers=(), body=None):
        connection = http.client.HTTPSConnection("localhost", port, context=tls, timeout=20)
        connection.putrequest("GET" if body is None else "POST", target)
        for name, value in [("authorization", f"Bearer {house.token}"), *headers]:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    procs.until(lambda: answers(ask), 10, f"nginx\n{child.tail()}")
    claims = [("x-forwarded-for", "10.1.1.1"), ("x-real-ip", "10.1.1.1"), ("forwarded", "for=10.1.1.1")]
    claimed = ask(headers=claims).status
    need(claimed in (401, 403), f"an address in a header was believed: {claimed}")
    house.config.write_text(near)
    procs.until(lambda: ask().status == 200, 10, "the token for anybody")
    need(ask(headers=claims).status == 200, "with forwarding headers")
    lines = [json.loads(line) for line in process.log().splitlines() if '"access"' in line]
    addresses = {line["client.address"] for line in lines if line.get("client.address")}
    need(addresses == {"127.0.0.1"}, f"addresses in the log: {addresses}")
    for odd in ("//v1/models", "/v1/../v1/models", "/v1/%2e%2e/v1/models"):
        need(ask(odd).status == 400, f"{odd} was judged as something else: {ask(odd).status}")

    begun = time.monotonic()
    answer = ask("/v1/chat/completions", body=json.dumps({"stream": True, "events": 10, "every_ms": 100}).encode())
    times = []
    while line := answer.readline():
        if line.startswith(b"data: {"):
            times.append(time.monotonic() - begun)
    gaps = [b - a for a, b in zip(times, times[1:])]
    need(len(times) == 10 and times[0] < 0.1 + 0.5 and min(gaps) > 0.03, f"events came at {times}")

    with wsclient.Socket(f"https://localhost:{port}", [("authorization", f"Bearer {house.token}")], tls=tls) as socket:
        socket.connect(scopes=("operator.read",))
        ok, said = socket.call("health", {"n": 7})
        need(ok and said == {"n": 7}, f"{said}")
    big = ask("/v1/chat/completions", body=b'{"stream":false,"x":"' + b"x" * 5_000_000 + b'"}').status
    need(big == 200, f"a body of 5 MB got {big}")
    return (f"events one by one (the first after {times[0] * 1000:.0f} ms, then every {sum(gaps) / len(gaps) * 1000:.0f} ms), a WebSocket, "
            f"a body of 5 MB; odd paths 400; X-Forwarded-For: {claimed}")


def answers(ask):
    try:
        return ask().status
    except OSError:
        return None
