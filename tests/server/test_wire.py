"""The codec of gRPC's messages: against protobuf's own rules, and against protobuf itself."""

from collections import Counter
from random import Random

import numpy as np
import pytest

from fuzzing import rpc
from services import need_extra

need_extra()

from gatework.server import messages  # noqa: E402
from gatework.server.wire import MOST_FIELDS, Field, WireError, decode, encode, varint  # noqa: E402


def protobuf():
    """Triton's messages as protobuf reads them."""
    return pytest.importorskip("tritonclient.grpc.service_pb2", reason="no tritonclient", exc_type=ImportError)


EVERY = (
    Field(1, "flag", "bool"),
    Field(2, "whole", "int64"),
    Field(3, "text", "string"),
    Field(4, "number", "double"),
    Field(5, "many", "int64", repeated=True),
    Field(6, "floats", "float", repeated=True),
    Field(7, "raw", "bytes", repeated=True),
    Field(8, "inner", (Field(1, "flag", "bool", choice=True),), repeated=True),
)


def test_the_wire():
    values = {
        "flag": True, "whole": -1, "text": "一", "number": 0.5, "many": [0, -1, 300, 2**40], "floats": [0.5, -2.0],
        "raw": [b"", b"ab"], "inner": [{"flag": False}, {}],
    }  # fmt: skip
    found = decode(EVERY, encode(EVERY, values))
    assert [bytes(one) for one in found.pop("raw")] == values.pop("raw")
    assert found == values
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert encode(EVERY, {"whole": 300}) == b"\x10\xac\x02"
    assert decode(EVERY, b"\x28\x01\x28\x02")["many"] == [1, 2], "numbers that are not packed"
    assert decode(EVERY, b"\x7a\x02ab\x10\x05")["whole"] == 5, "a field that is unknown"
    for bad in (
        b"\x10",
        b"\x10" + b"\xff" * 11,
        b"\x1a\x05ab",
        b"\x1a\x01\xff",
        b"\x13",
        b"\x21abc",
        b"\x0a\x01a",
        b"\x32\x03abc",
    ):
        with pytest.raises(WireError):
            decode(EVERY, bad)


def test_many_packed_numbers():
    rng = np.random.default_rng(4)
    drawn = zip(rng.integers(-(2**63), 2**63, 500), rng.integers(0, 63, 500), strict=True)
    values = [int(value) >> int(shift) for value, shift in drawn]
    assert decode(EVERY, encode(EVERY, {"many": [*values, 0, -1, 2**63 - 1]}))["many"] == [*values, 0, -1, 2**63 - 1]
    assert decode(EVERY, b"\x2a\xc8\x01" + b"\x01" * 200)["many"] == [1] * 200
    for end in (b"\xff", b"\xff" * 11 + b"\x01"):
        data = b"\x01" * 200 + end
        with pytest.raises(WireError, match="does not end"):
            decode(EVERY, b"\x2a" + varint(len(data)) + data)
    with pytest.raises(WireError, match="are cut"):
        decode(EVERY, b"\x32\x03abc")


def test_a_message_of_too_many_fields():
    inner = b"\x42\x02\x08\x01"
    assert len(decode(EVERY, inner * (MOST_FIELDS // 2))["inner"]) == MOST_FIELDS // 2
    for data in (inner * (MOST_FIELDS // 2 + 1), b"\x3a\x00" * (MOST_FIELDS + 1), b"\x78\x01" * (MOST_FIELDS + 1)):
        with pytest.raises(WireError, match="more than 65,536 fields"):
            decode(EVERY, data)


def test_messages_are_those_of_protobuf():
    pb = protobuf()
    kinds = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes",
             13: "uint32", 14: "enum"}  # fmt: skip
    own = {
        "ModelReadyRequest": messages.NAMED, "ServerLiveResponse": messages.LIVE, "ModelReadyResponse": messages.READY,
        "ServerMetadataResponse": messages.SERVER, "ModelMetadataResponse": messages.METADATA,
        "ModelInferRequest": messages.INFER, "ModelInferResponse": messages.INFERRED,
        "ModelStreamInferResponse": messages.STREAMED, "ModelConfigResponse": messages.CONFIG,
        "ModelStatisticsResponse": messages.STATISTICS, "RepositoryIndexRequest": messages.INDEX,
        "RepositoryIndexResponse": messages.INDEXED, "RepositoryModelLoadRequest": messages.REPOSITORY,
    }  # fmt: skip

    def compare(message, descriptor):
        theirs = {field.number: field for field in descriptor.fields}
        for field in message:
            other = theirs[field.number]
            assert field.name == other.name
            assert field.repeated == other.is_repeated
            if isinstance(field.kind, tuple):
                compare(field.kind, other.message_type)
            else:
                assert field.kind == kinds[other.type]

    for name, message in own.items():
        compare(message, pb.DESCRIPTOR.message_types_by_name[name])


def ours(message, values):
    """What a message says, with its defaults."""
    return {field.name: one(field, values.get(field.name), ours) for field in message if said(field, values)}


def theirs(message, values):
    """The same of protobuf's message."""
    has = {field.name: values.HasField(field.name) for field in message if is_optional(field)}
    return {
        field.name: one(field, getattr(values, field.name), theirs) for field in message if has.get(field.name, True)
    }


def is_optional(field):
    return not field.repeated and (field.choice or isinstance(field.kind, tuple))


def said(field, values):
    return field.name in values or not is_optional(field)


def one(field, value, reader):
    """A value; entries of a map that say nothing are left out."""
    if field.entry:
        own = field.kind[1].kind
        found = {key: reader(own, entry) if isinstance(own, tuple) else entry for key, entry in value.items()}
        return {key: entry for key, entry in found.items() if entry}
    if field.repeated:
        return [plain(field, part, reader) for part in value]
    return plain(field, value, reader)


def plain(field, value, reader):
    if isinstance(field.kind, tuple):
        return reader(field.kind, value)
    if value is None:
        return {"string": "", "bytes": b"", "bool": False}.get(field.kind, 0)
    return repr(float(value)) if field.kind in ("float", "double") else bytes(value) if field.kind == "bytes" else value


def entries_are_more(found, want):
    """Whether one message is the other with more entries in what it holds."""
    if isinstance(found, dict):
        missing = {key for key in found if key not in want}
        return (not missing or "model_name" not in found) and all(
            key in found and (found[key] == value or entries_are_more(found[key], value)) for key, value in want.items()
        )
    alike = isinstance(found, list) and len(found) == len(want)
    return alike and all(a == b or entries_are_more(a, b) for a, b in zip(found, want, strict=True))


READ = {
    "ModelInfer": (messages.INFER, "ModelInferRequest"), "ModelMetadata": (messages.NAMED, "ModelMetadataRequest"),
    "RepositoryIndex": (messages.INDEX, "RepositoryIndexRequest"),
    "RepositoryModelLoad": (messages.REPOSITORY, "RepositoryModelLoadRequest"),
}  # fmt: skip


def test_messages_are_read_as_protobuf_reads_them():
    """Nothing else is read from any bytes, and what protobuf does not read is an error. A field of another type is one
    here, too, where protobuf skips it; and an entry of a map with other fields counts, which it drops."""
    pb = protobuf()
    from google.protobuf.message import DecodeError

    seen = Counter()
    for number in range(3000):
        name, data = rpc.make(Random(f"wire-{number}"))
        if name not in READ:
            continue
        message, other = READ[name]
        reader = getattr(pb, other)()
        try:
            reader.ParseFromString(data)
            want = theirs(message, reader)
        except DecodeError:
            want = None
        try:
            found = ours(message, decode(message, data))
        except WireError as error:
            if want is not None and "has the type" not in str(error):
                raise
            seen["neither" if want is None else "other type"] += 1
            continue
        seen["same" if found == want else "other entries" if entries_are_more(found, want) else "different"] += 1
    assert seen["different"] == 0
    assert seen["same"] > 1000
    assert seen["neither"] > 500
    assert seen["other type"] + seen["other entries"] < 60
