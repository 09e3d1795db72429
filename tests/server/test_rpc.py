"""The Open Inference Protocol over gRPC: mistakes, tokens, streams; `test_wire` has the codec, `test_triton` the rest
of Triton's clients."""

import json
import queue

import numpy as np
import pytest

from gatework.runtime import load
from services import need_extra, running

need_extra()

import grpc  # noqa: E402

from gatework.server import messages  # noqa: E402
from gatework.server.wire import decode, encode  # noqa: E402

TEXTS = ["a great film", "", "the plot was dull 一只猫"]


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
