"""The page's own server, on loopback: a few files out of the package, and the session's calls.

Who has the token in the address has the session. Every request must name this server as its host, and come from its own
page or from no page at all: a page of another site, whatever name it gives this machine, gets nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from collections.abc import AsyncIterator, Mapping

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._origins import turned_away
from ..errors import Cancelled, Error
from .parts import MODULES, part
from .session import Session

MOST_BYTES = 64 << 20
"""Of a body: a saved trace may be long."""

# All there is to be had. A name that is not here is not looked for anywhere.
ASSETS: Mapping[str, str] = {
    "": "text/html",
    "style.css": "text/css",
    "main.js": "text/javascript",
    **dict.fromkeys(MODULES, "text/javascript"),
}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """What nobody can guess."""
    return secrets.token_urlsafe(24)


class Guard:
    """Lets in who names the host, comes from the page, and has the token; anyone else is told nothing."""

    def __init__(self, app: ASGIApp, token: str, names: frozenset[str] | None) -> None:
        self.app, self.token, self.names = app, token, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *given]
            await send(message)

        refusal = turned_away(scope["headers"], self.names) or self._without_token(Request(scope))
        if refusal is None:
            await self.app(scope, receive, sent)
        else:
            await Response(refusal[1] + "\n", refusal[0], media_type="text/plain")(scope, receive, sent)

    def _without_token(self, request: Request) -> tuple[int, str] | None:
        first = request.url.path.lstrip("/").partition("/")[0]
        if not secrets.compare_digest(first.encode(), self.token.encode()):
            return 404, "there is nothing here; the whole address was printed where the playground was started"
        return None


def application(session: Session, token: str, names: frozenset[str] | None) -> Starlette:
    """What serves one session.

    Args:
        session: Whose calls.
        token: The first part of every path.
        names: What the server may be called, in the header Host; None: anything.
    """
    assets = {name: (part(name or "index.html"), kind) for name, kind in ASSETS.items()}

    async def get(request: Request) -> Response:
        content, kind = assets[request.url.path.rpartition("/")[2]]
        return Response(content, media_type=kind)

    async def post(request: Request) -> Response:
        return await _answer(session, request)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(session.close)

    routes = [Route(f"/{token}/{name}", get, methods=["GET"]) for name in ASSETS]
    routes.append(Route(f"/{token}/call", post, methods=["POST"]))
    guard = Middleware(Guard, token=token, names=names)
    return Starlette(routes=routes, middleware=[guard], lifespan=lifespan)


async def _answer(session: Session, request: Request) -> Response:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _refused(415, "a call must be application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return _refused(413, f"a call may have {MOST_BYTES} bytes", Connection="close")
    try:
        call = json.loads(bytes(body))
        name, arguments = call["call"], call["arguments"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return _refused(400, 'a call must be {"call": name, "arguments": {...}}')
    try:
        return JSONResponse(await run_in_threadpool(session.call, name, arguments))
    except (Error, ValueError, TypeError) as problem:
        return _refused(409 if isinstance(problem, Cancelled) else 400, str(problem))
    except Exception:
        logging.getLogger(__name__).exception("a call failed")
        return _refused(500, "the playground failed; what happened stands where it was started")


def _refused(status: int, message: str, **headers: str) -> Response:
    return JSONResponse({"error": message}, status, headers)
