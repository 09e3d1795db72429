"""WebSockets: a conversation with one model, JSON both ways.

/v1/models/NAME/stream
    classifiers, translators   {"text": "...", "options": {...}}  ->  {"answer": {...}}, as one types; with a sequence
                               (classifiers that read forward alone) a piece of a text, answered for the text so far
    taggers                    {"text": "a piece of running text"}  ->  {"answers": [...]}, those that are due;
                               {"text", "end": true}  ->  the rest too, and "done"; "options" go with the first text
    language models            {"text": "...", "options": {...}}  ->  {"piece": "..."} as it is written, and then
                               {"answer": {...}}; all of it is remembered; {"reset": true} forgets it

With `?sequence=ID` what is remembered is the sequence of that id (`sequences`), which outlives the conversation and may
have begun before it; "reset" begins it again. A mistake is answered with {"error": sentence}, and one can go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gatework.server.asking import checked_options, checked_text, checked_texts
from gatework.server.connection import RESTART
from gatework.server.refusal import Refusal, refusal_of
from gatework.server.registry import Served, check_known
from gatework.server.requests import dumped, head_of, parsed
from gatework.server.sequences import Held, Place, check_keeps, place_of

if TYPE_CHECKING:
    from gatework.server.service import Service

NO_TEXT, POLICY, LATER = 1007, 1008, 1013
"""Codes of closing: a message that is not UTF-8, not allowed, and try again later."""


class Sockets:
    """WebSockets of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def stream(self, socket: WebSocket) -> None:
        """A conversation, from its beginning to its end."""
        service = self._service
        try:
            service.gate.check(head_of(socket.scope["headers"]), socket.scope["query_string"])
            served = service.registry.get(socket.path_params["name"])
            place = place_of({"sequence_id": socket.query_params.get("sequence", "")})
            talk = _talk_of(service, served, place.identity if place is not None else "")
            with service.asking.stream():
                await socket.accept()
                await self._talk(socket, served, talk)
        except Refusal as refusal:
            await _refuse(socket, refusal)
        except WebSocketDisconnect:
            return
        except asyncio.CancelledError:
            if not service.draining:
                raise
            await socket.close(RESTART, "The service has stopped.")

    async def nowhere(self, socket: WebSocket) -> None:
        """No path of a conversation."""
        await _refuse(socket, Refusal(404, f"no conversation is held at {socket.url.path[:200]}."))

    async def _talk(self, socket: WebSocket, served: Served, talk: Any) -> None:
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                raise WebSocketDisconnect
            start, status = time.perf_counter(), 200
            heard: bytes = message.get("bytes") or (message.get("text") or "").encode("utf-8", "replace")
            if not _utf8(heard):
                await socket.close(NO_TEXT, "A message is not UTF-8.")
                return
            try:
                data = parsed(heard)
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


async def _refuse(socket: WebSocket, refusal: Refusal) -> None:
    """Before a conversation has begun: with the status and the sentence, where the server can say them."""
    begun = socket.application_state != WebSocketState.CONNECTING
    if begun or "websocket.http.response" not in socket.scope.get("extensions", {}):
        await socket.close(LATER if refusal.status == 503 else POLICY, refusal.message[:100])
        return
    again = {"retry-after": str(refusal.retry_after)} if refusal.retry_after is not None else {}
    body = dumped({"error": refusal.message})
    await socket.send_denial_response(Response(body, refusal.status, again, media_type="application/json"))


def _utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Answers:
    """An answer to each text."""

    def __init__(self, service: Service, served: Served) -> None:
        self._asking, self._served = service.asking, served

    async def hear(self, data: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        check_known(data, ("text", "options"), "stream")
        options = checked_options(self._served, data.get("options"), self._asking.limits)
        texts = checked_texts([data.get("text")], self._asking.limits, "text")
        [answer] = await self._asking.predict(self._served, texts, options)
        yield {"answer": answer.to_dict()}


class _Kept:
    """What goes on from a state: the conversation's own, or that of a sequence."""

    def __init__(self, service: Service, served: Served, identity: str) -> None:
        self._asking, self._served = service.asking, served
        self._sequences, self._identity = service.sequences, identity
        self._own = Held(served)

    @asynccontextmanager
    async def _holding(self, *, start: bool = False, end: bool = False) -> AsyncIterator[Held]:
        if not self._identity:
            if start:
                self._own.state = None
            yield self._own
            if end:
                self._own.state = None
            return
        known = self._sequences.known(self._served, self._identity)
        place = Place(self._identity, start or not known, end)
        async with self._sequences.holding(self._served, place) as held:
            yield held


class _Running(_Kept):
    """Running text: tags of the sentences that are due, or the class of the text so far."""

    async def hear(self, data: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        check_known(data, ("text", "options", "end", "reset"), "stream")
        end = data.get("end") is True
        text = checked_text(data.get("text", ""), self._asking.limits)
        options = checked_options(self._served, data.get("options"), self._asking.limits)
        async with self._holding(start=data.get("reset") is True, end=end) as held:
            if options and held.state is not None:
                raise Refusal(409, "options come with the first text. End the text first.")
            if held.state is None:
                held.state = held.served.model.stream(**options)
            answers = await self._asking.call(partial(held.state.feed, text))
            answers += await self._asking.call(held.state.end) if end else []
        plain = [answer.to_dict() for answer in answers]
        told = {"answers": plain} if self._served.kind == "tag" else {"answer": plain[0]}
        yield told | ({"done": True} if end else {})


class _Writing(_Kept):
    """A language model that goes on from where it is."""

    async def hear(self, data: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        check_known(data, ("text", "options", "reset"), "stream")
        options = checked_options(self._served, data.get("options"), self._asking.limits)
        text = checked_text(data.get("text", ""), self._asking.limits)
        async with self._holding(start=data.get("reset") is True) as held:
            if "text" not in data:
                text, options = "", {"max_tokens": 0}
            begin = partial(held.served.model.stream, text, state=held.state, **options)
            stream = await self._asking.call(begin)
            async for piece in self._asking.pieces(lambda: stream):
                yield {"piece": piece}
            result = stream.result
            held.state = result.state
        yield {"answer": result.to_dict()}


def _talk_of(service: Service, served: Served, identity: str) -> Any:
    """Raises Refusal 422: a model that keeps nothing is asked within a sequence."""
    if identity:
        check_keeps(served)
    if served.kind == "lm":
        return _Writing(service, served, identity)
    if served.kind == "tag" or identity:
        return _Running(service, served, identity)
    return _Answers(service, served)
