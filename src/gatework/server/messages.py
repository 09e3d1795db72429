"""The messages of the Open Inference Protocol over gRPC that are answered, with Triton's extensions.

Field numbers are those of the published protocol; see `wire` for what a message is here.
"""

from __future__ import annotations

from gatework.server.wire import Field, Message


def _map(number: int, name: str, value: Message) -> Field:
    return Field(number, name, (Field(1, "key", "string"), Field(2, "value", value)), repeated=True, entry=True)


NAMED: Message = (Field(1, "name", "string"), Field(2, "version", "string"))
"""ModelReady, ModelMetadata, ModelConfig and ModelStatistics ask with it."""
LIVE: Message = (Field(1, "live", "bool"),)
READY: Message = (Field(1, "ready", "bool"),)
SERVER: Message = (
    Field(1, "name", "string"), Field(2, "version", "string"), Field(3, "extensions", "string", repeated=True)
)  # fmt: skip
_PORT: Message = (
    Field(1, "name", "string"), Field(2, "datatype", "string"), Field(3, "shape", "int64", repeated=True)
)  # fmt: skip
METADATA: Message = (
    Field(1, "name", "string"),
    Field(2, "versions", "string", repeated=True),
    Field(3, "platform", "string"),
    Field(4, "inputs", _PORT, repeated=True),
    Field(5, "outputs", _PORT, repeated=True),
)
PARAMETER: Message = (
    Field(1, "bool_param", "bool", choice=True),
    Field(2, "int64_param", "int64", choice=True),
    Field(3, "string_param", "string", choice=True),
    Field(4, "double_param", "double", choice=True),
    Field(5, "uint64_param", "uint64", choice=True),
)
CONTENTS: Message = (
    Field(1, "bool_contents", "bool", repeated=True),
    Field(2, "int_contents", "int32", repeated=True),
    Field(3, "int64_contents", "int64", repeated=True),
    Field(4, "uint_contents", "uint32", repeated=True),
    Field(5, "uint64_contents", "uint64", repeated=True),
    Field(6, "fp32_contents", "float", repeated=True),
    Field(7, "fp64_contents", "double", repeated=True),
    Field(8, "bytes_contents", "bytes", repeated=True),
)
_INPUT: Message = (*_PORT, _map(4, "parameters", PARAMETER), Field(5, "contents", CONTENTS))
_OUTPUT: Message = (Field(1, "name", "string"), _map(2, "parameters", PARAMETER))
INFER: Message = (
    Field(1, "model_name", "string"),
    Field(2, "model_version", "string"),
    Field(3, "id", "string"),
    _map(4, "parameters", PARAMETER),
    Field(5, "inputs", _INPUT, repeated=True),
    Field(6, "outputs", _OUTPUT, repeated=True),
    Field(7, "raw_input_contents", "bytes", repeated=True),
)
INFERRED: Message = (
    Field(1, "model_name", "string"),
    Field(2, "model_version", "string"),
    Field(3, "id", "string"),
    _map(4, "parameters", PARAMETER),
    Field(5, "outputs", _PORT, repeated=True),
    Field(6, "raw_output_contents", "bytes", repeated=True),
)
STREAMED: Message = (Field(1, "error_message", "string"), Field(2, "infer_response", INFERRED))

_CONFIG_INPUT: Message = (
    Field(1, "name", "string"), Field(2, "data_type", "enum"), Field(4, "dims", "int64", repeated=True)
)  # fmt: skip
_CONFIG_OUTPUT: Message = (
    Field(1, "name", "string"), Field(2, "data_type", "enum"), Field(3, "dims", "int64", repeated=True)
)  # fmt: skip
_CONFIG: Message = (
    Field(1, "name", "string"),
    Field(2, "platform", "string"),
    Field(4, "max_batch_size", "int32"),
    Field(5, "input", _CONFIG_INPUT, repeated=True),
    Field(6, "output", _CONFIG_OUTPUT, repeated=True),
    _map(14, "parameters", (Field(1, "string_value", "string"),)),
    Field(17, "backend", "string"),
)
CONFIG: Message = (Field(1, "config", _CONFIG),)
CONFIG_TYPES = {"TYPE_INT64": 9, "TYPE_FP32": 11, "TYPE_STRING": 13}

_DURATION: Message = (Field(1, "count", "uint64"), Field(2, "ns", "uint64"))
_INFER_STATISTICS: Message = tuple(
    Field(number, name, _DURATION)
    for number, name in enumerate(
        ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"), 1
    )
)
_MODEL_STATISTICS: Message = (
    Field(1, "name", "string"),
    Field(2, "version", "string"),
    Field(3, "last_inference", "uint64"),
    Field(4, "inference_count", "uint64"),
    Field(5, "execution_count", "uint64"),
    Field(6, "inference_stats", _INFER_STATISTICS),
)
STATISTICS: Message = (Field(1, "model_stats", _MODEL_STATISTICS, repeated=True),)

INDEX: Message = (Field(1, "repository_name", "string"), Field(2, "ready", "bool"))
INDEXED: Message = (
    Field(
        1,
        "models",
        tuple(Field(number, name, "string") for number, name in enumerate(("name", "version", "state", "reason"), 1)),
        repeated=True,
    ),
)
_REPOSITORY_PARAMETER: Message = (
    Field(1, "bool_param", "bool", choice=True), Field(2, "int64_param", "int64", choice=True),
    Field(3, "string_param", "string", choice=True), Field(4, "bytes_param", "bytes", choice=True),
)  # fmt: skip
REPOSITORY: Message = (
    Field(1, "repository_name", "string"),
    Field(2, "model_name", "string"),
    _map(3, "parameters", _REPOSITORY_PARAMETER),
)
EMPTY: Message = ()
