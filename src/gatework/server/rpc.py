"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`, by generic handlers of bytes.

Tensors come as `raw_input_contents` or as typed contents, and are answered as `raw_output_contents` alone: clients read
nothing else. A mistake ends a call with its status; in a stream it is an `error_message`, and the stream goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

import gatework
from gatework.server import messages
from gatework.server.contract import configuration, metadata
from gatework.server.inference import InferAnswer, InferRequest, answer, answers, statistics
from gatework.server.refusal import Refusal, refusal_of
from gatework.server.tensors import Tensor, checked_shape, from_bytes, numbers_of, to_bytes
from gatework.server.v2 import EXTENSIONS
from gatework.server.wire import Message, WireError, decode, encode

if TYPE_CHECKING:
    from gatework.server.registry import Served
    from gatework.server.service import Service

SERVICE = "inference.GRPCInferenceService"
CODES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "FAILED_PRECONDITION", 413: "RESOURCE_EXHAUSTED", 422: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}  # fmt: skip
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""Where typed values of a datatype stand."""

log = logging.getLogger("gatework.server")
Values = Mapping[str, Any]


class Rpc:
    """The methods of a service."""

    def __init__(self, service: Service) -> None:
        self._service, self._registry, self._asking = service, service.registry, service.asking

    def handlers(self) -> Any:
        """What a gRPC server is given."""
        unary: dict[str, tuple[Message, Message, Callable[[Values], Awaitable[Values]]]] = {
            "ServerLive": (messages.EMPTY, messages.LIVE, self._live),
            "ServerReady": (messages.EMPTY, messages.READY, self._ready),
            "ModelReady": (messages.NAMED, messages.READY, self._model_ready),
            "ServerMetadata": (messages.EMPTY, messages.SERVER, self._server),
            "ModelMetadata": (messages.NAMED, messages.METADATA, self._metadata),
            "ModelConfig": (messages.NAMED, messages.CONFIG, self._config),
            "ModelStatistics": (messages.NAMED, messages.STATISTICS, self._statistics),
            "ModelInfer": (messages.INFER, messages.INFERRED, self._infer),
            "RepositoryIndex": (messages.INDEX, messages.INDEXED, self._index),
            "RepositoryModelLoad": (messages.REPOSITORY, messages.EMPTY, self._load),
            "RepositoryModelUnload": (messages.REPOSITORY, messages.EMPTY, self._unload),
        }
        methods = {name: grpc.unary_unary_rpc_method_handler(self._unary(name, *own)) for name, own in unary.items()}
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _unary(
        self, name: str, asked: Message, answered: Message, method: Callable[[Values], Awaitable[Values]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """A method as gRPC calls it."""

        async def call(data: bytes, context: Any) -> bytes:
            start, status = time.perf_counter(), 200
            model = ""
            try:
                if name not in ("ServerLive", "ServerReady"):
                    self._check(context)
                with self._service.holding(len(data)):
                    values = _decoded(asked, data)
                    found = encode(answered, await method(values))
                model = values.get("model_name", "") if name == "ModelInfer" else ""
                return found
            except Exception as error:
                refusal = refusal_of(error)
                status = refusal.status
                if status == 500:
                    self._service.log_failure("gRPC", name)
                code = getattr(grpc.StatusCode, CODES.get(status, "INTERNAL"))
                await context.abort(code, refusal.message)
                raise  # never reached: abort raises
            finally:
                self._service.meters.answered(model, "grpc", status, time.perf_counter() - start)

        return call

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Requests in, answers out, in order; of a language model that is asked for it several, as it writes."""
        try:
            self._check(context)
            slot = self._asking.stream()
            slot.__enter__()
        except Refusal as full:
            await context.abort(getattr(grpc.StatusCode, CODES[full.status]), full.message)
        try:
            async for data in requests:
                start, status, model = time.perf_counter(), 200, ""
                identity = ""
                try:
                    with self._service.holding(len(data)):
                        values = _decoded(messages.INFER, data)
                        identity = values.get("id", "")
                        async with aclosing(self._answers(values)) as found:
                            async for one in found:
                                yield encode(messages.STREAMED, {"infer_response": one})
                    model = values.get("model_name", "")
                except Exception as error:
                    refusal = refusal_of(error)
                    status = refusal.status
                    if status == 500:
                        self._service.log_failure("gRPC", "ModelStreamInfer")
                    told = {"error_message": refusal.message, "infer_response": {"id": identity}}
                    yield encode(messages.STREAMED, told)
                self._service.meters.answered(model, "grpc", status, time.perf_counter() - start)
        finally:
            slot.__exit__()

    def _check(self, context: Any) -> None:
        """Raise Refusal 401 unless a token that is needed is there."""
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        scheme, _, token = str(given).partition(" ")
        self._service.gate.check_token(token.strip().encode() if scheme.lower() == "bearer" else b"")

    async def _live(self, values: Values) -> Values:
        return {"live": True}

    async def _ready(self, values: Values) -> Values:
        return {"ready": not self._service.draining}

    async def _model_ready(self, values: Values) -> Values:
        try:
            self._served(values)
        except Refusal:
            return {"ready": False}
        return {"ready": True}

    async def _server(self, values: Values) -> Values:
        return {"name": "gatework", "version": gatework.__version__, "extensions": EXTENSIONS}

    async def _metadata(self, values: Values) -> Values:
        found = metadata(self._served(values))
        return {name: value for name, value in found.items() if name != "parameters"}

    async def _config(self, values: Values) -> Values:
        found = configuration(self._served(values), self._asking.limits.batch)
        for side in ("input", "output"):
            found[side] = [one | {"data_type": messages.CONFIG_TYPES[one["data_type"]]} for one in found[side]]
        return {"config": found}

    async def _statistics(self, values: Values) -> Values:
        models = [self._served(values)] if values.get("name") else self._registry.all()
        found = [statistics(served) for served in models]
        for one in found:
            del one["batch_stats"]
        return {"model_stats": found}

    async def _index(self, values: Values) -> Values:
        found = self._registry.index()
        return {"models": [one for one in found if not values.get("ready") or one["state"] == "READY"]}

    async def _load(self, values: Values) -> Values:
        if values["parameters"]:
            raise Refusal(400, "load: a model comes from its file; config and files of a request are not taken.")
        await self._registry.load(values.get("model_name", ""))
        return {}

    async def _unload(self, values: Values) -> Values:
        await self._registry.unload(values.get("model_name", ""))
        return {}

    async def _infer(self, values: Values) -> Values:
        return _answered(await answer(self._asking, self._service.sequences, self._asked(values), _request(values)))

    async def _answers(self, values: Values) -> AsyncGenerator[Values, None]:
        async for one in answers(self._asking, self._service.sequences, self._asked(values), _request(values)):
            yield _answered(one)

    def _asked(self, values: Values) -> Served:
        return self._registry.get(values.get("model_name", ""), values.get("model_version") or None)

    def _served(self, values: Values) -> Served:
        return self._registry.get(values.get("name", ""), values.get("version") or None)


def make_rpc(service: Service, address: str, credentials: Any | None) -> tuple[Any, int]:
    """A gRPC server, bound but not started, and its port. Raises RuntimeError: the address is not to be had."""
    limits = service.limits
    server = grpc.aio.server(
        maximum_concurrent_rpcs=limits.queue,
        options=[
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", limits.header_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ],
    )
    server.add_generic_rpc_handlers((Rpc(service).handlers(),))
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    return server, port


def _decoded(message: Message, data: bytes) -> dict[str, Any]:
    try:
        return decode(message, data)
    except WireError as error:
        raise Refusal(400, f"The request is no such message: {error}.") from None


def _request(values: Values) -> InferRequest:
    """What was asked. Raises Refusal 400: tensors that are none."""
    raw, inputs = values["raw_input_contents"], values["inputs"]
    if raw and len(raw) != len(inputs):
        raise Refusal(400, f"{len(inputs)} inputs, but {len(raw)} raw_input_contents.")
    found: dict[str, Tensor] = {}
    for place, one in enumerate(inputs):
        name = one.get("name", "")
        if name in found:
            raise Refusal(400, f"input {name[:60]!r} is given twice.")
        if "shared_memory_region" in one["parameters"]:
            raise Refusal(400, f"input {name[:60]!r}: shared memory is not supported. Send the values.")
        shape = one["shape"]
        if raw:
            found[name] = from_bytes(name, one.get("datatype"), shape, raw[place])
        else:
            found[name] = _typed(name, one.get("datatype", ""), shape, one.get("contents", {}))
    names = tuple(one.get("name", "") for one in values["outputs"])
    return InferRequest(values.get("id", ""), _parameters(values["parameters"]), found, names)


def _typed(name: str, datatype: str, shape: list[int], contents: Values) -> Tensor:
    sizes = checked_shape(name, datatype, shape)
    if datatype not in CONTENTS:
        raise Refusal(400, f"input {name[:60]!r}: {datatype} goes as raw_input_contents.")
    flat = contents.get(CONTENTS[datatype], [])
    count = 1
    for size in sizes:
        count *= size
    if len(flat) != count:
        raise Refusal(400, f"input {name[:60]!r}: shape {list(sizes)} takes {count} values, got {len(flat)}.")
    if datatype == "BYTES":
        return Tensor(datatype, sizes, [bytes(one) for one in flat])
    return Tensor(datatype, sizes, numbers_of(name, datatype, flat).reshape(sizes))


def _parameters(given: Values) -> dict[str, Any]:
    """Parameters as Python's values."""
    return {name: next(iter(value.values())) for name, value in given.items() if value}


def _answered(found: InferAnswer) -> Values:
    return {
        "model_name": found.model,
        "model_version": found.version,
        "id": found.id,
        "parameters": {name: _parameter(value) for name, value in found.parameters.items()},
        "outputs": [
            {"name": name, "datatype": tensor.datatype, "shape": tensor.shape} for name, tensor in found.outputs.items()
        ],
        "raw_output_contents": [to_bytes(tensor) for tensor in found.outputs.values()],
    }


def _parameter(value: Any) -> Values:
    kind = {bool: "bool_param", int: "int64_param", float: "double_param"}.get(type(value), "string_param")
    return {kind: value}
