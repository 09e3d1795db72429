"""An HTTP connection as uvicorn reads it with httptools, with a short way for the question that is asked most, and with
bounds that uvicorn does not have: how many connections there are, how large a request's head is, how long it takes to
come.

The short way: a request for `predict` or for the protocol's `infer` that came whole and alone, with nothing special
about it, is answered where it is read, without a task, a scope and messages, in half the time. Whatever does not fit,
or fails, takes uvicorn's way from its start, so that there is one place which words refusals.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from gatework.server.registry import Served
    from gatework.server.requests import Headers
    from gatework.server.service import Service

RESTART = 1012
"""Code of closing a WebSocket: the service ends or begins again."""
_SocketBase: Any = WebSocketsSansIOProtocol
_TOO_LARGE = b'{"error":"The head of the request is too large."}'
_NO_HTTP = b'{"error":"This is no HTTP request."}'
_CUT = b'{"error":"The client left before its request had come."}'
_TOO_MANY = b'{"error":"Too many connections. Try again."}'
_ANSWER = b"HTTP/1.1 200 OK\r\n%s%scontent-length: %d\r\n\r\n%s"


class Socket(_SocketBase):  # type: ignore[misc]
    """A WebSocket as uvicorn reads it, that leaves texts which are not UTF-8 to whoever hears them: uvicorn writes each
    into the log with a traceback, and fails where the client has said that it closes. When the service ends, what was
    asked is answered before it closes."""

    curr_msg_data_type: str
    _answering = _leaving = False

    def send_receive_event_to_app(self) -> None:
        self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()

    async def receive(self) -> Any:
        self._answering = False
        if self._leaving:
            super().shutdown()
            return {"type": "websocket.disconnect", "code": RESTART}
        message = await super().receive()
        self._answering = message["type"] == "websocket.receive"
        return message

    def shutdown(self) -> None:
        if self._answering:
            self._leaving = True
        else:
            super().shutdown()


def protocol(service: Service) -> Any:
    """A protocol class for a service, with its limits."""
    base: Any = HttpToolsProtocol
    limits = service.limits
    own: list[tuple[bytes, bytes]] | None = None  # uvicorn's headers for every answer
    lines = b""  # the same as sent

    class Connection(base):  # type: ignore[misc]
        """One connection."""

        cycle: Any
        timeout_keep_alive_task: Any
        parser: Any
        headers: list[tuple[bytes, bytes]]
        _late: Any = None
        """The timer while a request's head is awaited or under way."""
        _head = 0
        """Bytes of a head that is not whole yet."""
        _whole = False
        """Whether the data at hand end a head."""
        _quick: tuple[Served, bool] | None = None
        """The model that is asked by the request under way, and whether by the protocol, while that may take the short
        way."""
        _parts: list[bytes]
        """The body of that request."""
        _turn = False
        """Whether the data at hand may take it still: requests that come piled up take turns with other connections."""
        _answered = 0.0
        """When a request last took it."""
        _ends = False
        """Whether the client sends no more; what it asked is answered still."""
        _handed_over = False
        """Whether this is a WebSocket now, which another protocol reads."""
        _declined = False
        """Whether the request under way wishes for a protocol that is not spoken here, and is read again without."""
        _data = b""
        """What is being read."""
        _again = b""
        """What is to be read in its place."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._close(b"503 Service Unavailable", _TOO_MANY, b"retry-after: 1\r\n")
            else:
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)
            self._unset_keepalive_if_required()

        def eof_received(self) -> bool | None:
            busy = not self._free()
            if (busy and self.cycle.more_body) or (self._late is not None and self._head):
                self._close(b"400 Bad Request", _CUT)
            # TLS knows no half of a connection.
            self._ends = busy and not self.transport.is_closing() and not self.transport.get_extra_info("sslcontext")
            return self._ends or None

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._ends and self._free():
                self.transport.close()

        def data_received(self, data: bytes) -> None:
            starts, self._whole, self._turn = self._late is None and self._free(), False, True
            if self._head + len(data) > limits.header_bytes and self._floods(data, starts):
                return
            # The timer of an idle connection runs on: to stop and start one a request costs as much as reading it does.
            idle, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
            self._data = data
            while self._data:
                self._again = b""
                super().data_received(self._data)
                self._data = self._again
            if self._quick is not None:  # more of its body is to come
                self._take_the_long_way()
            if idle is not None:
                if self.timeout_keep_alive_task is None and not self._handed_over:
                    self.timeout_keep_alive_task = idle
                else:
                    idle.cancel()
            elif self._answered and self.timeout_keep_alive_task is None and self._free():
                self._idle(self.timeout_keep_alive)
            if starts and not self._whole:
                self._wait()
            if self._late is not None:
                self._head += len(data)

        def on_message_begin(self) -> None:
            self.url, self.headers, self.expect_100_continue = b"", [], False

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            self._whole = True
            parser = self.parser
            self._declined = parser.should_upgrade() and self._get_upgrade() not in (None, b"websocket")
            if self._declined:
                return
            asked = service.quick(self.url) if self._turn else None
            self._turn = False
            if (
                asked is None
                or parser.get_method() != b"POST"
                or parser.get_http_version() != "1.1"
                or not parser.should_keep_alive()
                or parser.should_upgrade()
                or self.expect_100_continue
                or self.flow.write_paused
                or not self._free()
            ):
                self._begin()
            else:
                self._quick, self._parts = asked, []

        def on_body(self, body: bytes) -> None:
            if self._quick is None:
                super().on_body(body)
            else:
                self._parts.append(body)

        def on_message_complete(self) -> None:
            if self._declined:
                return
            if self._quick is not None:
                found = service.answer_now(self._quick, self.headers, b"".join(self._parts))
                if found is not None:
                    self._quick = None
                    self._answer(*found)
                    return
                self._take_the_long_way()
            super().on_message_complete()

        def send_400_response(self, msg: str) -> None:
            if not self.transport.is_closing():
                self._close(b"400 Bad Request", _NO_HTTP)

        def _unsupported_upgrade_warning(self) -> None:
            """Read a request again as one that wishes for no other protocol, as clients of HTTP/2 do with each (Java's,
            curl's): the parser takes what follows the head for that protocol, and would lose the body."""
            error = sys.exception()
            if not self._declined or error is None:
                return
            connection = b", ".join(
                word
                for name, value in self.headers
                if name == b"connection"
                for word in map(bytes.strip, value.split(b","))
                if word.lower() in (b"close", b"keep-alive")
            )
            lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
            lines += [b"%s: %s" % one for one in self.headers if one[0] not in (b"connection", b"upgrade")]
            lines += [b"connection: " + connection] if connection else []
            self._again = b"\r\n".join([*lines, b"", self._data[error.args[0] :]])
            self.parser = HttpRequestParser(self)  # the old one reads no more where the connection is to be closed
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

        def handle_websocket_upgrade(self) -> None:
            super().handle_websocket_upgrade()
            self._handed_over = True

        def timeout_keep_alive_handler(self) -> None:
            self.timeout_keep_alive_task = None
            if self._late is not None or not self._free():
                return  # the answer of what is under way starts the timer again
            left = self._answered + self.timeout_keep_alive - self.loop.time()
            if left > 0:
                self._idle(left)
            else:
                super().timeout_keep_alive_handler()

        def _floods(self, data: bytes, starts: bool) -> bool:
            """Refuse a head that is too large, also one that comes at once."""
            if not starts and self._late is None:
                return False  # a body, or requests behind one that is being answered
            known = 0 if self._late is None else self._head
            end = data.find(b"\r\n\r\n", 0, max(0, limits.header_bytes - known))
            if end >= 0 or known + len(data) <= limits.header_bytes:
                return False
            if not self.transport.is_closing():
                self._close(b"431 Request Header Fields Too Large", _TOO_LARGE)
            return True

        def _free(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def _begin(self) -> None:
            """What uvicorn does at the beginning and at the end of a head, which is known by now."""
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expects
            self.headers += headers  # the list that is in the scope
            super().on_headers_complete()

        def _take_the_long_way(self) -> None:
            """Begin a request that is read up to here as uvicorn does."""
            self._quick = None
            self._begin()
            for part in self._parts:
                super().on_body(part)

        def _answer(self, body: bytes, headers: Headers) -> None:
            nonlocal own, lines
            if own is not self.server_state.default_headers:  # the date: a new list every second
                own = self.server_state.default_headers
                lines = b"".join(b"%s: %s\r\n" % pair for pair in own)
            own_lines = b"".join([b"%s: %s\r\n" % pair for pair in headers])
            self.transport.write(_ANSWER % (lines, own_lines, len(body), body))
            self._answered = self.loop.time()

        def _idle(self, seconds: float) -> None:
            self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

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
