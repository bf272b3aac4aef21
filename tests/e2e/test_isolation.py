"""A principal's own agents, sessions and tools, wherever a request names them (docs/isolation.md).

One gateway with two agents, `main` and `other`, and a model that answers with everything it was shown, so that
whoever gets a stranger's words gets them in the answer. Every case is one way that was open.
"""

import contextlib
import hashlib
import json
import re
import secrets
from urllib.parse import quote

from tests.e2e.environment import case
from tests.support import clients, fake_model, gateways
from tests.support.outcomes import NotAvailable
from tests.support.wsclient import Closed, Refused, Socket

READ_WRITE = ["operator.read", "operator.write"]
# Whose rules are which; each with `operator.read` and `operator.write`.
RULES = {
    "alice": 'session_key = "prefix"',
    "Alice": 'session_key = "prefix"',
    "bob": 'session_key = "prefix"',
    # Under the old keys its `other:x` became `agent:other:x`.
    "agent": 'session_key = "prefix"',
    "pinned": 'agent_id = { pin = "main" }',
    "listed": 'agent_id = { allow = ["main"] }',
    "no-agent": 'agent_id = "refuse"',
    "admin-agent": 'agent_id = "admin"',
    "on-route": 'agent_id = { pin = "main" }\nroutes = ["/v1/chat/completions"]',
    "by-method": 'agent_id = { pin = "main" }\nmethods = ["POST"]',
    "one-model": 'model = { pin = "mock/mock" }',
    "few-tools": 'tools = { allow = ["session_status"] }',
    "free": None,
}
WORD = re.compile("word-[0-9a-f]{12}")
TOKENS = {name: f"{number}-{secrets.token_hex(20)}" for number, name in enumerate(RULES)}


class Teller(fake_model.Model):
    """A model that says all that it was shown."""

    def seen(self, body):
        said = []
        for message in body.get("messages", []):
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            said += [str(part.get("text")) for part in parts if isinstance(part, dict)]
        return WORD.findall(" ".join(said))


def _tell(handler):
    try:
        body = json.loads(handler.rfile.read(int(handler.headers.get("content-length") or 0)) or b"{}")
    except ValueError:
        return handler.send_error(400)
    text = "SHOWN " + " ".join(handler.owner.seen(body))
    call = fake_model.Call(bool(body.get("stream")))
    handler.owner.calls.append(call)
    try:
        if call.stream:
            handler.send_response(200)
            handler.send_header("content-type", "text/event-stream")
            handler.send_header("transfer-encoding", "chunked")
            handler.end_headers()
            handler._event(fake_model._chunk({"role": "assistant", "content": text}, None))
            handler._event(fake_model._chunk({}, "stop"))
            handler._piece(b"data: [DONE]\n\n")
            handler.wfile.write(b"0\r\n\r\n")
        else:
            whole = fake_model._whole()
            whole["choices"][0]["message"]["content"] = text
            handler._json(whole)
    except OSError:
        handler.close_connection = True
    call.done = True


class Lab:
    """A gateway with two agents, and scopeshim in front of it with everybody's rules."""

    def __init__(self, env):
        self.env = env
        self.model = Teller()
        self.model._server.RequestHandlerClass = type("_Teller", (self.model._server.RequestHandlerClass,), {"do_POST": _tell})
        env.at_end(self.model.stop)
        self.gateway = gateways.Gateway(env.release, env.mode, self.model.port, env.folder / "two-agents")
        config = json.loads(self.gateway.config.read_text())
        if env.key >= (2026, 9):
            config["agents"]["entries"] = {"main": {}, "other": {}}
        else:
            config["agents"]["list"] = [{"id": "main", "default": True}, {"id": "other"}]
        self.gateway.config.write_text(json.dumps(config))
        env.at_file_end(self.gateway.stop)
        self.gateway.start()
        self.shim = env._start_shim("isolation", self.gateway.url, self._tables())
        self.url = self.shim.url

    @staticmethod
    def _tables():
        lines = []
        for name, rule in RULES.items():
            digest = hashlib.sha256(TOKENS[name].encode()).hexdigest()
            lines += ["", "[[token]]", f'name = "{name}"', f'sha256 = "{digest}"', f"scopes = {json.dumps(READ_WRITE)}"]
            if rule:
                lines += ["", "[[grant]]", f'to = {{ token = "{name}" }}', "scopes = []", rule]
        return "\n".join(lines) + "\n"

    def ask(self, who, method, path, body=None, headers=()):
        """`who` None: the bare gateway, by whoever may do everything there."""
        if who is None:
            lines, url = [*self.env.mode.bare_headers, ("x-openclaw-scopes", ",".join(READ_WRITE))], self.gateway.url
        else:
            lines, url = [("authorization", f"Bearer {TOKENS[who]}")], self.url
        return clients.request(method, url + path, [*lines, *headers], body, 180)

    def chat(self, who, word, key=None, agent=None, **members):
        """One chat turn; gives the answer, with what the model was shown in `shown`."""
        headers = [("x-openclaw-session-key", key)] if key else []
        headers += [("x-openclaw-agent-id", agent)] if agent else []
        body = {"model": "openclaw/main", "messages": [{"role": "user", "content": word}], **members}
        answer = self.ask(who, "POST", "/v1/chat/completions", body, headers)
        answer.shown = _shown(answer)
        return answer

    def respond(self, who, word, **members):
        body = {"model": "openclaw/main", "input": word, **members}
        answer = self.ask(who, "POST", "/v1/responses", body)
        answer.shown = _shown(answer)
        return answer

    def tool(self, who, tool, args=None, **members):
        return self.ask(who, "POST", "/tools/invoke", {"tool": tool, "args": args or {}, **members})

    def history(self, who, key):
        return self.ask(who, "GET", f"/sessions/{quote(key, safe='')}/history")

    def sessions(self):
        """Every session of the gateway."""
        body = {"tool": "sessions_list", "args": {}, "agentId": "main"}
        answer = self.ask(None, "POST", "/tools/invoke", body)
        return answer.body.decode("utf-8", "replace")


def _shown(answer):
    """The words that the model was shown: it says them, each of its answers too."""
    return set(WORD.findall(answer.body.decode("utf-8", "replace").split("SHOWN ")[-1]))


def word():
    return f"word-{secrets.token_hex(6)}"


def lab(env):
    if "isolation" not in env.memory:
        if env.key < (2026, 6):
            raise NotAvailable("the suite needs two agents and history over HTTP, as of 2026.6")
        env.memory["isolation"] = Lab(env)
    return env.memory["isolation"]


def need(condition, message):
    assert condition, message


def answered(answer, what):
    need(answer.status == 200, f"{what}: {answer.brief()}")
    return answer


@case("isolation.user-in-the-body")
def test_user_in_the_body(env, row):
    """`user: "x"` of two callers was one session."""
    at, alices, bobs = lab(env), word(), word()
    answered(at.chat(None, alices, user="x", model="openclaw/main"), "bare")
    row.bare = "shared" if alices in at.chat(None, bobs, user="x").shown else "apart"
    need(row.bare == "shared", "a bare gateway keeps them apart")
    alices, bobs = word(), word()
    answered(at.chat("alice", alices, user="y"), "alice")
    shown = answered(at.chat("bob", bobs, user="y"), "bob").shown
    need(bobs in shown and alices not in shown, f"bob's model was shown {shown}")
    row.through = "apart"


@case("isolation.named-sessions")
def test_named_sessions(env, row):
    """A name is a session of its principal alone, and goes on there; names that differ by case are two."""
    at = lab(env)
    words = {who: word() for who in ("alice", "Alice", "bob")}
    for who, said in words.items():
        answered(at.chat(who, said, key="chat"), who)
    for who, said in words.items():
        shown = answered(at.chat(who, word(), key="chat"), who).shown
        need(said in shown, f"{who}'s chat does not go on: {shown}")
        others = [other for other in words.values() if other != said and other in shown]
        need(not others, f"{who} was shown another's words")
        found = answered(at.history(who, "chat"), f"history of {who}").body.decode()
        need(said in found and not any(w in found for w in words.values() if w != said), "not its own history")
    row.through = "apart, and found by name"


@case("isolation.responses")
def test_responses(env, row):
    """One's own chain of responses goes on; a stranger's id starts anew."""
    at, first, second, bobs = lab(env), word(), word(), word()
    one = answered(at.respond("alice", first), "first")
    two = answered(at.respond("alice", second, previous_response_id=one.json()["id"]), "second")
    need(first in two.shown, f"the chain does not go on: {two.shown}")
    streamed = answered(at.respond("alice", word(), stream=True), "streamed").body.decode()
    made = streamed.split('"id":"resp_')[1].split('"')[0]
    three = answered(at.respond("alice", word(), previous_response_id=f"resp_{made}"), "after a stream")
    need(len(three.shown) == 2, f"a streamed response does not go on: {three.shown}")
    foreign = answered(at.respond("bob", bobs, previous_response_id=two.json()["id"]), "bob")
    need(foreign.shown == {bobs}, f"bob was shown {foreign.shown}")
    row.through = "own chains go on"


@case("isolation.agent-of-the-key")
def test_agent_of_the_key(env, row):
    """A caller with one agent does not leave it by a key, in header or path."""
    at, secret = lab(env), word()
    answered(at.chat(None, secret, key="agent:other:secret", agent="other", model="openclaw/other"), "set-up")
    row.bare = at.history(None, "agent:other:secret").brief()
    for who in ("pinned", "listed", "no-agent", "admin-agent"):
        row.refused(at.chat(who, word(), key="agent:other:secret"), 403, "other")
        row.refused(at.chat(who, word(), key="AGENT:Other:secret"), 403, "other")
        row.refused(at.history(who, "agent:other:secret"), 403, "other")
        named = at.chat(who, word(), model="openclaw/other")
        need(named.status == (200 if who in ("pinned", "listed") else 403), f"{who} by model: {named.brief()}")
    need("agent:other:openai" not in at.sessions(), "somebody ran on `other`")
    mine = word()
    answered(at.chat("pinned", mine, key="mine"), "pinned, a bare key")
    need(mine in answered(at.history("pinned", "mine"), "its history").body.decode(), "not its history")
    row.through = "403"


@case("isolation.the-name-agent")
def test_the_name_agent(env, row):
    """A token called `agent`, and keys that name agents, stay in their own space."""
    at, secret, said = lab(env), word(), word()
    answered(at.chat(None, secret, key="agent:other:x", agent="other", model="openclaw/other"), "set-up")
    shown = answered(at.chat("agent", said, key="other:x"), "agent").shown
    need(secret not in shown, "it entered another agent's session")
    shown = answered(at.chat("alice", said, key="agent:other:x"), "alice").shown
    need(secret not in shown, "a key that names an agent left the space")
    own = answered(at.history("alice", "agent:other:x"), "history").body.decode()
    need(said in own and '"agent:other:scopeshim.token:alice:x"' in own, own[:200])
    row.through = "own space, named agent"


@case("isolation.tools")
def test_tools(env, row):
    """Session tools reach the caller's own sessions alone, whatever the body names."""
    at, alices = lab(env), word()
    answered(at.chat("alice", alices, key="told"), "alice")
    key = "agent:main:scopeshim.token:alice:told"
    bare = at.tool(None, "sessions_history", {"sessionKey": key}, agentId="main")
    row.bare = "read" if alices in bare.body.decode() else bare.brief()
    for who in ("bob", "pinned"):
        row.refused(at.tool(who, "sessions_list"), 403, "sessions_list")
        row.refused(at.tool(who, "sessions_history", {"sessionKey": key}), 403)
        row.refused(at.tool(who, "session_status", {"sessionKey": key, "model": "mock/mock"}), 403)
        row.refused(at.tool(who, "session_status", {"session_key": key}), 403)
        row.refused(at.tool(who, "session_status", {}, sessionKey=key), 403)
    own = at.tool("alice", "sessions_history", {"sessionKey": "told"})
    same = at.tool(None, "sessions_history", {"sessionKey": key}, sessionKey=key)
    if same.status == 500:
        # 2026.6.11 in mode trusted-proxy: the tool cannot reach its own gateway, whoever calls it.
        assert own.status == 500, own.brief()
    elif env.mode.name == "trusted-proxy" and "unauthorized" in same.body.decode():
        # 2026.8.2 in that mode: the same, said with a 200.
        assert own.status == 200 and "unauthorized" in own.body.decode(), own.brief()
    else:
        found = answered(own, "alice's own").body.decode()
        assert alices in found, f"alice does not find her own: {found[:300]}"
    row.refused(at.tool("pinned", "session_status", {}, agentId="other"), 403, "other")
    row.refused(at.tool("pinned", "session_status", {}, sessionKey="agent:other:main"), 403, "other")
    row.refused(at.tool("few-tools", "sessions_list"), 403, "sessions_list")
    answered(at.tool("few-tools", "session_status", {}, agentId="main"), "a listed tool")
    row.through = "own sessions alone"


@case("isolation.bodies")
def test_bodies(env, row):
    """What two readers could read differently is refused; whatever the head says, it is read as the gateway does."""
    at = lab(env)
    line = [("content-type", "text/plain"), ("content-encoding", "gzip")]
    head = '{"messages":[{"role":"user","content":"word-000000000000"}],'
    for body in (head + '"model":"openclaw/main","model":"openclaw/other"}',
                 head + r'"model":"openclaw/main","mod\u0065l":"openclaw/other"}',
                 head + '"model":"openclaw/other"} {}', "[]", "\x1f\x8b"):
        answer = at.ask("no-agent", "POST", "/v1/chat/completions", body.encode("latin-1"), line)
        row.refused(answer, 400)
    hidden = head + '"mod\\u0065l":"openclaw/other"}'
    row.refused(at.ask("no-agent", "POST", "/v1/chat/completions", hidden.encode(), line), 403, "other")
    row.refused(at.ask("no-agent", "POST", "/v1/chat/completions", ("\ufeff" + hidden).encode()), 403, "other")
    large = word()
    text = ("filler " * 30_000) + large
    shown = answered(at.chat("alice", text, key="large"), "a body of 200 KiB").shown
    need(large in shown, "the end of a large body did not arrive")
    chunks = json.dumps({"model": "openclaw/main", "messages": [{"role": "user", "content": text}]}).encode()
    data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (chunks[i:i + 9000] for i in range(0, len(chunks), 9000)))
    request = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['alice']}\r\n"
               "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").encode()
    for tail, status in ((b" \n", 200), (b"{}", 400)):
        sent = request + data + b"%x\r\n%s\r\n0\r\n\r\n" % (len(tail), tail)
        answer = clients.raw(at.url, sent, seconds=120)
        need(answer.status == status, f"chunked, with {tail!r} behind it: {answer.brief()}")
    row.through = "as the gateway reads them, or refused"


@case("isolation.sockets")
def test_sockets(env, row):
    """Whoever has a rule that a socket cannot be held to gets none, whatever conditions its grant has."""
    at = lab(env)
    for who in [name for name, rule in RULES.items() if rule]:
        try:
            with Socket(at.url.replace("http://", "ws://")) as sock:
                sock.connect(auth={"token": TOKENS[who]}, scopes=READ_WRITE)
            said = "connected"
        except (Closed, Refused) as why:
            said = str(why)
        need("cannot be held to" in said, f"{who}: {said}")
    with contextlib.closing(Socket(at.url.replace("http://", "ws://"))) as sock:
        sock.connect(auth={"token": TOKENS["free"]}, scopes=READ_WRITE)
    row.through = "refused"


@case("isolation.pinned-model")
def test_pinned_model(env, row):
    """The gateway's modes without a secret take a model from administrators alone; `check` warns of it."""
    at = lab(env)
    answer = at.chat("one-model", word())
    if env.mode.secret:
        answered(answer, "a pinned model")
    else:
        row.refused(answer, 403, "operator.admin")
        code = answer.json()["error"].get("code")
        need(code == "model_not_taken", f"not scopeshim's answer, with advice: {answer.brief()}")
    row.through = answer.brief()


@case("isolation.unbound")
def test_unbound(env, row):
    """Whoever has no rule is served as before, but for other people's spaces."""
    at, said = lab(env), word()
    answered(at.chat("free", said, key="agent:other:free", agent="other", model="openclaw/other"), "free")
    need(said in answered(at.history("free", "agent:other:free"), "history").body.decode(), "no history")
    bare, through = (at.tool(who, "sessions_list", agentId="main").status for who in (None, "free"))
    need(bare == through, f"sessions_list: {through}, and {bare} without the proxy")
    answered(at.chat("alice", said, key="hers"), "alice")
    row.refused(at.history("free", "agent:main:scopeshim.token:alice:hers"), 403, "somebody else's")
    row.refused(at.chat("free", said, key="agent:main:scopeshim.token:alice:hers"), 403, "somebody else's")
    row.through = "as before"
