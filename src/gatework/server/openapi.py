"""The description of the HTTP doors, as OpenAPI 3.1 has it: `/openapi.json`."""

from __future__ import annotations

import json
from typing import Any

import gatework
from gatework.explain.explanation import MOST_TOKENS
from gatework.server.limits import Limits

Schema = dict[str, Any]


def description(limits: Limits) -> bytes:
    """The description, with the limits of a service."""
    texts = {"type": "array", "items": {"$ref": "#/components/schemas/Text"}, "maxItems": limits.batch}
    options = {"type": "object", "description": "Options of the task; see docs/serving.md."}
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
                        _object({"text": text, "options": options}, required=("text",)),
                        _object({"texts": texts, "options": options}, required=("texts",)),
                    ]
                },
                named=True,
            )
        },
        f"{name}/generate": {
            "post": _call(
                "What a language model writes after a prompt; with `stream` as server-sent events.",
                either,
                body=_object({"prompt": string, "options": options, "stream": {"type": "boolean"}}),
                named=True,
            )
        },
        f"{name}/score": {
            "post": _call(
                "How likely texts are, or targets given their sources.",
                answers,
                body=_object({"texts": texts, "pairs": {"type": "array", "items": {"type": "array"}}}),
                named=True,
            )
        },
        f"{name}/fill": {
            "post": _call(
                "What may stand in the gaps (___) of a text.",
                answers,
                body=_object({"text": string, "options": options}, required=("text",)),
                named=True,
            )
        },
        f"{name}/rewrite": {
            "post": _call(
                "Alternatives to the marked [[part]] of a text.",
                one,
                body=_object({"text": string, "options": options}, required=("text",)),
                named=True,
            )
        },
    }
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
        )
    }
    paths |= _protocol()
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "gatework serve", "version": gatework.__version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return json.dumps(whole).encode()


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
        paths[f"{path}/infer"] = {"post": _call("Tensors in and out.", anything, body=request, named=True) | own}
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
) -> dict[str, Any]:
    """`bodiless`: the body may be left out."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    statuses = list(failing) if open_ else ["401", "403"]
    statuses += ["404"] if named else []
    statuses += ["400", "408", "413", "415", "422", "429", "500", "503"] if body is not None else []
    call: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "The answer.", "content": {media: {"schema": answer}}}}
        | {status: {"description": "What was wrong.", "content": error} for status in statuses},
    }
    if named:
        call["parameters"] = _parameters("name")
    if body is not None:
        call["requestBody"] = {"required": not bodiless, "content": {"application/json": {"schema": body}}}
    return call if open_ else call | {"security": [{"token": []}, {}]}
