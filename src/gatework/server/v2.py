"""The Open Inference Protocol over HTTP (KServe v2), with the extensions that Triton's clients use.

A request's tensors stand as `data` in its JSON, or behind it as bytes: `Inference-Header-Content-Length` says where the
JSON ends, `parameters.binary_data_size` how long each is. Answers go the same way: an output is bytes where its own
`binary_data`, else the request's `binary_data_output`, says so.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import gatework
from gatework.server.asking import Asking
from gatework.server.contract import configuration, metadata
from gatework.server.inference import InferAnswer, InferRequest, answer, answer_now, statistics
from gatework.server.limits import Limits
from gatework.server.refusal import Refusal
from gatework.server.registry import Registry, Served
from gatework.server.requests import JSON, Head, Headers, dumped, parsed
from gatework.server.sequences import Sequences, place_of
from gatework.server.tensors import Tensor, from_bytes, from_json, to_bytes, to_json

EXTENSIONS = (
    "binary_tensor_data", "sequence", "sequence(string_id)", "model_repository", "model_configuration", "statistics"
)  # fmt: skip
MODEL = "/v2/models/{name:path}"


async def infer(asking: Asking, sequences: Sequences, served: Served, head: Head, body: bytes) -> tuple[bytes, Headers]:
    """The body and headers that answer `infer`. Raises: Refusal, UserError."""
    request, binary, all_binary = parse(head, body)
    found = await answer(asking, sequences, served, request)
    return packed(*assembled(found, binary, all_binary), head.accept_encoding)


def infer_now(limits: Limits, served: Served, head: Head, body: bytes) -> tuple[bytes, Headers] | None:
    """The same, where it can be given without waiting for anything; else None. Raises: Refusal, UserError."""
    request, binary, all_binary = parse(head, body)
    found = answer_now(limits, served, request)
    return None if found is None else packed(*assembled(found, binary, all_binary), head.accept_encoding)


def parse(head: Head, body: bytes) -> tuple[InferRequest, dict[str, bool], bool]:
    """A request, which outputs are to be bytes, and whether others are. Raises Refusal 400: it is malformed."""
    end = len(body)
    if head.json_length:
        if not head.json_length.isdigit() or len(head.json_length) > 18 or int(head.json_length) > end:
            raise Refusal(400, "Inference-Header-Content-Length is no length within the body.")
        end = int(head.json_length)
    data = parsed(memoryview(body)[:end])
    parameters = _object(data.get("parameters"), "parameters")
    inputs = _inputs(data.get("inputs"), memoryview(body)[end:])
    outputs = data.get("outputs") or []
    if not isinstance(outputs, list):
        raise Refusal(400, "outputs must be a list.")
    binary: dict[str, bool] = {}
    for one in outputs:
        name, own = _named(one, "output"), _object(one.get("parameters"), "parameters of an output")
        if "classification" in own:
            raise Refusal(400, "classification is no extension here: score and label are outputs of their own.")
        if name in binary:
            raise Refusal(400, f"output {name[:60]!r} is asked for twice.")
        binary[name] = own.get("binary_data", parameters.get("binary_data_output", False)) is True
    identity = data.get("id", "")
    if not isinstance(identity, str):
        raise Refusal(400, "id must be a string.")
    return (
        InferRequest(identity, parameters, inputs, tuple(binary)),
        binary,
        parameters.get("binary_data_output") is True,
    )


def assembled(found: InferAnswer, binary: Mapping[str, bool], all_binary: bool) -> tuple[bytes, int]:
    """The body of an answer, and how much of it is JSON: all of it where no output is bytes."""
    outputs, raw = [], []
    for name, tensor in found.outputs.items():
        one: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if binary.get(name, all_binary):
            raw.append(to_bytes(tensor))
            one["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            one["data"] = to_json(tensor)
        outputs.append(one)
    whole: dict[str, Any] = {"model_name": found.model, "model_version": found.version, "outputs": outputs}
    if found.id:
        whole["id"] = found.id
    if found.parameters:
        whole["parameters"] = dict(found.parameters)
    header = dumped(whole)
    return b"".join([header, *raw]), len(header) if raw else -1


def packed(body: bytes, json_length: int, accept: bytes) -> tuple[bytes, Headers]:
    """The body as it is sent, and its headers. A list of encodings is no wish to have one: only a single one is."""
    headers: Headers = [(b"content-type", JSON)]
    if json_length >= 0:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"Inference-Header-Content-Length", b"%d" % json_length),
        ]
    name = accept.strip().lower()
    if name == b"gzip":
        return gzip.compress(body, 1, mtime=0), [*headers, (b"content-encoding", name)]
    if name == b"deflate":
        return zlib.compress(body, 1), [*headers, (b"content-encoding", name)]
    return body, headers


class V2:
    """The paths beside `infer` of a model in its only version."""

    def __init__(self, registry: Registry, asking: Asking, sequences: Sequences, ready: Any) -> None:
        """`ready()`: whether the service takes requests."""
        self._registry, self._asking, self._ready = registry, asking, ready
        self._sequences = sequences

    def routes(self) -> list[Route]:
        """All of them."""
        with_version = f"{MODEL}/versions/{{version}}"
        post = ["POST"]
        found = [
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/models/stats", self.all_statistics),
            Route("/v2/repository/index", self.index, methods=post),
            Route("/v2/repository/models/{name:path}/load", self.load, methods=post),
            Route("/v2/repository/models/{name:path}/unload", self.unload, methods=post),
            Route("/v2/systemsharedmemory/status", self.no_regions),
            Route("/v2/cudasharedmemory/status", self.no_regions),
            Route("/v2/logging", self.no_settings, methods=["GET", "POST"]),
            Route("/v2/trace/setting", self.no_settings, methods=["GET", "POST"]),
            Route(f"{MODEL}/trace/setting", self.no_settings_of, methods=["GET", "POST"]),
        ]
        found.append(Route(f"{MODEL}/sequences/{{identity:path}}/state", self.state, methods=["GET", "PUT", "DELETE"]))
        for path in (with_version, MODEL):
            found += [
                Route(f"{path}/infer", self.infer, methods=post),
                Route(f"{path}/ready", self.model_ready),
                Route(f"{path}/config", self.config),
                Route(f"{path}/stats", self.statistics),
                Route(path, self.model),
            ]
        return found

    async def server(self, request: Request) -> Response:
        """What this is."""
        return _json({"name": "gatework", "version": gatework.__version__, "extensions": list(EXTENSIONS)})

    async def live(self, request: Request) -> Response:
        """Whether the process answers."""
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether it takes requests."""
        ready = self._ready()
        return _json({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """The metadata of a model."""
        if request.path_params["name"].endswith("/infer"):
            raise Refusal(405, f"{request.url.path[:200]} takes POST.", allow="POST")
        return _json(metadata(self._served(request)))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model is loaded."""
        served = self._served(request)
        return _json({"name": served.name, "ready": True})

    async def config(self, request: Request) -> Response:
        """A model as Triton's ModelConfig."""
        return _json(configuration(self._served(request), self._asking.limits.batch))

    async def statistics(self, request: Request) -> Response:
        """How often a model answered."""
        return _json({"model_stats": [statistics(self._served(request))]})

    async def all_statistics(self, request: Request) -> Response:
        """How often every model answered."""
        return _json({"model_stats": [statistics(served) for served in self._registry.all()]})

    async def index(self, request: Request) -> Response:
        """Every model that is or may be loaded."""
        found = self._registry.index()
        body = request.scope["state"]["body"]
        if body and parsed(body).get("ready") is True:
            found = [one for one in found if one["state"] == "READY"]
        return _json(found)

    async def load(self, request: Request) -> Response:
        """Load a model from its file, or load it again. Raises Refusal: it brings a model of its own."""
        body = request.scope["state"]["body"]
        parameters = _object(parsed(body).get("parameters") if body else None, "parameters")
        if parameters:
            raise Refusal(400, "load: a model comes from its file; config and files of a request are not taken.")
        await self._registry.load(request.path_params["name"])
        return _json({})

    async def unload(self, request: Request) -> Response:
        """Let go of a model."""
        await self._registry.unload(request.path_params["name"])
        return _json({})

    async def infer(self, request: Request) -> Response:
        """What was asked with a version; without one it is answered before any routing."""
        state = request.scope["state"]
        body, headers = await infer(self._asking, self._sequences, self._served(request), state["head"], state["body"])
        response = Response(body)
        response.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
        return response

    async def state(self, request: Request) -> Response:
        """The state of a sequence as bytes; a sequence begun with one; a sequence forgotten."""
        served, identity = self._served(request), request.path_params["identity"]
        if request.method == "PUT":
            place = place_of({"sequence_id": identity})
            assert place is not None  # a path has no empty part
            await self._sequences.put(served, place.identity, request.scope["state"]["body"])
            return _json({})
        if request.method == "DELETE":
            self._sequences.delete(served, identity)
            return _json({})
        return Response(await self._sequences.get(served, identity), media_type="application/octet-stream")

    async def no_regions(self, request: Request) -> Response:
        """Shared memory: none is registered, nor can be."""
        return _json([])

    async def no_settings(self, request: Request) -> Response:
        """Settings of traces and logs: what was sent, which changes nothing."""
        body: bytes = request.scope["state"]["body"] or b"{}"
        parsed(body)
        return Response(body, media_type="application/json")

    async def no_settings_of(self, request: Request) -> Response:
        """The same of a model. Raises Refusal 404: it is not loaded."""
        self._served(request)
        return await self.no_settings(request)

    def _served(self, request: Request) -> Served:
        return self._registry.get(request.path_params["name"], request.path_params.get("version"))


def _inputs(given: Any, raw: memoryview) -> dict[str, Tensor]:
    """Tensors by name, of JSON or of the bytes behind it, all of which belong to one."""
    if not isinstance(given, list):
        raise Refusal(400, "inputs must be a list.")
    found: dict[str, Tensor] = {}
    at = 0
    for one in given:
        name, own = _named(one, "input"), _object(one.get("parameters"), "parameters of an input")
        if name in found:
            raise Refusal(400, f"input {name[:60]!r} is given twice.")
        size = own.get("binary_data_size")
        if "shared_memory_region" in own:
            raise Refusal(400, f"input {name[:60]!r}: shared memory is not supported. Send the values.")
        if size is None:
            if "data" not in one:
                raise Refusal(400, f"input {name[:60]!r} has neither data nor binary_data_size.")
            found[name] = from_json(name, one.get("datatype"), one.get("shape"), one["data"])
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - at:
            raise Refusal(400, f"input {name[:60]!r}: binary_data_size is no length within the body.")
        found[name] = from_bytes(name, one.get("datatype"), one.get("shape"), raw[at : at + size])
        at += size
    if at != len(raw):
        raise Refusal(400, f"{len(raw) - at} bytes of the body belong to no input.")
    return found


def _named(one: Any, what: str) -> str:
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise Refusal(400, f"each {what} must be an object with a name.")
    name: str = one["name"]
    return name


def _object(given: Any, what: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Refusal(400, f"{what} must be an object.")
    return given


def _json(value: Any, status: int = 200) -> Response:
    return Response(dumped(value), status, media_type="application/json")
