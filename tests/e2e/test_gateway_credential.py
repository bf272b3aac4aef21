"""The gateway's secret was changed, and scopeshim still has the old one: whose fault the clients are told it is."""

import secrets

from tests.e2e.environment import case
from tests.e2e.sockets import attempt, session
from tests.support import procs
from tests.support.outcomes import NotAvailable
from tests.support.shim import TOKENS, bearer

CODE = "gateway_credential_refused"


def _lists(side):
    def act():
        with session(side, auth={"token": TOKENS["reader"]}, scopes=["operator.read"]) as sock:
            ok, said = sock.call("sessions.list")
            return "ok" if ok else str(said)
    return attempt(act)


@case("gateway.secret-changed")
def test_the_gateway_has_another_secret(env, row):
    if not env.mode.secret:
        raise NotAvailable("in this mode the gateway has no secret")
    who = bearer("reader")
    with env.other_shim("") as side:
        assert side.models(who=who).status == 200 or env.key < (2026, 3, 24)
        file = side.folder / "gateway.secret"
        file.write_text(f"old-{secrets.token_hex(16)}")
        refused = procs.until(lambda: next((a for a in [side.chat_gate(who=bearer("open-webui"))] if a.status == 502), None), 20,
                              "the gateway refuses the old secret")
        error = refused.json()["error"]
        assert error["code"] == CODE and "not yours" in error["message"], f"a good client is told {error}"
        said = _lists(side)
        assert "not yours" in said, f"a WebSocket: {said}"
        unknown = side.models(who=[("authorization", "Bearer nobody-has-this-token-0123456789")])
        assert unknown.status == 401 and "unknown" in unknown.message(), f"a bad client: {unknown.brief()}"
        file.write_text(env.mode.secret)
        # Without a command and without a restart.
        procs.until(lambda: side.chat_gate(who=bearer("open-webui")).status == 400, 20, "the corrected secret counts")
        said = _lists(side)
        assert said == "ok", f"a WebSocket afterwards: {said}"
    row.through = f"502 {CODE}; the corrected file counts at once"
