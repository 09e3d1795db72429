"""The friendly door: plain JSON in and out.

POST /v1/models/NAME/predict   {"text": "..."} or {"texts": [...]}, "options": {...}  ->  {"answer"} or {"answers"}
POST /v1/models/NAME/generate  {"prompt": "..."}, "options", "stream": true for server-sent events
POST /v1/models/NAME/score     {"texts": [...]}, or {"pairs": [[source, target], ...]}
POST /v1/models/NAME/fill      {"text": "a ___ film"}; rewrite: {"text": "a [[dull]] film"}
POST /v1/models/NAME/explain   {"text": "..."}, "label", "limit": what `gatework.explain.explain` gives
GET  /v1/models, /v1/models/NAME
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gatework.core.errors import UserError
from gatework.explain.explanation import MOST_TOKENS, explain
from gatework.server.asking import Asking, checked_options, checked_text, checked_texts
from gatework.server.limits import Limits
from gatework.server.refusal import Refusal, refusal_of
from gatework.server.registry import Registry, Served, check_known
from gatework.server.requests import JSON, Head, Headers, dumped, parsed

EVENTS = "text/event-stream"
_AS_JSON: Headers = [(b"content-type", JSON)]
ACTIONS = ("predict", "generate", "score", "fill", "rewrite", "explain")


class Asked(NamedTuple):
    """What a request for `predict` asks."""

    texts: list[Any]
    options: dict[str, Any]
    single: bool

    def answered(self, answers: Sequence[Any]) -> dict[str, Any]:
        """The answers as they are told."""
        plain = [answer.to_dict() for answer in answers]
        return {"answer": plain[0]} if self.single else {"answers": plain}


def asked(served: Served, data: Mapping[str, Any], limits: Limits) -> Asked:
    """Raises Refusal 422: something that `predict` does not take."""
    single = "text" in data
    check_known(data, ("text", "texts", "options"), "predict")
    if single == ("texts" in data):
        raise Refusal(422, 'predict: give "text", or "texts" for several.')
    texts = checked_texts([data["text"]] if single else data["texts"], limits)
    return Asked(texts, checked_options(served, data.get("options"), limits), single)


async def predict(asking: Asking, served: Served, data: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Answers, and for how many texts. Raises: Refusal, UserError."""
    texts, options, _ = one = asked(served, data, asking.limits)
    return one.answered(await asking.predict(served, texts, options) if texts else []), len(texts)


def predict_now(limits: Limits, served: Served, head: Head, body: bytes) -> tuple[bytes, Headers] | None:
    """The same from bytes to body and headers, counted, where it can be given without waiting for anything; else None.
    Raises: Refusal, UserError."""
    start = time.perf_counter()
    texts, options, _ = one = asked(served, parsed(body), limits)
    answers = served.batcher.now(texts, options) if texts else None
    if answers is None:
        return None
    found = dumped(one.answered(answers))
    served.tally.add(len(texts), time.perf_counter() - start, failed=False)
    return found, _AS_JSON


class V1:
    """The handlers that are asked less often than `predict`."""

    def __init__(self, registry: Registry, asking: Asking) -> None:
        self._registry, self._asking = registry, asking

    async def models(self, request: Request) -> Response:
        """All models."""
        return _json({"models": [served.to_dict() for served in self._registry.all()]})

    async def model(self, request: Request) -> Response:
        """One model, with what `gatework info` tells."""
        name = request.path_params["name"]
        _, slash, action = name.rpartition("/")
        if slash and action in ACTIONS:
            raise Refusal(405, f"{request.url.path[:200]} takes POST.", allow="POST")
        if slash and action == "stream":
            raise Refusal(426, f"{request.url.path[:200]} is a WebSocket. A proxy between must pass Upgrade on.")
        served = self._registry.get(name)
        info = {name: value for name, value in served.model.info().items() if name != "path"}
        return _json(served.to_dict() | {"info": info})

    async def generate(self, request: Request) -> Response:
        """What a language model writes after a prompt."""
        served, data = self._asked(request, "prompt", "options", "stream")
        if served.kind != "lm":
            raise Refusal(422, f"generate: {served.name} ({served.model.task}) writes no text of its own. Use predict.")
        prompt = checked_text(data.get("prompt", ""), self._asking.limits, "prompt")
        options = checked_options(served, data.get("options"), self._asking.limits)
        if type(data.get("stream", False)) is not bool:
            raise Refusal(422, "stream must be true or false.")
        if data.get("stream") or EVENTS in request.headers.get("accept", ""):
            return await self._streamed(served, prompt, options)
        if options.get("count", 1) == 1 and options.get("beams", 1) == 1:
            # Piece by piece, so that one who waits too long or leaves does not keep a thread.
            stream = await self._asking.call(partial(served.model.stream, prompt, **options))
            async for _ in self._asking.pieces(lambda: stream):
                pass
            return _json({"answer": stream.result.to_dict()})
        found = await self._asking.call(partial(served.model.generate, prompt, **options))
        several = isinstance(found, list)
        return _json({"answers": [one.to_dict() for one in found]} if several else {"answer": found.to_dict()})

    async def score(self, request: Request) -> Response:
        """How likely texts are; for models that read sources, pairs of source and target."""
        served, data = self._asked(request, "texts", "pairs")
        if served.kind == "seq2seq":
            pairs = _pairs(data.get("pairs"))
            checked_texts([source for source, _ in pairs], self._asking.limits, "pairs")
            checked_texts([target for _, target in pairs], self._asking.limits, "pairs")
            found = await self._asking.call(partial(served.model.score, pairs))
        else:
            texts = checked_texts(data.get("texts"), self._asking.limits)
            found = await self._asking.call(partial(served.model.score, texts))
        return _json({"answers": [one.to_dict() for one in found]})

    async def fill(self, request: Request) -> Response:
        """What may stand in the gaps of a text."""
        served, data = self._asked(request, "text", "options")
        text = checked_text(data.get("text"), self._asking.limits)
        options = checked_options(served, data.get("options"), self._asking.limits)
        options.pop("max_tokens", None)
        found = await self._asking.call(partial(served.model.fill, text, **options))
        return _json({"answers": [one.to_dict() for one in found]})

    async def rewrite(self, request: Request) -> Response:
        """Alternatives to the marked part of a text."""
        served, data = self._asked(request, "text", "options")
        text = checked_text(data.get("text"), self._asking.limits)
        options = checked_options(served, data.get("options"), self._asking.limits)
        options.pop("max_tokens", None)
        found = await self._asking.call(partial(served.model.rewrite, text, **options))
        return _json({"answer": found.to_dict()})

    async def explain(self, request: Request) -> Response:
        """Why a model answers a text as it does."""
        served, data = self._asked(request, "text", "label", "limit")
        text = checked_text(data.get("text"), self._asking.limits)
        label, limit = data.get("label"), data.get("limit", MOST_TOKENS)
        if not (label is None or isinstance(label, str)):
            raise Refusal(422, f"label must be a string, got {label!r:.40}.")
        if type(limit) is not int or not 1 <= limit <= MOST_TOKENS:
            raise Refusal(422, f"limit must be a whole number from 1 to {MOST_TOKENS}, got {limit!r:.40}.")
        found = await self._asking.call(partial(explain, served.model, text, label=label, limit=limit))
        return _json(found | {"model": served.name})

    def _asked(self, request: Request, *known: str) -> tuple[Served, dict[str, Any]]:
        served = self._registry.get(request.path_params["name"])
        data: dict[str, Any] = request.scope["state"]["json"]()
        check_known(data, known, request.url.path.rpartition("/")[2])
        return served, data

    async def _streamed(self, served: Served, prompt: str, options: dict[str, Any]) -> Response:
        if self._asking.full:
            raise Refusal(503, "As many streams are under way as are allowed. Try again.")
        stream = await self._asking.call(partial(served.model.stream, prompt, **options))
        return StreamingResponse(self._events(stream), media_type=EVENTS, headers={"cache-control": "no-store"})

    async def _events(self, stream: Any) -> AsyncIterator[bytes]:
        """Pieces of a text as events; the last one, `done`, holds the whole answer. `error` ends it otherwise."""
        try:
            with self._asking.stream():
                async for piece in self._asking.pieces(lambda: stream):
                    yield b"data: " + dumped({"text": piece}) + b"\n\n"
            yield b"event: done\ndata: " + dumped(stream.result.to_dict()) + b"\n\n"
        except (Refusal, UserError, TimeoutError) as error:
            yield b"event: error\ndata: " + dumped({"error": refusal_of(error).message}) + b"\n\n"


def _pairs(given: Any) -> list[tuple[Any, Any]]:
    if not isinstance(given, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in given):
        raise Refusal(422, 'score: give "pairs", a list of [source, target].')
    return [(source, target) for source, target in given]


def _json(value: Any) -> Response:
    return Response(dumped(value), media_type="application/json")
