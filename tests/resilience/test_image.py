"""The folder that the Containerfile makes an image of is enough to run in, as its user."""

import base64
import http.server
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support import procs

ROOT = Path(__file__).resolve().parents[2]


def containerfile():
    """USER, ENV and the command, as they are written."""
    text = (ROOT / "packaging" / "Containerfile").read_text()
    last = text[text.rindex("FROM"):]
    env = re.search(r"^ENV ((?:.*\\\n)*.*)$", last, re.M)[1].replace("\\\n", " ").split()
    words = [word for key in ("ENTRYPOINT", "CMD") for word in json.loads(re.search(rf"^{key} (.*)$", last, re.M)[1])]
    return re.search(r"^USER (\S+)$", last, re.M)[1], dict(pair.split("=", 1) for pair in env), words


def keys_by_https(cleanup, env):
    """A key server whose authority the image's own list of authorities is told of."""
    cert, key = env.folder / "ca.pem", env.folder / "ca.key"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=DNS:localhost",
                           "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"openssl: {done.stderr.strip()[-200:]}")

    number = base64.urlsafe_b64encode((secrets.randbits(2048) | 1 << 2047 | 1).to_bytes(256, "big")).rstrip(b"=").decode()
    body = json.dumps({"keys": [{"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "e": "AQAB", "n": number}]}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    cleanup.callback(server.server_close)
    cleanup.callback(server.shutdown)
    return cert, server.server_address[1]


def test_the_image_is_enough_to_run_in(binary, new_environment, cleanup, folder, say):
    for tool in ("chroot", "ldd", "openssl"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not there")
    if os.geteuid():
        pytest.skip("chroot(8) needs root's rights")
    env = new_environment()
    cert, port = keys_by_https(cleanup, env)
    root = env.folder / "image"
    subprocess.run([ROOT / "packaging" / "image-root.sh", binary, root], check=True)
    size = sum(f.stat().st_size for f in root.rglob("*") if f.is_file() and not f.is_symlink())
    user, settings, words = containerfile()
    # What a container's runtime brings: names, the mounted configuration.
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    with open(root / "etc/ssl/certs/ca-certificates.crt", "a") as file:
        file.write(cert.read_text())
    folder = root / "etc/scopeshim/config"
    text = env.config.read_text().replace(str(env.folder / "gateway.token"), "/etc/scopeshim/config/gateway.token")
    text = text.replace("http://127.0.0.1:", "http://localhost:").replace(f'state_dir = "{env.state}"', "")
    text += f"""
[admin]
socket = "/run/scopeshim/admin.sock"
[[issuer]]
name = "https"
issuer = "https://issuer.example"
audiences = ["openclaw"]
keys = {{ url = "https://localhost:{port}/jwks" }}
"""
    (folder / "config.toml").write_text(text)
    shutil.copy(env.folder / "gateway.token", folder)
    # As a Secret with the pod's group.
    (folder / "gateway.token").chmod(0o440)
    os.chown(folder / "gateway.token", 0, int(user.split(":")[1]))
    log = env.folder / "image.log"
    inside = ["env", "-i", *(f"{key}={value}" for key, value in settings.items()), shutil.which("chroot"), f"--userspec={user}", root]
    child = procs.Child([*inside, *words], log)
    cleanup.callback(child.kill)
    procs.until(lambda: env.ask() == 200, 20, "an answer from within the image")

    def status():
        done = subprocess.run([*inside, words[0], "status", "--json"], capture_output=True, text=True, timeout=20)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    procs.until(lambda: '"keys": 1' in json.dumps(status()), 20, "the keys fetched by https")
    kept = list((root / "var/lib/scopeshim").glob("last-good*"))
    assert kept and kept[0].stat().st_uid == int(user.split(":")[0]), f"the state: {kept}"
    libraries = len([f for f in root.rglob("*.so*") if f.is_file()])
    say(f"runs as {user} with {libraries} libraries and the list of authorities beside it ({(size - binary.stat().st_size) / 1e6:.1f} MB "
        f"without the program); names resolve, keys come by https, state is kept")
