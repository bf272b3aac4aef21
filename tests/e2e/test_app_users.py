"""One chat, one session, and the users behind an app (docs/isolation.md).

A gateway, and in front of it scopeshim with Open WebUI's token, which speaks for its users. What is sent is what Open
WebUI 0.12.4 sends: the chat and the user in headers, the user in a JWT where it signs, and `{{TASK}}` in a header of the
connection. The model answers with everything it was shown, and the gateway's own files say how many sessions there are.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time

from tests.e2e import gateway_sessions
from tests.e2e.environment import case
from tests.e2e.test_isolation import Teller, _shown, _tell, answered, need, word
from tests.support import clients, gateways
from tests.support.outcomes import NotAvailable
from tests.support.wsclient import Closed, Refused, Socket

APPS = {name: f"{name}-{secrets.token_hex(20)}" for name in ("open-webui", "signed", "client")}
SECRET = secrets.token_hex(32)
ALICE, BOB, READER = "alice@example.org", "bob@example.org", "reader@example.org"
GRANTS = {ALICE: ["operator.admin"], BOB: ["operator.read", "operator.write"], READER: ["operator.read"]}
LEAD = "scopeshim.app_user."


def jwt(email, secret=SECRET, **changes):
    """As Open WebUI makes it with FORWARD_USER_INFO_HEADER_JWT_SECRET: HS256, and no `aud`."""
    now = int(time.time())
    claims = {"sub": "4f1c", "email": email, "name": "A", "role": "user", "iss": "open-webui", "iat": now, "exp": now + 300}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims | changes)]
    head = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = hmac.new(secret.encode(), head, hashlib.sha256).digest()
    return (head + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


class Lab:
    def __init__(self, env):
        self.env = env
        self.model = Teller()
        handler = self.model._server.RequestHandlerClass
        self.model._server.RequestHandlerClass = type("_Teller", (handler,), {"do_POST": _tell})
        env.at_end(self.model.stop)
        self.gateway = gateways.Gateway(env.release, env.mode, self.model.port, env.folder / "apps")
        env.at_file_end(self.gateway.stop)
        self.gateway.start()
        secret = env.folder / "users.secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        self.url = env._start_shim("app-users", self.gateway.url, self._tables(secret)).url

    @staticmethod
    def _tables(secret):
        lines = ["", "[sessions]", 'preset = "open-webui"', "", "[[issuer]]", 'name = "users"', 'preset = "open-webui"',
                 'issuer = "open-webui"', f"keys = {{ secret_file = {json.dumps(str(secret))} }}"]
        users = {"open-webui": '{ preset = "open-webui" }', "signed": '{ issuer = "users" }', "client": None}
        for name, how in users.items():
            digest = hashlib.sha256(APPS[name].encode()).hexdigest()
            lines += ["", "[[token]]", f'name = "app-{name}"', f'sha256 = "{digest}"']
            lines += ['scopes = ["operator.read", "operator.write"]', f"users = {how}" if how else ""]
        for user, scopes in GRANTS.items():
            lines += ["", "[[grant]]", f'to = {{ app = "app-*", user = "{user}" }}', f"scopes = {json.dumps(scopes)}"]
        return "\n".join(lines) + "\n"

    def ask(self, app, method, path, body=None, headers=()):
        lines = [("authorization", f"Bearer {APPS[app]}"), *headers]
        return clients.request(method, self.url + path, lines, body, 180)

    def chat(self, user, chat, said, app="open-webui", task="", more=()):
        who = [("x-openwebui-user-jwt", jwt(user))] if app == "signed" else [("x-openwebui-user-email", user)]
        headers = [*who, ("x-openwebui-user-role", "user"), ("x-openwebui-chat-id", chat), ("x-openwebui-task", task), *more]
        body = {"model": "openclaw", "messages": [{"role": "user", "content": said}]}
        answer = self.ask(app, "POST", "/v1/chat/completions", body, headers)
        answer.shown = _shown(answer)
        return answer

    def sessions(self, owner=""):
        """The keys of the gateway's sessions that are of users of apps."""
        return {key for key in gateway_sessions.keys(self.gateway) if f":{LEAD}{owner}" in key}


def lab(env):
    if env.mode.name not in ("token", "trusted-proxy"):
        raise NotAvailable("a gateway of its own only where callers differ: in token and trusted-proxy")
    if "app-users" not in env.memory:
        env.memory["app-users"] = Lab(env)
    return env.memory["app-users"]


def owner(user, app="open-webui"):
    return f"app-{app}:{user.replace('@', '~40')}:"


@case("app-users.one-chat-one-session")
def test_one_chat_one_session(env, row):
    """Five messages of a chat are one session, two chats are two, and prompts of the app's own are in neither."""
    at, chat, other = lab(env), secrets.token_hex(8), secrets.token_hex(8)
    before, words = at.sessions(owner(ALICE)), [word() for _ in range(5)]
    for said in words:
        shown = answered(at.chat(ALICE, chat, said), "a message").shown
    need(set(words) <= shown, f"the fifth message's model was shown {shown}")
    new = at.sessions(owner(ALICE)) - before
    need(len(new) == 1 and next(iter(new)).endswith(chat), f"five messages are {len(new)} sessions: {new}")
    shown = answered(at.chat(ALICE, other, word()), "the other chat").shown
    need(len(shown) == 1, f"another chat was shown {shown}")
    need(len(at.sessions(owner(ALICE)) - before) == 2, "two chats are not two sessions")
    title = word()
    shown = answered(at.chat(ALICE, chat, title, task="title_generation"), "a title").shown
    need(shown == {title}, f"the title's model was shown {shown}")
    shown = answered(at.chat(ALICE, chat, word()), "afterwards").shown
    need(title not in shown and set(words) <= shown, "the title's prompt is in the chat")
    row.through = "1, and 2"


@case("app-users.two-users")
def test_two_users(env, row):
    """The same chat's number of two people, or of two apps, is a session each."""
    at, chat = lab(env), secrets.token_hex(8)
    first, second, third = word(), word(), word()
    answered(at.chat(ALICE, chat, first), "alice")
    need(answered(at.chat(BOB, chat, second), "bob").shown == {second}, "bob was shown alice's words")
    need(answered(at.chat(ALICE, chat, third, app="signed"), "of the other app").shown == {third}, "two apps meet")
    need(first in answered(at.chat(ALICE, chat, word()), "alice again").shown, "alice's chat does not go on")
    # What a person may put into the body or into a key selects nobody else's.
    body = {"model": "openclaw", "user": "x", "messages": [{"role": "user", "content": first}]}
    lines = [("x-openwebui-user-email", BOB)]
    need(first not in answered(at.chat(BOB, secrets.token_hex(8), second), "bob's new chat").shown, "shared")
    key = f"agent:main:{LEAD}{owner(ALICE)}{chat}"
    row.refused(at.ask("open-webui", "POST", "/v1/chat/completions", body, [*lines, ("x-openclaw-session-key", key)]), 403)
    row.through = "apart"


@case("app-users.scopes")
def test_scopes(env, row):
    """A user may do what both the app and its own grants allow."""
    at = lab(env)
    row.refused(at.chat(READER, "c", word()), 403, "operator.write")
    answered(at.chat(BOB, secrets.token_hex(8), word()), "bob")
    kill = at.ask("open-webui", "POST", "/sessions/x/kill", None, [("x-openwebui-user-email", ALICE)])
    row.refused(kill, 403, "operator.admin")
    wide = [("x-openwebui-user-email", BOB), ("x-openclaw-scopes", "operator.admin")]
    row.refused(at.ask("open-webui", "GET", "/v1/models", None, wide), 403, "operator.admin")
    row.refused(at.chat("eve@example.org", "c", word()), 403, "no rule names")
    row.refused(at.ask("open-webui", "GET", "/v1/models"), 403, "names none")
    row.through = "both"


@case("app-users.forged")
def test_forged(env, row):
    """Anybody else's word about a user is nobody's, and two words are refused."""
    at, chat = lab(env), secrets.token_hex(8)
    answered(at.chat(ALICE, chat, word(), app="client"), "a client that claims to be alice")
    need(not any(chat in key for key in at.sessions()), "a client without users made a session of a user")
    twice = [("x-openwebui-user-email", BOB)]
    row.refused(at.chat(ALICE, chat, word(), more=twice), 400, "more than once")
    spelled = [("x_openwebui_user_email", ALICE), ("x-openwebui-user-role", "admin")]
    row.refused(at.ask("open-webui", "GET", "/v1/models", None, spelled), 400, "missing beside")
    try:
        with Socket(at.url.replace("http://", "ws://")) as sock:
            sock.connect(auth={"token": APPS["open-webui"]}, scopes=["operator.read"])
        said = "connected"
    except (Closed, Refused) as why:
        said = str(why)
    need("cannot be held to" in said, f"an app's socket: {said}")
    row.through = "stripped or refused"


@case("app-users.signed")
def test_signed(env, row):
    """Where a JWT proves the user, it alone does."""
    at, chat, said = lab(env), secrets.token_hex(8), word()
    answered(at.chat(ALICE, chat, said, app="signed"), "signed")
    need(said in answered(at.chat(ALICE, chat, word(), app="signed"), "signed again").shown, "its chat does not go on")
    need(at.sessions(owner(ALICE, "signed")), "no session of the signed user")
    body = {"model": "openclaw", "messages": [{"role": "user", "content": said}]}

    def ask(*headers):
        return at.ask("signed", "POST", "/v1/chat/completions", body, headers)

    row.refused(ask(("x-openwebui-user-email", ALICE)), 403, "names none")
    now = int(time.time())
    for bad in (jwt(ALICE, secrets.token_hex(32)), jwt(ALICE, exp=now - 120), jwt(ALICE, iss="elsewhere"), jwt(ALICE, aud="x")):
        row.refused(ask(("x-openwebui-user-jwt", bad)), 403, "should prove the app's user")
    row.refused(ask(("x-openwebui-user-jwt", jwt("eve@example.org")), ("x-openwebui-user-email", ALICE)), 403, "no rule names")
    alone = clients.request("GET", f"{at.url}/v1/models", [("authorization", f"Bearer {jwt(ALICE)}")], None, 30)
    need(alone.status == 401, f"the JWT alone: {alone.brief()}")
    row.through = "by its JWT alone"
