"""The server as an ASGI application."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .. import __version__
from .._origins import turned_away
from ..errors import TokenizerError
from ..model import Model
from ..policy import Policy
from .answering import Answering
from .asked import Asked, Reader
from .fields import Fields, parsed
from .limits import Limits
from .meters import Meters
from .pieces import Mailbox, Piece
from .refusal import Refusal
from .scheduler import Scheduler
from .written import ChatWriter, CompletionWriter, Writer


def application(
    model: Model,
    name: str | None = None,
    limits: Limits | None = None,
    policy: Policy | None = None,
    key: str | None = None,
    hosts: frozenset[str] | None = None,
) -> Starlette:
    """A server of one model, for uvicorn or any other ASGI server of one process. It denoises while its lifespan lasts,
    and at that's end waits for the answers that run.

    Args:
        model: With a tokenizer. It stays open, and yours to close.
        name: What clients call it; None: the name of its folder.
        limits: None: the defaults.
        policy: Of answers whose requests name none; None: the model's own.
        key: Which clients must send as "Authorization: Bearer KEY"; None: none.
        hosts: Names that clients may have for this machine (the header Host), without ports. Pages of other origins
            are turned away then, too, which keeps the web from a server that only this machine is meant to reach.
            None: any name, and any page.

    Raises:
        TokenizerError: The model has no tokenizer.
    """
    if model.tokenizer is None:
        raise TokenizerError(f"{model.name} has no tokenizer.json: there is no text to serve")
    limits, name = limits or Limits(), name or model.name
    meters = Meters()
    scheduler = Scheduler(model, limits, meters)
    reader = Reader(model, name, limits, policy)
    started = int(time.time())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        scheduler.start()
        try:
            yield
        finally:
            await asyncio.get_running_loop().run_in_executor(None, scheduler.close)

    async def health(request: Request) -> Response:
        if not scheduler.is_well:
            raise Refusal("the thread that denoises has ended", 503)
        return _json({"status": "ok", "model": name})

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(meters.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    described = {"id": name, "object": "model", "created": started, "owned_by": "llada"}

    async def models(request: Request) -> Response:
        return _json({"object": "list", "data": [described]})

    async def one_model(request: Request) -> Response:
        asked = request.path_params["name"]
        if asked != name:
            raise Refusal(f"there is no model {asked!r} here, but {name!r}", 404, "model", "model_not_found")
        return _json(described)

    def generating(read: Callable[[Fields], Asked], kind: type[Writer]) -> Generating:
        return Generating(scheduler, limits, meters, read, kind, name)

    async def refused(request: Request, problem: Exception) -> Response:
        if isinstance(problem, HTTPException):
            problem = Refusal(problem.detail, problem.status_code)
        elif not isinstance(problem, Refusal):
            problem = Refusal("the server has failed", 500)
        meters.requests.labels(_path(request.scope), problem.status).inc()
        return _json(problem.body, problem.status, problem.headers)

    routes = [
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", one_model),
        Route("/v1/chat/completions", generating(reader.chat, ChatWriter), methods=["POST"]),
        Route("/v1/completions", generating(reader.completion, CompletionWriter), methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={Refusal: refused, HTTPException: refused, Exception: refused},
    )
    app.add_middleware(Door, key=key, hosts=hosts)
    return app


class Door:
    """Lets in who has the key, and asks for a host of ours."""

    def __init__(self, app: Any, key: str | None, hosts: frozenset[str] | None) -> None:
        self._app, self._hosts = app, hosts
        self._expected = None if key is None else f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await _json(problem.body, problem.status)(scope, receive, send)

    def _problem(self, scope: Scope) -> Refusal | None:
        refusal = None if self._hosts is None else turned_away(scope["headers"], self._hosts)
        if refusal is not None:
            return Refusal(refusal[1], refusal[0])
        given: bytes = dict(scope["headers"]).get(b"authorization", b"")
        open_to_all = scope["path"] in ("/health", "/metrics")
        if self._expected is not None and not open_to_all and not hmac.compare_digest(given, self._expected):
            return Refusal("there is no such key", 401, code="invalid_api_key")
        return None


class Generating:
    """An endpoint that answers: reads the request, has it denoised, and sends what comes."""

    def __init__(
        self,
        scheduler: Scheduler,
        limits: Limits,
        meters: Meters,
        read: Callable[[Fields], Asked],
        writer: type[Writer],
        name: str,
    ) -> None:
        self._scheduler, self._limits, self._meters = scheduler, limits, meters
        self._read, self._writer, self._name = read, writer, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        meters, began = self._meters, time.monotonic()
        if meters.count >= self._limits.requests:
            said = "the server has as many requests as it takes"
            raise Refusal(said, 429, code="overloaded", retry_after=self._scheduler.retry_after())
        with meters.counted():
            try:
                body = await asyncio.wait_for(self._body(request), self._limits.body_seconds)
            except asyncio.TimeoutError:
                raise Refusal(f"the request has not come within {self._limits.body_seconds:g} seconds", 408) from None
            except ClientDisconnect:
                meters.gone.inc()
                return
            loop = asyncio.get_running_loop()
            asked = await loop.run_in_executor(None, lambda: self._read(parsed(body)))
            meters.prompt.inc(sum(map(len, asked.prompts)))
            mailbox = Mailbox()
            client = f"{request.client.host if request.client else ''} {request.headers.get('authorization', '')} "
            answers = [
                Answering(index, order, mailbox, client + asked.user, began + self._limits.seconds)
                for index, order in enumerate(asked.orders)
            ]
            first = answers[:: asked.n]
            for place, answer in enumerate(first):
                answer.followers = answers[place * asked.n + 1 : (place + 1) * asked.n]
            try:
                self._scheduler.submit(first)
                sending = self._send(scope, receive, send, asked, mailbox, began)
                # A reader who is too slow is not waited for much longer than an answer may take.
                await self._while_there(receive, sending, began + self._limits.seconds + 5 - time.monotonic())
            finally:
                self._scheduler.drop(answers)

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal("the body must be of the type application/json", 415)
        most = self._limits.body_bytes
        body, size = bytearray(), 0
        async for part in request.stream():
            size += len(part)
            if size <= most:
                body += part
            elif size > 16 * most:
                break  # most clients read an answer only after they have sent all
        if size > most:
            raise Refusal(f"the body is larger than {most} bytes", 413)
        return bytes(body)

    async def _while_there(self, receive: Receive, work: Awaitable[None], seconds: float) -> None:
        """Does the work, unless the client goes away, or takes too long to read."""

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        working, going = asyncio.ensure_future(work), asyncio.ensure_future(gone())
        try:
            done, _ = await asyncio.wait((working, going), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if working in done:
                working.result()
            else:
                self._meters.gone.inc()
        finally:
            for task in (working, going):
                task.cancel()
            await asyncio.gather(working, going, return_exceptions=True)

    async def _send(
        self, scope: Scope, receive: Receive, send: Send, asked: Asked, mailbox: Mailbox, began: float
    ) -> None:
        writer = self._writer(self._name, f"llada-{__version__}", asked)
        mail = self._mail(mailbox, len(asked.orders), began)
        if not asked.stream:
            pieces: dict[int, Piece] = {}
            async for index, piece in mail:
                if index in pieces:
                    pieces[index].join(piece)
                else:
                    pieces[index] = piece
            response = _json(writer.whole(pieces))
            await response(scope, receive, send)
        else:
            await self._send_stream(send, asked, writer, mail)
        self._meters.requests.labels(_path(scope), 200).inc()
        self._meters.whole.observe(time.monotonic() - began)

    async def _send_stream(
        self, send: Send, asked: Asked, writer: Writer, mail: AsyncIterator[tuple[int, Piece]]
    ) -> None:
        begun = False

        async def message(data: str, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": more})

        try:
            async for index, piece in mail:
                if not begun:  # what is refused at once is so with a status
                    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    begun = True
                for chunk in writer.chunks(index, piece):
                    await message(_text(chunk))
            if asked.usage:
                await message(_text(writer.usage_chunk()))
        except Refusal as problem:
            if not begun:
                raise
            await message(_text(problem.body))
        await message("[DONE]", False)

    async def _mail(self, mailbox: Mailbox, count: int, began: float) -> AsyncIterator[tuple[int, Piece]]:
        """Pieces, until all answers have ended."""
        meters, first = self._meters, True
        while count:
            for index, piece in (await mailbox.take()).items():
                if first and piece.text:
                    first = False
                    meters.first.observe(time.monotonic() - began)
                if piece.end is not None:
                    count -= 1
                    meters.tokens.inc(piece.end.tokens)
                    meters.cached.inc(piece.end.cached)
                    meters.forwards.inc(piece.end.forwards)
                    meters.edits.inc(piece.end.edits)
                yield index, piece


_NOT_PLAIN = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


def _path(scope: Scope) -> str:
    """For a counter: what nobody knows counts together."""
    return scope["path"] if scope["path"] in ("/v1/chat/completions", "/v1/completions") else "other"


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Halves of surrogate pairs, of a text that a client sent, are no UTF-8, and some clients end lines at these.
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_text(value), status, headers, "application/json")
