"""gRPC messages that are nearly right, see `fuzzing`."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import grpc

from fuzzing import MODELS, PATIENCE, Wrong, damaged, parameters
from gatework.server import messages
from gatework.server.wire import decode, encode

CODES = (
    "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "UNAVAILABLE",
)  # fmt: skip
METHODS: dict[str, messages.Message] = {
    "ModelInfer": messages.INFER, "ModelMetadata": messages.NAMED, "ModelConfig": messages.NAMED,
    "ModelReady": messages.NAMED, "ModelStatistics": messages.NAMED, "RepositoryIndex": messages.INDEX,
    "RepositoryModelLoad": messages.REPOSITORY, "ServerMetadata": messages.EMPTY, "ModelStreamInfer": messages.INFER,
}  # fmt: skip


def make(rng: Random) -> tuple[str, bytes]:
    """A method, and a message that is nearly right."""
    name = rng.choices(list(METHODS), [60, 3, 3, 3, 3, 3, 3, 1, 20])[0]
    if "Infer" in name and rng.random() < 0.6:
        values: dict[str, Any] = _infer(rng)
    else:
        values = _values(rng, METHODS[name], 0)
        if "name" in values or "model_name" in values:
            values["name" if "name" in values else "model_name"] = rng.choice((*MODELS, "nobody", ""))
    data = encode(METHODS[name], values)
    return name, damaged(rng, data) if rng.random() < 0.6 else data


def _infer(rng: Random) -> dict[str, Any]:
    texts = [rng.choice((b"a great film", b"", b"\xff", "一只猫".encode())) for _ in range(rng.randint(0, 3))]
    one: dict[str, Any] = {"name": "text", "datatype": "BYTES", "shape": [len(texts)]}
    found: dict[str, Any] = {"model_name": rng.choice(MODELS), "id": "7", "inputs": [one]}
    if rng.random() < 0.5:
        found["raw_input_contents"] = [b"".join(struct.pack("<I", len(text)) + text for text in texts)]
    else:
        one["contents"] = {"bytes_contents": texts}
    if rng.random() < 0.2:
        one |= {
            "name": "tokens",
            "datatype": "INT64",
            "shape": [1, 2],
            "contents": {"int64_contents": [1, rng.randint(-2, 9)]},
        }
    if rng.random() < 0.3:
        one |= {"shape": [rng.choice((0, 1, -1, 2**40, -(2**63))) for _ in range(rng.randint(0, 3))]}
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    given = {name: value for name, value in parameters(rng).items() if type(value) in kinds}
    with_kinds = {name: {kinds[type(value)]: value} for name, value in given.items()}
    for name, value in with_kinds.items():
        if "int64_param" in value and not -(2**63) <= value["int64_param"] < 2**63:
            with_kinds[name] = {"uint64_param": abs(value["int64_param"]) % 2**64}
        if "string_param" in value:
            value["string_param"] = value["string_param"].encode("utf-8", "replace").decode()
    return found | {"parameters": with_kinds}


def _values(rng: Random, schema: messages.Message, depth: int) -> dict[str, Any]:
    """Random values of a message."""
    found: dict[str, Any] = {}
    for field in schema:
        if rng.random() < 0.4 or depth > 4:
            continue
        if field.entry:
            assert isinstance(field.kind, tuple)
            own = field.kind[1].kind
            found[field.name] = {rng.choice(("a", "", "sequence_id", "stream")): _value(rng, own, depth + 1)}
        elif field.repeated:
            found[field.name] = [_value(rng, field.kind, depth + 1) for _ in range(rng.choice((0, 1, 2, 9)))]
        else:
            found[field.name] = _value(rng, field.kind, depth + 1)
    return found


def _value(rng: Random, kind: Any, depth: int) -> Any:
    if isinstance(kind, tuple):
        return _values(rng, kind, depth)
    if kind == "string":
        return rng.choice(("", "text", "BYTES", "INT64", "FP32", "x" * 300, "一", "lm", "1"))
    if kind == "bytes":
        return rng.randbytes(rng.randrange(12))
    if kind in ("float", "double"):
        return rng.choice((0.0, -0.0, 1.5, float("nan"), float("inf"), 3e38))
    return rng.choice((0, 1, -1, 2, 2**31 - 1, 2**63 - 1, 2**64 - 1))


def check(channel: grpc.Channel, name: str, data: bytes) -> str:
    """The code of the answer. Raises Wrong."""
    path = f"/inference.GRPCInferenceService/{name}"
    try:
        if name == "ModelStreamInfer":
            good = encode(messages.INFER, {"model_name": "nobody", "id": "good"})
            answers = [
                decode(messages.STREAMED, one)
                for one in channel.stream_stream(path)(iter([data, good]), timeout=PATIENCE)
            ]
            if len(answers) < 2 or "not loaded" not in answers[-1].get("error_message", ""):
                raise Wrong(f"a stream that does not go on: {answers}")
        else:
            channel.unary_unary(path)(data, timeout=PATIENCE)
    except grpc.RpcError as error:
        code = str(error.code().name)
        if code not in CODES or (code != "UNIMPLEMENTED" and not error.details()):
            raise Wrong(f"{name}: {code}: {error.details()}") from None
        return code
    return "OK"
