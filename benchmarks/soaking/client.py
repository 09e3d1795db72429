"""HTTP/1.1 on asyncio's streams, so plainly that a request can be broken off anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

IDLE = 20.0
"""Seconds after which a kept connection is not used again: the service closes them after 75."""


class Reply(NamedTuple):
    """An answer, all of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def head(method: str, path: str, length: int | None, headers: Mapping[str, str] | None = None) -> bytes:
    """The head of a request; `length` None leaves the body's length out."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


class Connection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.used = time.monotonic()
        self.ends = False
        """Whether the service said that it closes it."""

    @classmethod
    async def open(cls, port: int) -> Connection:
        """A connection of its own."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """The answer to a request. Raises: OSError, EOFError: there is none."""
        self.writer.write(head(method, path, len(body), headers) + body)
        return await self.reply()

    async def reply(self) -> Reply:
        """The next answer."""
        status, headers = await self.begin()
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, b"".join([part async for part in self.chunks()]))
        return Reply(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def begin(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.used = time.monotonic()
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.ends = headers.get("connection") == "close"
        return int(lines[0].split()[1]), headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """The parts of a body that comes in parts."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readuntil(b"\r\n")

    def kill(self) -> None:
        """End it at once, so that the other side is told of a reset."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """End it in peace, unless something is left that the other side does not take."""
        if self.writer.transport.get_write_buffer_size():
            self.kill()
        else:
            self.writer.close()


class Pool:
    """Connections that are kept between requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []

    @contextlib.asynccontextmanager
    async def connection(self, *, fresh: bool = False) -> AsyncIterator[Connection]:
        """One for some requests; it is kept unless they fail."""
        one = None
        while self._free and not fresh and one is None:
            one = self._free.pop()
            if time.monotonic() - one.used > IDLE:
                one.close()
                one = None
        one = one or await Connection.open(self._port)
        try:
            yield one
        except BaseException:
            one.kill()
            raise
        if fresh or one.ends:
            one.close()
        else:
            self._free.append(one)

    def close(self) -> None:
        """Close those that are kept."""
        for one in self._free:
            one.close()
        self._free.clear()
