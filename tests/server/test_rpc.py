"""The Open Inference Protocol over gRPC: the codec against protobuf's own rules, mistakes, streams; `test_triton` has
the rest of Triton's clients."""

import json
import queue

import numpy as np
import pytest

from gatework.runtime import load
from services import need_extra, running

need_extra()

import grpc  # noqa: E402

from gatework.server import messages  # noqa: E402
from gatework.server.wire import MOST_FIELDS, Field, WireError, decode, encode, varint  # noqa: E402

TEXTS = ["a great film", "", "the plot was dull 一只猫"]
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
    pb = pytest.importorskip("tritonclient.grpc.service_pb2", reason="no tritonclient", exc_type=ImportError)
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


def called(service, method, data, metadata=()):
    """One call with bytes as they are."""
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        return channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(data, timeout=30, metadata=metadata)


def asked(texts=("a great film",), **changes):
    contents = {"bytes_contents": [text.encode() for text in texts]}
    one = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "contents": contents}
    return {"model_name": "classify", "id": "7", "inputs": [{**one, **changes}]}


def test_typed_contents(everything, small):
    found = decode(messages.INFERRED, called(everything, "ModelInfer", encode(messages.INFER, asked())))
    want = load(small["classify"]).predict("a great film")
    assert (found["model_name"], found["id"]) == ("classify", "7")
    raw = dict(zip([one["name"] for one in found["outputs"]], found["raw_output_contents"], strict=True))
    assert bytes(raw["label"][4:]).decode() == want.label
    assert np.frombuffer(raw["score"], "<f4")[0] == pytest.approx(want.score)


MISTAKES = [
    ("ModelInfer", {**asked(), "model_name": "nobody"}, "NOT_FOUND", "not loaded"),
    ("ModelInfer", {**asked(), "model_version": "9"}, "NOT_FOUND", "version"),
    ("ModelInfer", asked(shape=[2]), "INVALID_ARGUMENT", "takes 2 values"),
    ("ModelInfer", asked(shape=[-1]), "INVALID_ARGUMENT", "a size that is none"),
    ("ModelInfer", asked(datatype="FP16"), "INVALID_ARGUMENT", "raw_input_contents"),
    ("ModelInfer", asked(datatype="X"), "INVALID_ARGUMENT", "not read"),
    ("ModelInfer", {**asked(), "raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT", "2 raw_input_contents"),
    ("ModelInfer", {**asked(), "raw_input_contents": [b"\1"]}, "INVALID_ARGUMENT", "elements"),
    ("ModelInfer", {**asked(), "outputs": [{"name": "x"}]}, "INVALID_ARGUMENT", "'x' is unknown"),
    ("ModelInfer", {**asked(), "parameters": {"threshold": {"string_param": "x"}}}, "INVALID_ARGUMENT", "threshold"),
    ("ModelInfer", b"\xff", "INVALID_ARGUMENT", "no such message"),
    ("ModelInfer", b"", "NOT_FOUND", "not loaded"),
    ("ModelMetadata", {"name": "nobody"}, "NOT_FOUND", "not loaded"),
    ("RepositoryModelLoad", {"model_name": "nobody"}, "NOT_FOUND", "is unknown"),
    ("SystemSharedMemoryStatus", b"", "UNIMPLEMENTED", ""),
]  # fmt: skip
SCHEMAS = {"ModelInfer": messages.INFER, "ModelMetadata": messages.NAMED, "RepositoryModelLoad": messages.REPOSITORY}


@pytest.mark.parametrize(("method", "values", "code", "words"), MISTAKES)
def test_mistakes(everything, method, values, code, words):
    data = values if isinstance(values, bytes) else encode(SCHEMAS[method], values)
    with pytest.raises(grpc.RpcError) as caught:
        called(everything, method, data)
    assert caught.value.code().name == code
    assert words in caught.value.details()


def test_random_messages_break_nothing(everything):
    rng = np.random.default_rng(3)
    data = encode(messages.INFER, {**asked(), "parameters": {"x": {"int64_param": 3}}})
    codes = set()
    for _ in range(200):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 5)):
            changed[place] = rng.integers(256)
        try:
            called(everything, "ModelInfer", bytes(changed))
        except grpc.RpcError as error:
            codes.add(error.code().name)
    assert codes == {"INVALID_ARGUMENT", "NOT_FOUND"}
    everything.idle()


def test_tokens(small):
    with running([small["classify"]], rpc=True, tokens=("a-good-token",)) as service:
        data = encode(messages.INFER, asked())
        with pytest.raises(grpc.RpcError) as caught:
            called(service, "ModelInfer", data)
        assert caught.value.code().name == "UNAUTHENTICATED"
        assert called(service, "ModelInfer", data, metadata=[("authorization", "Bearer a-good-token")])
        assert decode(messages.LIVE, called(service, "ServerLive", b""))["live"]


def triton(name):
    return pytest.importorskip(name, reason="tritonclient is not installed", exc_type=ImportError)


def test_triton_streams(everything, small):
    client = triton("tritonclient.grpc")
    model = load(small["translate"])
    words = ["red cat", "dog runs", "blue"]
    got = queue.Queue()
    with client.InferenceServerClient(f"127.0.0.1:{everything.grpc_port}") as service:
        service.start_stream(lambda result, error: got.put((result, error)))
        for word in words:
            given = client.InferInput("text", [1], "BYTES")
            given.set_data_from_numpy(np.array([word], dtype=object))
            service.async_stream_infer("translate", [given], request_id=word)
        service.async_stream_infer("nobody", [given])
        service.async_stream_infer("translate", [given], request_id="after")
        for word in words:
            result, error = got.get(timeout=30)
            assert error is None
            assert result.as_numpy("text")[0].decode() == model.predict(word).text
            assert result.get_response().id == word
        assert "not loaded" in str(got.get(timeout=30)[1])
        assert got.get(timeout=30)[0].get_response().id == "after"
        service.stop_stream()
    everything.idle()


def test_triton_streams_what_a_language_model_writes(everything, small):
    client = triton("tritonclient.grpc")
    model = load(small["lm"])
    options = {"max_tokens": 12, "seed": 3, "temperature": 0.9}
    [read] = model.read(["the cat"])
    want = model.generate("", state=read.state, **options)
    got = queue.Queue()

    def answers():
        """Those to one request."""
        found = []
        while not found or not found[-1].get_response().parameters["triton_final_response"].bool_param:
            result, error = got.get(timeout=30)
            assert error is None
            found.append(result)
        return found

    given = client.InferInput("text", [1], "BYTES")
    given.set_data_from_numpy(np.array(["the cat"], dtype=object))
    two = client.InferInput("text", [2], "BYTES")
    two.set_data_from_numpy(np.array(["the", "cat"], dtype=object))
    with client.InferenceServerClient(f"127.0.0.1:{everything.grpc_port}") as service:
        service.start_stream(lambda result, error: got.put((result, error)))
        asked = {"parameters": {"stream": True, **options}, "request_id": "7"}
        service.async_stream_infer("lm", [given], **asked)
        found = answers()
        assert len(found) > 2, "several answers"
        assert {one.get_response().id for one in found} == {"7"}
        assert b"".join(one.as_numpy("text")[0] for one in found).decode() == want.text
        last = found[-1]
        np.testing.assert_allclose(last.as_numpy("log_p"), [want.log_p], rtol=1e-5)
        np.testing.assert_allclose(last.as_numpy("input_log_p"), [read.log_p], rtol=1e-5)
        assert json.loads(last.as_numpy("answer")[0])["text"] == want.text
        service.async_stream_infer("lm", [given], outputs=[client.InferRequestedOutput("log_p")], **asked)
        [only] = answers()
        assert [one.name for one in only.get_response().outputs] == ["log_p"]
        for words, inputs, parameters in (
            ("one text, got 2", [two], {"stream": True}),
            ("must be true or false", [given], {"stream": 1}),
            ("do not go together", [given], {"stream": True, "sequence_id": 3}),
            ("temperature", [given], {"stream": True, "max_tokens": 3, "temperature": -1.0}),
        ):
            own = {name: value for name, value in parameters.items() if name != "sequence_id"}
            service.async_stream_infer("lm", inputs, sequence_id=parameters.get("sequence_id", 0), parameters=own)
            assert words in str(got.get(timeout=30)[1])
        service.async_stream_infer("lm", [given], parameters={"stream": False})
        assert got.get(timeout=30)[0].as_numpy("text").tolist() == [b""]
        service.stop_stream()
        with pytest.raises(Exception, match="only in ModelStreamInfer"):
            service.infer("lm", [given], parameters={"stream": True})
    everything.idle()
