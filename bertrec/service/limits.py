"""What a request must get past before anything is computed: host, key, how many at once, how large, how long."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertrec.core.shown import visible
from bertrec.service.errors import BUSY, FAULT, FAULT_TEXT, FORBIDDEN, NO_KEY, SLOW, TOO_LARGE, Refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from bertrec.service.metrics import Metrics

KEY = "BERTREC_API_KEY"
"""The environment variable that holds the key."""
PAGE = "/page/"
OPEN = ("/", "/health")
"""What needs no key, beside the files of the page."""
TRUSTED = "bertrec.trusted"
"""In the scope of a request: whether it showed the key, or none is needed."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
_MIB = 1 << 20

access = logging.getLogger("bertrec.service.access")
logger = logging.getLogger("bertrec.service")


@dataclass(frozen=True)
class Limits:
    """How much is served.

    Attributes:
        seconds: to an answer; a write that has begun is not cut short.
        at_once: requests.
        body: bytes of one that reads.
        written: bytes of one that writes.
    """

    seconds: float = 10.0
    at_once: int = 256
    body: int = _MIB
    written: int = 16 * _MIB


class Gate:
    """Lets requests through to the app, answers those that may not pass, and counts and logs all of them.

    Args:
        app: answers.
        limits: see there.
        key: what writes, and any read, must show; None: reads are open, to this machine alone, and writes are off.
        metrics: count answers.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, key: str | None, metrics: Metrics) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self._key = None if key is None else key.encode()
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        began = time.perf_counter()
        try:
            await self._guarded(scope, receive, answer)
        finally:
            self._told(scope, answer, time.perf_counter() - began)

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            self._check(scope)
            free = scope["path"] in OPEN
            if not free and self._running >= self.limits.at_once:
                raise Refused(BUSY, f"{self._running} requests are being answered, which is all at once that may be: try again soon")
            self._running += not free
            self.metrics.in_flight.set(self._running)
            try:
                await self._timed(scope, receive, answer)
            finally:
                self._running -= not free
        except Refused as error:
            await answer.refuse(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("%s %s", scope["method"], visible(scope["path"]))
            await answer.refuse(Refused(FAULT, FAULT_TEXT))

    def _check(self, scope: Scope) -> None:
        headers = {name: value for name, value in scope["headers"] if name in (b"host", b"authorization", b"x-api-key")}
        trusted = scope[TRUSTED] = self._key is None or _shows(headers, self._key)
        if self._key is None:
            host = _host(headers.get(b"host", b"").decode("latin-1"))
            if host not in LOOPBACK:
                raise Refused(FORBIDDEN, f"the service answers to {LOOPBACK[1]} alone until {KEY} is set, not to {host!r:.60}")
        elif scope["path"] not in OPEN and not scope["path"].startswith(PAGE) and not trusted:
            raise Refused(NO_KEY, "the key is missing or wrong: send it as  Authorization: Bearer KEY")

    async def _timed(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        writes = scope["method"] == "PUT"
        try:
            async with asyncio.timeout(self.limits.seconds):
                body = await _read(receive, self.limits.written if writes else self.limits.body, scope)
                if not writes:
                    await self.app(scope, _replay(body, receive), answer)
        except TimeoutError as error:
            raise Refused(SLOW, f"no answer within {self.limits.seconds:g} seconds: ask for less, or try again later") from error
        if writes:
            await self.app(scope, _replay(body, receive), answer)

    def _told(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = scope.get("route")
        self.metrics.count(scope["method"] if route else "other", getattr(route, "path", "other"), answer.status, seconds)
        client = (scope["client"] or ("-",))[0]
        said = (client, visible(scope["method"]), visible(scope["path"]), answer.status, 1000 * seconds, answer.bytes)
        access.info("%s %s %s %d %.1fms %dB", *said)


class _Answer:
    """Sends an answer with the headers that all have, and knows what was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status, self.bytes = 499, 0  # as for a caller who has gone

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            there = {name.lower() for name, _ in message["headers"]}
            message = {**message, "headers": [*message["headers"], *((n, v) for n, v in _HEADERS.items() if n not in there)]}
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, error: Refused) -> None:
        """Send an error, unless an answer has begun."""
        if self.status != 499:
            return
        body = json.dumps({"error": visible(error)}, ensure_ascii=False).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"retry-after", b"1")] if error.status == BUSY else []
        headers += [(b"www-authenticate", b"Bearer")] if error.status == NO_KEY else []
        await self({"type": "http.response.start", "status": error.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _host(header: str) -> str:
    """Return the name in a ``Host`` header, without its port."""
    return header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0].lower()


def _shows(headers: dict[bytes, bytes], key: bytes) -> bool:
    """Say whether a request shows the key, in a time that says nothing of it."""
    kind, _, shown = headers.get(b"authorization", b"").partition(b" ")
    given = shown.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
    return hmac.compare_digest(given, key)


async def _read(receive: Receive, most: int, scope: Scope) -> bytes:
    """Return the body.

    Raises:
        Refused: it is larger than may be, 413.
    """
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    too_large = Refused(TOO_LARGE, f"the body is larger than {most} bytes: send less at once")
    if said.isdigit() and int(said) > most:
        raise too_large
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            raise too_large
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Any:
    """Return what hands the body over once more, and then what follows it."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return left.pop() if left else await receive()

    return again
