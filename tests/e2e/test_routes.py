"""Which route a path is: pairing joins, incognito sessions, rules and how they are spelled."""

from tests.e2e.environment import case
from tests.support.clients import raw_get, request
from tests.support.outcomes import NotAvailable

FIRST_WITH_JOINS = (2026, 9, 0)
WRONG_CODE = "AAAAAAAAAAAAAAAAAAAAAA"
PLUGINS = """
[[route]]
prefix = "/plugins/"
needs = "operator.read"
[[route]]
prefix = "/plugins/admin/"
needs = "operator.admin"
"""


@case("path.join-for-administrators")
def test_join_for_administrators(env, row):
    for path in (f"/j/{WRONG_CODE}", f"/v1/models/j/{WRONG_CODE}", f"/assets/j/{WRONG_CODE}"):
        through = request("GET", env.through.url + path, env.through.reader)
        row.refused(through, 403, "operator.admin")
    row.through = through.brief()


@case("path.join-misses")
def test_join_misses(env, row):
    if env.key < FIRST_WITH_JOINS:
        raise NotAvailable("this release has no join codes")

    def miss(side):
        return request("GET", f"{side.url}/v1/models/j/{WRONG_CODE}", side.owner)

    with env.other_shim("") as side:
        answers = [miss(side) for _ in range(5)]
    row.through = ", ".join(str(answer.status) for answer in answers)
    assert [answer.status for answer in answers] == [404, 404, 404, 429, 429], row.through
    last = answers[-1]
    assert last.json()["error"]["code"] == "join_misses", f"not scopeshim's: {last.brief()}"
    assert int(last.header("retry-after")) > 0, "no Retry-After"
    # The gateway has counted three, and answers others still.
    bare = miss(env.bare)
    row.bare = bare.brief()
    assert bare.status == 404, f"the gateway has locked joins: {bare.brief()}"


@case("path.spelling")
def test_spelling(env, row):
    with env.other_shim(PLUGINS) as side:
        for path in ("/plugins/admin/x", "/plugins/Admin/x", "/plugins/%61dmin/x", "/plugins/%2561dmin/x",
                     "/plugins/admin%2fx", "/plugins/admin"):
            through = raw_get(side.url, path, side.reader)
            assert through.status == 403, f"{path}: expected 403, got {through.brief()}"
        row.through = through.brief()
        hidden = raw_get(side.url, "/plugins/x/%252e%252e/admin/x", side.owner)
        assert hidden.status == 400, f"expected 400, got {hidden.brief()}"


@case("path.encoded-names")
def test_encoded_names(env, row):
    """What clients encode of a model's or a session's name goes through as it came."""
    def act(side):
        return [raw_get(side.url, path, [*side.owner, ("x-openclaw-scopes", "operator.read")])
                for path in ("/v1/models/openclaw%2Fdefault", "/sessions/agent%3Amain%3Amain/history")]

    bare, through = row.both(env, act, lambda answers: ", ".join(answer.brief() for answer in answers))
    for one, other in zip(bare, through):
        assert one.status == other.status or one.status in (401, 403), f"bare {one.brief()}, through {other.brief()}"
        assert other.status not in (400, 401), f"through {other.brief()}"


@case("path.incognito")
def test_incognito(env, row):
    key = "agent:main:dashboard:incognito-1"
    for spelled in (key, key.replace(":", "%3A"), key.replace("incognito", "%49ncognito")):
        through = raw_get(env.through.url, f"/sessions/{spelled}/history", env.through.reader)
        row.refused(through, 403, "operator.admin")
    narrowed = ("x-openclaw-scopes", "operator.write")
    through = env.through.chat_gate(("x-openclaw-session-key", key), narrowed)
    row.refused(through, 403, "operator.admin")
    row.through = through.brief()
    passed = env.through.chat_gate(("x-openclaw-session-key", key))
    assert passed.status == 400, f"an administrator is refused: {passed.brief()}"
