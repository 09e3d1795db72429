"""An HTTP connection as uvicorn reads it with httptools, and bounds it does not have: how many connections there are,
how large a request's head is, and how long it takes to come."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gatework.server.limits import Limits

_TOO_LARGE = b'{"error":"The head of the request is too large."}'
_TOO_MANY = b'{"error":"Too many connections. Try again."}'


def protocol(limits: Limits) -> Any:
    """A protocol class with these limits."""
    base: Any = HttpToolsProtocol

    class Connection(base):  # type: ignore[misc]
        """One connection."""

        _late: Any = None
        """The timer while a request's head is awaited or under way."""
        _head = 0
        """Bytes of a head that is not whole yet."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._close(b"503 Service Unavailable", _TOO_MANY, b"retry-after: 1\r\n")
            else:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._late is None and (self.cycle is None or self.cycle.response_complete):
                self._wait()  # a further request begins
            super().data_received(data)
            if self._late is not None:
                self._head += len(data)
                if self._head > limits.header_bytes and not self.transport.is_closing():
                    self._close(b"431 Request Header Fields Too Large", _TOO_LARGE)

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def _wait(self) -> None:
            self._head = 0
            self._late = self.loop.call_later(limits.header_seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _close(self, status: bytes, body: bytes, more: bytes = b"") -> None:
            self.transport.write(
                b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n%scontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (status, more, len(body), body)
            )
            self.transport.close()

    return Connection
