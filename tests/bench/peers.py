"""What Envoy, Caddy and oauth2-proxy are told: the same job as in policies.py."""

import base64
import json

from tests.bench import policies
from tests.support import install


def envoy(folder, port, upstream, tokens=1000):
    """Named tokens: each names its scopes, and what a client says of itself is taken out."""
    keys = [{"key": policies.token(number), "client": policies.SCOPES} for number in range(tokens)]
    known = {"@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth", "credentials": keys,
             "key_sources": [{"header": "authorization"}],
             "forwarding": {"header": "x-openclaw-scopes", "hide_credentials": True}}
    return _envoy(folder, port, upstream, {"name": "envoy.filters.http.api_key_auth", "typed_config": known})


def envoy_jwt(folder, port, upstream, keys):
    """JWTs by public keys; the scopes are a claim, which Envoy passes on as it stands there."""
    jwks = json.loads(keys.jwks.read_text())
    secret = base64.urlsafe_b64encode(keys.secret.read_bytes()).rstrip(b"=").decode()
    symmetric = {"keys": [{"kty": "oct", "alg": "HS256", "k": secret}]}

    def provider(issuer, known):
        return {"issuer": issuer, "audiences": [policies.AUDIENCE], "local_jwks": {"inline_string": json.dumps(known)},
                "claim_to_headers": [{"header_name": "x-openclaw-scopes", "claim_name": "scope"}]}

    verified = {"@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": {"asymmetric": provider(policies.ISSUER, jwks), "hmac": provider(policies.HMAC_ISSUER, symmetric)},
                "rules": [{"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
                    {"provider_name": "asymmetric"}, {"provider_name": "hmac"}]}}}]}
    return _envoy(folder, port, upstream, {"name": "envoy.filters.http.jwt_authn", "typed_config": verified})


def _envoy(folder, port, upstream, decide):
    def address(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    router = {"name": "envoy.filters.http.router",
              "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "gateway", "timeout": "0s", "idle_timeout": "0s"}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in", "stream_idle_timeout": "0s", "http_filters": [decide, router],
        "generate_request_id": False,
        "route_config": {
            "request_headers_to_remove": policies.STRIPPED,
            "request_headers_to_add": [{"header": {"key": "authorization", "value": f"Bearer {policies.SECRET}"},
                                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}}
    cluster = {"name": "gateway", "type": "STATIC", "circuit_breakers": {"thresholds": [
        {"max_connections": 65000, "max_pending_requests": 65000, "max_requests": 65000}]},
        "load_assignment": {"cluster_name": "gateway", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address(upstream)}}]}]}}
    listener = {"address": address(port), "filter_chains": [{"filters": [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}
    config = folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    return [install.envoy(), "--config-path", config, "--concurrency", 1, "--disable-hot-restart", "--log-level", "error"], {}


def caddy(folder, port, upstream, tokens=1000):
    listed = "\n".join(f'"Bearer {policies.token(number)}" "{policies.SCOPES}"' for number in range(tokens))
    strip = "\n".join(f"header_up -{name}" for name in policies.STRIPPED)
    config = folder / "Caddyfile"
    config.write_text(f"""
{{
  admin off
  auto_https off
  persist_config off
  log {{
    level ERROR
  }}
}}
:{port} {{
  bind 127.0.0.1
  map {{header.Authorization}} {{scopes}} {{
    {listed}
    default ""
  }}
  @stranger vars {{scopes}} ""
  respond @stranger 401
  reverse_proxy 127.0.0.1:{upstream} {{
    flush_interval -1
    transport http {{
      keepalive_idle_conns_per_host 256
    }}
    {strip}
    header_up Authorization "Bearer {policies.SECRET}"
    header_up x-openclaw-scopes {{scopes}}
  }}
}}
""")
    env = {"GOMAXPROCS": "1", "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return [install.caddy(), "run", "--config", config, "--adapter", "caddyfile"], env


def oauth2_proxy(folder, port, upstream, jwks_url):
    """JWTs alone: it knows no named tokens. It verifies RSA's, and the scopes are a claim."""
    config = folder / "alpha.json"
    config.write_text(json.dumps({
        "injectRequestHeaders": [
            {"name": "Authorization", "values": [{"value": base64.b64encode(f"Bearer {policies.SECRET}".encode()).decode()}]},
            {"name": "x-openclaw-scopes", "values": [{"claim": "scope"}]}],
        "upstreamConfig": {"upstreams": [{"id": "gateway", "path": "/", "uri": f"http://127.0.0.1:{upstream}",
                                          "flushInterval": "0s"}]},
        "server": {"bindAddress": f"127.0.0.1:{port}"},
        "providers": [{"id": "one", "provider": "oidc", "clientID": policies.AUDIENCE, "clientSecret": "unused",
                       "loginURL": f"{policies.ISSUER}/login", "redeemURL": f"{policies.ISSUER}/token",
                       "oidcConfig": {"issuerURL": policies.ISSUER, "skipDiscovery": True, "jwksURL": jwks_url,
                                      "emailClaim": "sub", "audienceClaims": ["aud"],
                                      "insecureAllowUnverifiedEmail": True}}]}))
    plain = folder / "oauth2-proxy.toml"
    plain.write_text('cookie_secret = "0123456789abcdef0123456789abcdef"\nemail_domains = ["*"]\nskip_jwt_bearer_tokens = true\n'
                     'api_routes = ["^/"]\nrequest_logging = false\nauth_logging = false\nstandard_logging = false\n')
    return [install.oauth2_proxy(), "--config", plain, "--alpha-config", config], {"GOMAXPROCS": "1"}
