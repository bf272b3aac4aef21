"""All cases, in the order they run; the ones that kill the gateway are late."""

from . import reports, scopes, tokens, jwt, edge, routes, sees, sdks, streams, isolation, websocket, down, logs, begin  # noqa: F401
