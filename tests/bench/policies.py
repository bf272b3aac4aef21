"""What each candidate is told: the same job in three languages."""

import hashlib
import json

SECRET = "the-gateways-own-token-of-this-run"
ISSUER, AUDIENCE = "https://issuer.example", "openclaw"
HMAC_ISSUER = "https://hmac.example"
SCOPES = "operator.read,operator.write"


def token(number):
    return f"client-{number:06d}-{hashlib.sha256(str(number).encode()).hexdigest()[:40]}"


def scopeshim(folder, port, upstream, tokens=1000, level="error", extra=""):
    """A configuration with one worker thread; `extra` is TOML put at its end."""
    secret = folder / "gateway.token"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    head = f"""
[[listen]]
address = "127.0.0.1:{port}"
[gateway]
url = "http://127.0.0.1:{upstream}"
auth = {{ kind = "token", file = {json.dumps(str(secret))} }}
[server]
threads = 1
state_dir = {json.dumps(str(folder / "state"))}
[log]
level = "{level}"
format = "json"
[limits]
max_connections = 30000
"""
    return head + extra + "".join(named(number) for number in range(tokens))


def named(number, scopes=SCOPES):
    digest = hashlib.sha256(token(number).encode()).hexdigest()
    return f'[[token]]\nname = "client-{number}"\nsha256 = "{digest}"\nscopes = {json.dumps(scopes.split(","))}\n'


def grants(count, tokens):
    """Grants of many forms to the named tokens."""
    def one(number):
        bounds = ('methods = ["GET", "POST"]\n', 'cidrs = ["10.0.0.0/8"]\n', "expires = 2099-12-31T00:00:00Z\n", "")
        return (f'[[grant]]\nto = {{ token = "client-{number % tokens}" }}\nscopes = ["operator.approvals"]\n'
                f'routes = ["/plugin/{number}/"]\n{bounds[number % len(bounds)]}')
    return "".join(one(number) for number in range(count))


def issuers(keys, cache):
    """`keys` is a `jwts.Keys`."""
    return f"""
[policy]
jwt_cache = {cache}
[[issuer]]
name = "asymmetric"
issuer = "{ISSUER}"
audiences = ["{AUDIENCE}"]
keys = {{ jwks_file = {json.dumps(str(keys.jwks))} }}
[[issuer]]
name = "hmac"
issuer = "{HMAC_ISSUER}"
audiences = ["{AUDIENCE}"]
keys = {{ secret_file = {json.dumps(str(keys.secret))} }}
"""


# What must not reach the gateway from outside, beside what is replaced.
STRIPPED = ["cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-user",
             "x-real-ip", "tailscale-user-login", "tailscale-user-name", "cf-access-authenticated-user-email",
             "x-openclaw-agent-id", "x-openclaw-model", "x-openclaw-session-key", "x-openclaw-message-channel"]


def nginx(folder, port, upstream, tokens=1000, access_log="off", buffering="off"):
    scopes = "\n".join(f'"Bearer {token(number)}" "{SCOPES}";' for number in range(tokens))
    strip = "\n".join(f'proxy_set_header {name} "";' for name in STRIPPED)
    return _nginx(folder, f"""
map_hash_max_size 262144; map_hash_bucket_size 128;
map $http_authorization $scopes {{ default ""; {scopes} }}
upstream gateway {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
server {{
  listen 127.0.0.1:{port} backlog=4096;
  access_log {access_log};
  client_max_body_size 0;
  location / {{
    if ($scopes = "") {{ return 401; }}
    proxy_pass http://gateway;
    proxy_http_version 1.1;
    proxy_buffering {buffering}; proxy_max_temp_file_size 0; proxy_request_buffering off;
    proxy_read_timeout 600s;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer {SECRET}";
    proxy_set_header x-openclaw-scopes $scopes;
    {strip}
  }}
}}""")


def upstream(folder, port):
    """A gateway that is never the bottleneck: about 1 KB of JSON; says which scopes it was sent."""
    models = [{"id": f"openclaw/agent-{n}", "object": "model", "created": 1700000000, "owned_by": "openclaw"}
              for n in range(12)]
    body = json.dumps({"object": "list", "data": models}, separators=(",", ":"))
    return _nginx(folder, f"""
server {{
  listen 127.0.0.1:{port} backlog=4096;
  default_type application/json;
  add_header x-seen-scopes $http_x_openclaw_scopes;
  location / {{ return 200 '{body}'; }}
}}""")


def _nginx(folder, http):
    temp = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
worker_rlimit_nofile 60000;
events {{ worker_connections 30000; }}
http {{
  access_log off; server_tokens off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
  {temp}
{http}
}}
"""


def haproxy(folder, port, upstream_port, tokens=1000, connections=4000):
    table = folder / "tokens.map"
    table.write_text("".join(f"{token(number)} {SCOPES}\n" for number in range(tokens)))
    return _haproxy(port, upstream_port, f"""
  http-request set-var(txn.scopes) http_auth_bearer,map_str({table})
  http-request deny deny_status 401 unless {{ var(txn.scopes) -m found }}""", connections)


def haproxy_jwt(port, upstream_port, algorithm, keys):
    key = keys.secret.read_text() if algorithm == "HS256" else str(keys.pems[algorithm])
    issuer = HMAC_ISSUER if algorithm == "HS256" else ISSUER
    return _haproxy(port, upstream_port, f"""
  http-request set-var(txn.jwt) http_auth_bearer
  http-request deny deny_status 401 unless {{ var(txn.jwt),jwt_header_query('$.alg') -m str {algorithm} }}
  http-request deny deny_status 401 unless {{ var(txn.jwt),jwt_payload_query('$.iss') -m str {issuer} }}
  http-request deny deny_status 401 unless {{ var(txn.jwt),jwt_payload_query('$.aud') -m str {AUDIENCE} }}
  http-request set-var(txn.now) date()
  http-request set-var(txn.exp) var(txn.jwt),jwt_payload_query('$.exp','int')
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 401 unless {{ var(txn.jwt),jwt_verify("{algorithm}","{key}") -m int 1 }}
  http-request set-var(txn.scopes) var(txn.jwt),jwt_payload_query('$.scope'),regsub('" "','","',g)""")


def _haproxy(port, upstream_port, decide, connections=4000):
    strip = "\n".join(f"  http-request del-header {name}" for name in STRIPPED)
    return f"""
global
  maxconn {connections}
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend in
  bind 127.0.0.1:{port} backlog 4096
{decide}
{strip}
  http-request set-header authorization "Bearer {SECRET}"
  http-request set-header x-openclaw-scopes %[var(txn.scopes)]
  default_backend gateway
backend gateway
  http-reuse always
  server one 127.0.0.1:{upstream_port} maxconn {connections}
"""
