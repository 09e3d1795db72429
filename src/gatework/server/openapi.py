"""The description of the HTTP doors, as OpenAPI 3.1 has it: `/openapi.json`."""

from __future__ import annotations

import json
from typing import Any

import gatework
from gatework.explain.explanation import MOST_TOKENS
from gatework.server.limits import Limits

Schema = dict[str, Any]

GROUPS = {
    "models": "Plain JSON: what a model answers. WebSockets at /v1/models/NAME/stream are beside these.",
    "service": "The service itself.",
    "protocol": "The Open Inference Protocol (KServe v2), with sequences and the repository.",
}
WRONG = {
    "400": "No JSON object, not UTF-8, or a packed body that does not unpack.",
    "401": "A token is needed, or this is not it.",
    "403": "The request comes from a page of another origin.",
    "404": "There is no such model.",
    "408": "The body came too slowly.",
    "409": "A sequence that is not there, or options out of turn.",
    "413": "The body is too large.",
    "415": "The body is packed in an unknown way.",
    "422": "The model cannot answer this: an option, a text or a batch beyond its bounds.",
    "429": "Too many requests wait; Retry-After says when to come back.",
    "500": "A bug of the service; its log has it, other requests go on.",
    "503": "Too busy, too slow or stopping; Retry-After says when to come back.",
}
INPUT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["A fine film, and a long one."]}
TEXT = {"text": "A fine film, and a long one."}


def description(limits: Limits) -> bytes:
    """The description, with the limits of a service."""
    texts = {"type": "array", "items": {"$ref": "#/components/schemas/Text"}, "maxItems": limits.batch}
    options = _options(limits)
    answer = {"type": "object", "description": "As `gatework predict --json` prints it."}
    answers = _object({"answers": {"type": "array", "items": answer}})
    one = _object({"answer": answer})
    schemas = {
        "Text": {
            "description": "A text; for taggers also a list of tokens, for replies a list of turns.",
            "anyOf": [
                {"type": "string", "maxLength": limits.text_chars},
                {"type": "array", "items": {"type": "string"}},
            ],
        },
        "Error": _object({"error": {"type": "string"}}, required=("error",)),
    }
    text = {"$ref": "#/components/schemas/Text"}
    string = {"type": "string", "maxLength": limits.text_chars}
    name = "/v1/models/{name}"
    either = {"anyOf": [one, answers]}
    same = {"type": ["object", "null"], "description": "As with one text."}  # of no text nothing is looked at
    paths = {
        "/health/live": {"get": _call("Whether the process answers.", {"type": "object"}, open_=True)},
        "/health/ready": {"get": _call("Whether it takes requests.", {"type": "object"}, open_=True, failing=("503",))},
        "/metrics": {"get": _call("Counters, as Prometheus reads them.", {"type": "string"}, media="text/plain")},
        "/openapi.json": {"get": _call("This description.", {"type": "object"})},
        "/v1/models": {"get": _call("The models that are loaded.", {"type": "object"})},
        name: {"get": _call("One model.", {"type": "object"}, named=True)},
        f"{name}/predict": {
            "post": _call(
                "The answer for a text, or for several.",
                either,
                body={
                    "oneOf": [
                        _object({"text": text, "options": options["predict"]}, required=("text",)),
                        _object({"texts": texts, "options": same}, required=("texts",)),
                    ]
                },
                named=True,
                example=TEXT,
            )
        },
        f"{name}/generate": {
            "post": _call(
                "What a language model writes after a prompt; with `stream` as server-sent events.",
                either,
                body=_object({"prompt": string, "options": options["generate"], "stream": {"type": "boolean"}}),
                named=True,
                example={"prompt": "The", "options": {"max_tokens": 20, "seed": 1}, "stream": True},
            )
        },
        f"{name}/score": {
            "post": _call(
                "How likely texts are, or targets given their sources.",
                answers,
                body=_object({"texts": texts, "pairs": {"type": "array", "items": {"type": "array"}}}),
                named=True,
                example={"texts": [TEXT["text"]]},
            )
        },
        f"{name}/fill": {
            "post": _call(
                "What may stand in the gaps (___) of a text.",
                answers,
                body=_object({"text": string, "options": options["fill"]}, required=("text",)),
                named=True,
                example={"text": "A ___ film, and a long one."},
            )
        },
        f"{name}/rewrite": {
            "post": _call(
                "Alternatives to the marked [[part]] of a text.",
                one,
                body=_object({"text": string, "options": options["fill"]}, required=("text",)),
                named=True,
                example={"text": "A fine [[film]], and a long one."},
            )
        },
    }
    written = paths[f"{name}/generate"]["post"]["responses"]["200"]["content"]
    written["text/event-stream"] = {}
    paths[f"{name}/explain"] = {
        "post": _call(
            "What each token did for the answer, and what the gates did at each token.",
            {"type": "object"},
            body=_object(
                {
                    "text": string,
                    "label": {"type": "string"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_TOKENS},
                },
                required=("text",),
            ),
            named=True,
            example=TEXT,
        )
    }
    paths |= _protocol()
    for path, calls in paths.items():
        for call in calls.values():
            call["tags"] = [_group(path)]
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "gatework serve", "version": gatework.__version__},
        "tags": [{"name": name, "description": told} for name, told in GROUPS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return json.dumps(whole).encode()


def _options(limits: Limits) -> dict[str, Schema]:
    """Well-known options by what is asked: `predict`, `generate`, `fill` (and rewrite). Other models take other ones of
    them, so that what fits may be refused; what does not fit is."""

    def whole(told: str, least: int, most: int | None = None, *, none: bool = False) -> Schema:
        return number(told, most, minimum=least, none=none, kind="integer")

    def number(told: str, most: float | None, *, none: bool = False, kind: str = "number", **least: float) -> Schema:
        bounds = least | ({} if most is None else {"maximum": most})
        return {"type": [kind, "null"] if none else kind, "description": told, **bounds}

    words = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    pattern: Schema = {"type": ["string", "null"]}
    span: Schema = {"type": ["integer", "array", "null"]}
    parts = {"pattern": pattern, "choices": words, "must": words, "must_not": words, "characters": span}
    parts |= {"tokens": span, "lines": pattern, "line_count": span}
    constraint = {
        "description": "What the text has to be: a regular expression, or parts; spans are a number or [from, to].",
        "anyOf": [{"type": "string"}, _object(parts), {"type": "null"}],
    }
    beams = whole("Beginnings kept at a time.", 1, limits.beams)
    count = whole("Answers, best first, or draws.", 1, limits.beams)
    draw = whole("Draw among that many of the likeliest tokens.", 1, none=True)
    top_p = number("Draw among the likeliest tokens that together reach this.", 1, exclusiveMinimum=0, none=True)
    min_p = number("Draw among tokens this many times as likely as the likeliest.", 1, exclusiveMinimum=0, none=True)
    no_repeat = whole("No sequence of that many tokens comes twice.", 1, none=True)
    penalty = number("With beams: 0 ranks by log p of the whole text, 1 by the mean of its tokens.", 10, minimum=0)
    heat = "Draw: below 1 likelier tokens, above 1 less likely ones."
    repeats = "Above 1, tokens that came before come less."
    seed = whole("Of the draws.", 0, none=True)
    predict = {
        "top_k": {**draw, "description": "Answers to rank; of drawing, likeliest tokens to draw among."},
        "threshold": number("Classifiers, taggers: the score from which on an answer counts.", 1, minimum=0, none=True),
        "allow": {"type": "object", "description": 'Taggers: tags by places, {"3": "B-PER", "5-7": null}.'},
        "beams": beams,
        "count": count,
        "length_penalty": penalty,
        "gnmt": number("Another penalty of length (Wu et al. 2016).", 10, minimum=0),
        "coverage_penalty": number("Texts that leave parts of the source unseen fall behind.", 100, minimum=0),
        "max_ratio": number("Most tokens over those of the source; ten more always.", None, exclusiveMinimum=0),
        "max_tokens": whole("Most tokens of a text.", 1, limits.tokens, none=True),
        "min_tokens": whole("Fewest tokens of a text.", 0),
        "no_repeat": no_repeat,
        "prefix": {"type": "string", "description": "What the text begins with."},
        "constraint": constraint,
        "replace_unknown": {"type": "boolean", "description": "Unknown tokens become those of the source."},
        "dictionary": {"type": "object", "description": "What stands for words of the source that are unknown."},
        "split": {"enum": ["always", "auto", "never"], "description": "Whether each sentence is answered for itself."},
        "shortlist": {"type": ["boolean", "integer"], "description": "Only tokens of the shortlist, or so many."},
        "temperature": number(heat, None, exclusiveMinimum=0, none=True),
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": number(repeats, None, exclusiveMinimum=0, none=True),
        "seed": seed,
    }
    generate = {
        "max_tokens": whole("Tokens to write at most.", 0, limits.tokens),
        "stop": {"anyOf": [*words["anyOf"], {"type": "null"}], "description": "Strings that end the text."},
        "temperature": number(f"{heat[:-1]}; 0 the likeliest.", None, minimum=0),
        "top_k": draw,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": number(repeats, None, exclusiveMinimum=0),
        "no_repeat": no_repeat,
        "beams": beams,
        "length_penalty": penalty,
        "count": count,
        "seed": seed,
        "constraint": constraint,
    }
    fill = {
        "length": {
            "type": ["integer", "array", "null"],
            "description": "Of a gap: words or characters, or [from, to].",
        },
        "count": count,
        "beams": beams,
        "window": whole("Characters scored behind a gap.", 1),
        "constraint": constraint,
        "temperature": number("0 the best ones; above, draws from those found.", None, minimum=0),
        "seed": whole("Of the draws.", 0),
    }
    every = {"predict": predict, "generate": generate, "fill": fill}
    told = "Options of the task; see docs/serving.md."
    return {what: {"type": ["object", "null"], "description": told, "properties": own} for what, own in every.items()}


def _group(path: str) -> str:
    return {"v1": "models", "v2": "protocol"}.get(path.split("/")[1], "service")


def _protocol() -> dict[str, Any]:
    """The paths of the Open Inference Protocol, whose own pages say more."""
    anything: Schema = {"type": "object"}
    tensor = _object(
        {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "parameters": anything,
            "data": {"type": "array"},
        },
        required=("name", "datatype", "shape"),
    )
    request = _object(
        {
            "id": {"type": "string"},
            "parameters": anything,
            "inputs": {"type": "array", "items": tensor},
            "outputs": {"type": "array", "items": anything},
        },
        required=("inputs",),
    )
    settings = {
        "get": _call("Settings that are not kept.", anything),
        "post": _call("Settings, echoed and not kept.", anything, body=anything, bodiless=True),
    }
    unknown = {"404": settings["post"]["responses"]["400"]}
    states: Schema = {"type": "array", "items": anything}
    paths: dict[str, Any] = {
        "/v2": {"get": _call("Name, version, extensions.", anything)},
        "/v2/health/live": {"get": _call("Whether the process answers.", anything, open_=True)},
        "/v2/health/ready": {"get": _call("Whether it takes requests.", anything, open_=True, failing=("503",))},
        "/v2/models/stats": {"get": _call("How often models answered.", anything)},
        "/v2/repository/index": {
            "post": _call("Models that are or may be loaded.", states, body=anything, bodiless=True)
        },
        "/v2/systemsharedmemory/status": {"get": _call("None.", states)},
        "/v2/cudasharedmemory/status": {"get": _call("None.", states)},
        "/v2/logging": settings,
        "/v2/trace/setting": settings,
        "/v2/models/{name}/trace/setting": {
            method: call | {"parameters": _parameters("name"), "responses": call["responses"] | unknown}
            for method, call in settings.items()
        },
    }
    identity = {"parameters": _parameters("name", "identity")}
    kept = {**_call("The state of a sequence.", {"type": "string"}, media="application/octet-stream", named=True)}
    brought = _call("Begin a sequence with a state.", anything, body={"type": "string"}, named=True)
    brought["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    out_of_turn = {**brought["responses"]["422"], "description": WRONG["409"]}
    kept["responses"] |= {"422": brought["responses"]["422"]}
    paths["/v2/models/{name}/sequences/{identity}/state"] = {
        "get": kept | identity,
        "put": brought | identity,
        "delete": _call("Forget a sequence.", anything, named=True) | identity,
    }
    for what in ("load", "unload"):
        call = _call(f"{what.capitalize()} a model.", anything, body=anything, named=True, bodiless=True)
        paths[f"/v2/repository/models/{{name}}/{what}"] = {"post": call}
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        own = {"parameters": _parameters("name", *(["version"] if "version" in path else []))}
        paths[path] = {"get": _call("What a model reads and answers.", anything, named=True) | own}
        for what in ("ready", "config", "stats"):
            paths[f"{path}/{what}"] = {"get": _call(f"{what.capitalize()} of a model.", anything, named=True) | own}
        infer = _call("Tensors in and out.", anything, body=request, named=True, example={"inputs": [INPUT]})
        infer["responses"]["409"] = out_of_turn
        paths[f"{path}/infer"] = {"post": infer | own}
    return paths


def _parameters(*names: str) -> list[Schema]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _object(properties: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    values: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return values | ({"required": list(required)} if required else {})


def _call(
    summary: str,
    answer: Schema,
    *,
    body: Schema | None = None,
    named: bool = False,
    open_: bool = False,
    failing: tuple[str, ...] = (),
    media: str = "application/json",
    bodiless: bool = False,
    example: Schema | None = None,
) -> dict[str, Any]:
    """`bodiless`: the body may be left out."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    statuses = list(failing) if open_ else ["401", "403"]
    statuses += ["404"] if named else []
    statuses += ["400", "408", "413", "415", "422", "429", "500", "503"] if body is not None else []
    call: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "The answer.", "content": {media: {"schema": answer}}}}
        | {status: {"description": WRONG[status], "content": error} for status in sorted(statuses)},
    }
    if named:
        call["parameters"] = _parameters("name")
    if body is not None:
        shown = {} if example is None else {"example": example}
        call["requestBody"] = {"required": not bodiless, "content": {"application/json": {"schema": body} | shown}}
    return call if open_ else call | {"security": [{"token": []}, {}]}
