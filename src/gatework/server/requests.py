"""What a request brings, read within bounds: head, body, JSON."""

from __future__ import annotations

import asyncio
import gc
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import orjson

from gatework.server.limits import Limits
from gatework.server.refusal import Refusal

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
LONG = 1 << 16
"""Bytes of JSON above which it may hold very many lists."""
LINGER = 5.0
"""Seconds that a client may go on sending what is too large, so that it sees the answer."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
WINDOW = {"gzip": 31, "deflate": 15}
"""zlib's window bits of what a body may be packed with."""


class Head(NamedTuple):
    """The headers that matter here, as they came."""

    length: bytes = b""
    encoding: bytes = b""
    accept_encoding: bytes = b""
    authorization: bytes = b""
    origin: bytes = b""
    host: bytes = b""
    json_length: bytes = b""
    """`Inference-Header-Content-Length`, see `v2`."""


_FIELDS = {
    b"content-length": 0,
    b"content-encoding": 1,
    b"accept-encoding": 2,
    b"authorization": 3,
    b"origin": 4,
    b"host": 5,
    b"inference-header-content-length": 6,
}


def head_of(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """The headers of a request or of a WebSocket, whose names are in lower case."""
    found = [b""] * len(_FIELDS)
    for name, value in headers:
        place = _FIELDS.get(name)
        if place is not None:
            found[place] = value
    return Head(*found)


class Bodies:
    """Bodies that are in memory, all of them together within bounds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self._held

    async def read(self, receive: Receive, head: Head) -> bytes:
        """A body, unpacked. Give its length back to `free` when the request is answered.

        Raises Refusal: 413, 415, 408 as it is too large, oddly packed or too slow; 400: it cannot be unpacked, or the
            client went away; 503: too many bodies at once.
        """
        limits = self._limits
        if head.length and (len(head.length) > 18 or int(head.length) > limits.body_bytes):
            raise self._too_large(unread=True)
        message = await receive()
        if message["type"] == "http.request" and not message["more_body"]:
            body: bytes = message["body"]
            if len(body) > limits.body_bytes:
                raise self._too_large()
        else:
            body = await self._rest(receive, message)
        if head.encoding:
            body = unpacked(body, head.encoding, limits.body_bytes)
        self.hold(len(body))
        return body

    def fits(self, size: int) -> bool:
        """Whether so many bytes more may be in memory."""
        return self._held + size <= self._limits.bodies_bytes

    def hold(self, size: int) -> None:
        """Count so many bytes more. Raises Refusal 503: there are too many."""
        if not self.fits(size):
            raise Refusal(503, "Too many large requests at once. Try again.")
        self._held += size

    def free(self, size: int) -> None:
        """A body of this many bytes is done with."""
        self._held -= size

    async def _rest(self, receive: Receive, message: Any) -> bytes:
        """The body that begins with `message`, which is not all of it."""
        parts, size, held = [], 0, 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    if message["type"] != "http.request":
                        raise Refusal(400, "The client left before its request had come.")
                    part = message["body"]
                    parts.append(part)
                    size += len(part)
                    if size > self._limits.body_bytes:
                        raise self._too_large(unread=bool(message["more_body"]))
                    self.hold(len(part))
                    held += len(part)
                    if not message["more_body"]:
                        return b"".join(parts)
                    message = await receive()
        except TimeoutError:
            raise Refusal(408, f"The body did not come within {self._limits.body_seconds:g} seconds.") from None
        finally:
            self._held -= held

    def _too_large(self, *, unread: bool = False) -> Refusal:
        most = self._limits.body_bytes
        return Refusal(413, f"The body is larger than {most:,} bytes. Send less at once.", unread=unread)


def unpacked(body: bytes, encoding: bytes, most: int) -> bytes:
    """A body that came packed. Raises Refusal: 415 for another packing, 400 for damage, 413 for more than `most`."""
    name = encoding.strip().lower().decode("latin-1")
    if name in ("", "identity"):
        return body
    if name not in WINDOW:
        raise Refusal(415, f"Content-Encoding {name[:40]!r} is unknown. Known: deflate, gzip, identity.")
    unpacker = zlib.decompressobj(WINDOW[name])
    try:
        plain = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise Refusal(400, f"The body is no {name}: {error}.") from None
    if len(plain) > most:
        raise Refusal(413, f"The body unpacks to more than {most:,} bytes. Send less at once.")
    if not unpacker.eof or unpacker.unused_data:
        raise Refusal(400, f"The body is no {name}: it is cut, or something follows it.")
    return plain


def parsed(body: bytes | memoryview) -> dict[str, Any]:
    """A JSON object. Raises Refusal 400: it is none, or not UTF-8; NaN and numbers without end are none."""
    try:
        with _uncollected(len(body)):
            value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"The body is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Refusal(400, f"The body must be a JSON object, got {type(value).__name__}.")
    return value


@contextmanager
def _uncollected(size: int) -> Iterator[None]:
    """No garbage collection while a long body is parsed: of millions of lists it takes four times the parser's time."""
    stopped = size > LONG and gc.isenabled()
    if stopped:
        gc.disable()
    try:
        yield
    finally:
        if stopped:
            gc.enable()


def dumped(value: Any) -> bytes:
    """JSON; numbers that are none are null."""
    found: bytes = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS, default=_plain)
    return found


async def send_json(send: Send, value: Any, status: int = 200, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer with JSON."""
    await send_bytes(send, dumped(value), [(b"content-type", JSON), *more], status)


async def send_bytes(
    send: Send, body: bytes, headers: Sequence[tuple[bytes, bytes]], status: int = 200, *, open_end: bool = False
) -> None:
    """Answer with bytes. `open_end`: the whole answer, but whoever asked for it says when it ends."""
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": open_end})


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Answer with an error, as every door here has them: `{"error": sentence}`. Where the request goes on, its rest is
    left to `drop_rest`."""
    more = [] if refusal.retry_after is None else [(b"retry-after", b"%d" % refusal.retry_after)]
    if refusal.status == 401:
        more = [(b"www-authenticate", b"Bearer")]
    if refusal.status == 426:
        more = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    if refusal.allow:
        more = [*more, (b"allow", refusal.allow.encode("latin-1"))]
    if refusal.status in (408, 413):
        more = [*more, (b"connection", b"close")]  # what is left of the body is not read
    body = dumped({"error": refusal.message})
    await send_bytes(send, body, [(b"content-type", JSON), *more], refusal.status, open_end=refusal.unread)


async def drop_rest(receive: Receive, send: Send) -> None:
    """Throw away for a while what comes after a refusal, then end the answer. A connection that is closed while its
    client sends is reset, and most clients read nothing before they have sent all."""
    with suppress(TimeoutError, asyncio.CancelledError):  # cancelled when the service stops
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b""})


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} in an answer")
