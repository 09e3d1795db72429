"""WebSockets: a conversation with one model, JSON both ways.

/v1/models/NAME/stream
    classifiers, translators   {"text": "...", "options": {...}}  ->  {"answer": {...}}, as one types
    taggers                    {"text": "a piece of running text"}  ->  {"answers": [...]}, those that are due;
                               {"end": true}  ->  the rest, and {"done": true}; "options" go with the first text
    language models            {"text": "...", "options": {...}}  ->  {"piece": "..."} as it is written, and then
                               {"answer": {...}}; all of it is remembered; {"reset": true} forgets it

A mistake is answered with {"error": sentence}, and the conversation goes on.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from gatework.server.asking import Asking, checked_options, checked_texts
from gatework.server.refusal import Refusal, refusal_of
from gatework.server.registry import Served, check_known
from gatework.server.requests import dumped, head_of, parsed

if TYPE_CHECKING:
    from gatework.server.service import Service

POLICY, LATER = 1008, 1013
"""Codes of closing: not allowed, and try again later."""


class Sockets:
    """WebSockets of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def stream(self, socket: WebSocket) -> None:
        """A conversation, from its beginning to its end."""
        service = self._service
        try:
            service.gate.check(head_of(socket.scope), socket.scope["query_string"])
            served = service.registry.get(socket.path_params["name"])
            with service.asking.stream():
                await socket.accept()
                await self._talk(socket, served)
        except Refusal as refusal:
            await socket.close(LATER if refusal.status == 503 else POLICY, refusal.message[:100])
        except WebSocketDisconnect:
            return

    async def _talk(self, socket: WebSocket, served: Served) -> None:
        talk = _TALKS[served.kind](self._service.asking, served)
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                raise WebSocketDisconnect
            start, status = time.perf_counter(), 200
            try:
                data = parsed(message.get("bytes") or (message.get("text") or "").encode("utf-8", "replace"))
                async for answer in talk.hear(data):
                    await socket.send_text(dumped(answer).decode())
            except WebSocketDisconnect:
                raise
            except Exception as error:
                refusal = refusal_of(error)
                status = refusal.status
                if status == 500:
                    self._service.log_failure("WebSocket", socket.url.path)
                await socket.send_text(dumped({"error": refusal.message}).decode())
            self._service.meters.answered(served.name, "socket", status, time.perf_counter() - start)


class _Answers:
    """An answer to each text."""

    def __init__(self, asking: Asking, served: Served) -> None:
        self._asking, self._served = asking, served

    async def hear(self, data: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        check_known(data, ("text", "options"), "stream")
        options = checked_options(self._served, data.get("options"), self._asking.limits)
        texts = checked_texts([data.get("text")], self._asking.limits, "text")
        [answer] = await self._asking.predict(self._served, texts, options)
        yield {"answer": answer.to_dict()}


class _Running:
    """Tags of running text."""

    def __init__(self, asking: Asking, served: Served) -> None:
        self._asking, self._served = asking, served
        self._stream: Any = None
        self._options: dict[str, Any] = {}

    async def hear(self, data: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        check_known(data, ("text", "options", "end"), "stream")
        if "options" in data:
            if self._stream is not None:
                raise Refusal(409, "options come before the first text. End the text first.")
            self._options = checked_options(self._served, data["options"], self._asking.limits)
        stream = self._stream or self._served.model.stream(**self._options)
        if "text" in data:
            [text] = checked_texts([data["text"]], self._asking.limits, "text")
            self._stream = stream
            answers = await self._asking.call(partial(stream.feed, text))
            if answers or not data.get("end"):
                yield {"answers": [answer.to_dict() for answer in answers]}
        if data.get("end"):
            answers = await self._asking.call(stream.end)
            self._stream = None
            yield {"answers": [answer.to_dict() for answer in answers], "done": True}


class _Writing:
    """A language model that goes on from where it is."""

    def __init__(self, asking: Asking, served: Served) -> None:
        self._asking, self._served = asking, served
        self._state: Any = None

    async def hear(self, data: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        check_known(data, ("text", "options", "reset"), "stream")
        if data.get("reset"):
            self._state = None
        if "text" not in data:
            yield {"reset": True}
            return
        options = checked_options(self._served, data.get("options"), self._asking.limits)
        [text] = checked_texts([data["text"]], self._asking.limits, "text")
        begin = partial(self._served.model.stream, text, state=self._state, **options)
        stream = await self._asking.call(begin)
        async for piece in self._asking.pieces(lambda: stream):
            yield {"piece": piece}
        result = stream.result
        self._state = result.state
        yield {"answer": result.to_dict()}


_TALKS: dict[str, Any] = {"classify": _Answers, "seq2seq": _Answers, "tag": _Running, "lm": _Writing}
