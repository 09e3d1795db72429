"""The Open Inference Protocol as Triton's own clients speak it, all four of them: every way to send tensors and to ask
for outputs, sequences, streams, loading, errors, many at once."""

import asyncio
import contextlib
import json
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from gatework.runtime import load
from services import need_extra, running

need_extra()

TEXTS = ["a great film", "", "the plot was dull 一只猫"]
PROMPTS = ["the cat", "a dog", "the mat"]
HTTP, GRPC = ("http", "http.aio"), ("grpc", "grpc.aio")
EVERY = (*HTTP, *GRPC)
SEQUENCE = {"sequence_id": 5, "sequence_start": True}
PACKINGS = (None, "gzip", "deflate")
WANTED = {
    "text": {"none": None, "named": ["label"], "mixed": ["score", "label"]},
    "numbers": {"none": None, "named": ["input_log_p"], "mixed": ["reason", "input_log_p"]},
}
"""Which outputs are asked for. Mixed: two, over HTTP one as bytes and one as JSON."""


def module(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(f"tritonclient.{kind}", reason="tritonclient is not installed", exc_type=ImportError)


def failure():
    return module("utils").InferenceServerException


@contextlib.contextmanager
def connected(kind, service):
    """A client of a kind; what has to be awaited of it is."""
    address = f"127.0.0.1:{service.grpc_port if kind in GRPC else service.port}"
    make = module(kind).InferenceServerClient
    if not kind.endswith("aio"):
        with make(address) as client:
            yield client
        return
    with asyncio.Runner() as runner:

        async def made():
            return make(address)  # within a loop

        client = Awaited(runner, runner.run(made()))
        try:
            yield client
        finally:
            client.close()


class Awaited:
    """A client whose methods give results, not coroutines."""

    def __init__(self, runner, client):
        self._runner, self._client = runner, client

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **options):
            async def run():
                return await method(*args, **options)

            return self._runner.run(run())

        return call


def tensor(kind, name, values, as_bytes=True):
    values = np.array(values, dtype=object) if name == "text" else values
    given = module(kind).InferInput(name, list(values.shape), "BYTES" if name == "text" else "INT64")
    given.set_data_from_numpy(values, **({} if kind in GRPC else {"binary_data": as_bytes}))
    return given


def wanted(kind, names, as_bytes=True):
    """Outputs that are asked for, over HTTP as bytes and as JSON in turn."""
    if names is None:
        return None
    if kind in GRPC:
        return [module(kind).InferRequestedOutput(name) for name in names]
    kinds = [as_bytes if place % 2 == 0 else not as_bytes for place in range(len(names))]
    return [module(kind).InferRequestedOutput(name, binary_data=one) for name, one in zip(names, kinds, strict=True)]


def packed(kind, packing):
    if kind in GRPC:
        return {"compression_algorithm": packing}
    return {"request_compression_algorithm": packing, "response_compression_algorithm": packing}


def strings(found, name):
    return [one.decode() if isinstance(one, bytes) else one for one in found.as_numpy(name)]


def identity(found, kind):
    return found.get_response().id if kind in GRPC else found.get_response()["id"]


WAYS = [(kind, as_bytes) for kind in HTTP for as_bytes in (True, False)] + [(kind, True) for kind in GRPC]
NAMED_WAYS = [f"{kind}-{'bytes' if as_bytes else 'json'}" for kind, as_bytes in WAYS]


@pytest.mark.parametrize("names", ["none", "named", "mixed"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("kind", "as_bytes"), WAYS, ids=NAMED_WAYS)
def test_texts(everything, small, kind, as_bytes, packing, names):
    names = WANTED["text"][names]
    want = load(small["classify"]).predict_batch(TEXTS)
    with connected(kind, everything) as client:
        found = client.infer(
            "classify", [tensor(kind, "text", TEXTS, as_bytes)], outputs=wanted(kind, names, as_bytes), request_id="7",
            **packed(kind, packing),
        )  # fmt: skip
    assert identity(found, kind) == "7"
    assert strings(found, "label") == [one.label for one in want]
    if names is None or "score" in names:
        np.testing.assert_allclose(found.as_numpy("score"), [one.score for one in want], rtol=1e-5)
        assert found.as_numpy("score").dtype == np.float32
    if names is None:
        assert found.as_numpy("scores").shape == (3, 3)
        assert [json.loads(one)["label"] for one in strings(found, "answer")] == [one.label for one in want]
    else:
        assert found.as_numpy("scores") is None


@pytest.mark.parametrize("names", ["none", "named", "mixed"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("kind", "as_bytes"), WAYS, ids=NAMED_WAYS)
def test_numbers(everything, small, kind, as_bytes, packing, names):
    names = WANTED["numbers"][names]
    model = load(small["lm"])
    rows = [model.codec.encode(prompt) for prompt in PROMPTS]
    ids = np.zeros((3, max(map(len, rows))), np.int64)
    for row, own in zip(ids, rows, strict=True):
        row[: len(own)] = own
    with connected(kind, everything) as client:
        found = client.infer(
            "lm",
            [tensor(kind, "tokens", ids, as_bytes)],
            outputs=wanted(kind, names, as_bytes),
            **packed(kind, packing),
        )
    log_p = [one.log_p for one in model.score(PROMPTS, end=False)]
    np.testing.assert_allclose(found.as_numpy("input_log_p"), log_p, rtol=1e-5)
    assert found.as_numpy("input_log_p").dtype == np.float32
    if names is None:
        assert strings(found, "text") == [""] * 3
    else:
        assert found.as_numpy("text") is None


@pytest.mark.parametrize("kind", EVERY)
def test_sequences(everything, small, kind):
    model, state = load(small["lm"]), None
    pieces = ["the ", "cat sat", " on the mat\n", "the dog"]
    for name in (91, f"by name, {kind}"):
        state = None
        with connected(kind, everything) as client:
            for place, piece in enumerate(pieces):
                [read] = model.read([piece], state)
                state = [read.state]
                flags = {"sequence_start": place == 0, "sequence_end": place == len(pieces) - 1}
                found = client.infer("lm", [tensor(kind, "text", [piece])], sequence_id=name, **flags)
                assert found.as_numpy("input_log_p")[0] == pytest.approx(read.log_p, rel=1e-5)
            with pytest.raises(failure(), match="is not there"):
                client.infer("lm", [tensor(kind, "text", ["x"])], sequence_id=name)


@pytest.mark.parametrize("kind", EVERY)
def test_errors(everything, kind):
    text = tensor(kind, "text", ["a great film"])
    wrong = tensor(kind, "txt", np.zeros((1, 2), np.int64))
    unknown = wanted(kind, ["nothing"])
    with connected(kind, everything) as client:
        for model, given, options, status, words in (
            ("nobody", text, {}, ("404", "StatusCode.NOT_FOUND"), "not loaded"),
            ("classify", text, {"model_version": "9"}, ("404", "StatusCode.NOT_FOUND"), "version 1"),
            ("classify", wrong, {}, ("400", "StatusCode.INVALID_ARGUMENT"), "is unknown"),
            ("classify", text, {"outputs": unknown}, ("400", "StatusCode.INVALID_ARGUMENT"), "'nothing' is unknown"),
            ("classify", text, SEQUENCE, ("422", "StatusCode.INVALID_ARGUMENT"), "whole texts"),
            ("lm", text, {"sequence_id": 12345}, ("409", "StatusCode.FAILED_PRECONDITION"), "is not there"),
        ):  # fmt: skip
            with pytest.raises(failure(), match=words) as caught:
                client.infer(model, [given], **options)
            assert caught.value.status() in status
        assert strings(client.infer("classify", [text]), "label"), "the client goes on"


@pytest.mark.parametrize("kind", EVERY)
def test_what_they_ask_besides(small, kind, tmp_path):
    shutil.copy(small["tag"], tmp_path / "other.gw")
    with running([small["classify"]], rpc=True, folder=tmp_path) as service, connected(kind, service) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("classify")
        assert not client.is_model_ready("nobody")
        told = {
            "server": client.get_server_metadata(),
            "model": client.get_model_metadata("classify"),
            "config": client.get_model_config("classify", "1"),
            "index": client.get_model_repository_index(),
            "all": client.get_inference_statistics(),
            "one": client.get_inference_statistics("classify"),
        }
        if kind in GRPC:
            assert "sequence" in told["server"].extensions
            [text] = told["model"].inputs
            assert (told["model"].name, text.name, text.datatype, list(text.shape)) == (
                "classify",
                "text",
                "BYTES",
                [-1],
            )
            config = told["config"].config
            assert (config.name, config.input[0].data_type, list(config.output[2].dims)) == ("classify", 13, [-1, 3])
            states = {one.name: one.state for one in told["index"].models}
            assert told["all"].model_stats[0].name == "classify"
            assert told["one"].model_stats[0].version == "1"
        else:
            assert "binary_tensor_data" in told["server"]["extensions"]
            assert (told["model"]["name"], told["model"]["inputs"][0]["shape"]) == ("classify", [-1])
            assert told["config"]["name"] == "classify"
            states = {one["name"]: one["state"] for one in told["index"]}
            assert told["all"]["model_stats"][0]["name"] == "classify"
            assert told["one"]["model_stats"][0]["version"] == "1"
            assert client.get_system_shared_memory_status() == client.get_cuda_shared_memory_status() == []
            assert client.update_trace_settings(settings={"trace_level": ["OFF"]}) == {"trace_level": ["OFF"]}
            assert client.get_trace_settings("classify") == client.get_log_settings() == {}
        assert states == {"classify": "READY", "other": "UNAVAILABLE"}
        client.load_model("other")
        assert client.is_model_ready("other")
        assert json.loads(strings(client.infer("other", [tensor(kind, "text", ["a b"])]), "tags")[0])
        client.unload_model("other")
        assert not client.is_model_ready("other")
        client.load_model("classify")
        assert client.is_model_ready("classify", "2")
        for what in (client.load_model, client.unload_model):
            with pytest.raises(failure(), match="nobody"):
                what("nobody")
        with pytest.raises(failure(), match="not taken"):
            client.load_model("classify", config="{}")


@pytest.mark.parametrize("kind", EVERY)
def test_eight_clients_at_once(everything, small, kind):
    model = load(small["translate"])
    words = ["red cat", "dog runs", "blue", "green dog cat runs", "cat cat", "runs", "cat", "red red"]
    want = {word: model.predict(word).text for word in words}

    def ask(word):
        with connected(kind, everything) as client:
            return [strings(client.infer("translate", [tensor(kind, "text", [word])]), "text")[0] for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        for word, got in zip(words, pool.map(ask, words), strict=True):
            assert got == [want[word]] * 10


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_requests_that_are_not_waited_for(everything, small, kind):
    model = load(small["classify"])
    client = module(kind)
    port = everything.grpc_port if kind in GRPC else everything.port
    options = {} if kind in GRPC else {"concurrency": 4}
    with client.InferenceServerClient(f"127.0.0.1:{port}", **options) as service:
        if kind in GRPC:
            waiting = []
            for text in TEXTS:
                waiting.append(Future())

                def done(result, error, own=waiting[-1]):
                    own.set_exception(error) if error is not None else own.set_result(result)

                service.async_infer("classify", [tensor(kind, "text", [text])], done)
            found = [one.result(timeout=30) for one in waiting]
        else:
            waiting = [service.async_infer("classify", [tensor(kind, "text", [text])]) for text in TEXTS]
            found = [one.get_result() for one in waiting]
    assert [strings(one, "label")[0] for one in found] == [model.predict(text).label for text in TEXTS]


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_stream_that_is_awaited(everything, small, packing):
    """`stream_infer` of grpc.aio; `test_rpc` has the other client's."""
    kind = "grpc.aio"
    model = load(small["translate"])
    words = ["red cat", "dog runs", "blue"]

    async def requests():
        for word in words:
            yield {"model_name": "translate", "inputs": [tensor(kind, "text", [word])], "request_id": word}
        yield {"model_name": "nobody", "inputs": [tensor(kind, "text", ["x"])]}
        yield {"model_name": "translate", "inputs": [tensor(kind, "text", ["cat"])], "request_id": "after"}

    async def ask():
        async with module(kind).InferenceServerClient(f"127.0.0.1:{everything.grpc_port}") as client:
            return [one async for one in client.stream_infer(requests(), compression_algorithm=packing)]

    *answers, failed, after = asyncio.run(ask())
    assert [strings(one, "text")[0] for one, error in answers if error is None] == [
        model.predict(word).text for word in words
    ]
    assert "not loaded" in str(failed[1])
    assert strings(after[0], "text") == [model.predict("cat").text]
