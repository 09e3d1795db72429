"""Good requests over every door; each answer is compared with the runtime's own."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import connect

from benchmarks.soaking.client import Connection, Reply, head
from benchmarks.soaking.truth import TEXTS
from benchmarks.soaking.world import World, check, check_same
from gatework.server import messages
from gatework.server.wire import decode, encode

SERVICE = "/inference.GRPCInferenceService"
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}
TOKENS = 8
"""Written by a language model at most."""
MUCH = 300
"""Files that a slow reader asks for."""
WHOLE = ("classify", "tag", "translate")
"""Kinds that answer whole texts."""


def texts_of(world: World, most: int = 4) -> list[str]:
    """One text, or several."""
    return [world.rng.choice(world.truth.texts) for _ in range(world.rng.randint(1, most))]


def some(world: World) -> str:
    """A model that answers whole texts; translators seldom, as they cost most."""
    return world.names[world.rng.choices(WHOLE, (12, 6, 1))[0]]


async def predict(world: World) -> None:
    """Plain JSON on a kept connection, or on one of its own."""
    name = some(world)
    await world.pace.turn()
    async with world.pool.connection(fresh=world.rng.random() < 0.2) as connection:
        await _predict(world, connection, name)


async def _predict(world: World, connection: Connection, name: str) -> None:
    given = texts_of(world, 3)
    single = len(given) == 1
    body = json.dumps({"text": given[0]} if single else {"texts": given}).encode()
    reply = await connection.ask("POST", f"/v1/models/{name}/predict", body)
    check(reply.status == 200, reply, 200)
    check_same(
        [reply.json["answer"]] if single else reply.json["answers"], [world.truth.answer(name, t) for t in given]
    )


async def several(world: World) -> None:
    """Requests sent behind each other before any answer has come."""
    name, texts = world.names["classify"], [world.rng.choice(world.truth.texts) for _ in range(4)]
    async with world.pool.connection() as connection:
        for text in texts:
            await world.pace.turn()
            body = json.dumps({"text": text}).encode()
            connection.writer.write(head("POST", f"/v1/models/{name}/predict", len(body)) + body)
        for text in texts:
            check_same((await connection.reply()).json, {"answer": world.truth.answer(name, text)})


async def dripping(world: World) -> None:
    """A client whose request comes in small parts."""
    name, text = world.names["classify"], world.rng.choice(world.truth.texts)
    body = json.dumps({"text": text}).encode()
    whole = head("POST", f"/v1/models/{name}/predict", len(body)) + body
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        size = max(1, len(whole) // 6)
        for at in range(0, len(whole), size):
            connection.writer.write(whole[at : at + size])
            await asyncio.sleep(world.rng.uniform(0.05, 0.4))
        check_same((await connection.reply()).json, {"answer": world.truth.answer(name, text)})


async def slow_reading(world: World) -> None:
    """A client that asks for more than the sockets between hold, and lets it lie for a while."""
    request = head("GET", "/page/explain.js", None)
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        connection.writer.transport.pause_reading()
        connection.writer.write(request * MUCH)
        await asyncio.sleep(world.rng.uniform(0.5, 2))
        connection.writer.transport.resume_reading()
        first = await connection.reply()
        check(first.status == 200, first, 200)
        for _ in range(MUCH - 1):
            check((await connection.reply()).body == first.body, "another file", "the same")


def tensors(texts: Sequence[str], **parameters: Any) -> bytes:
    """A request of the protocol in JSON."""
    one = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return json.dumps({"id": "soak", "inputs": [one], "parameters": parameters}).encode()


def outputs_of(reply: Reply) -> tuple[dict[str, Any], str]:
    """Values of each output of an answer in JSON, and the model's version."""
    check(reply.status == 200, reply, 200)
    return {one["name"]: one["data"] for one in reply.json["outputs"]}, reply.json["model_version"]


async def infer(world: World) -> None:
    """The protocol in JSON."""
    name, given = some(world), texts_of(world)
    await world.pace.turn()
    async with world.pool.connection() as connection:
        reply = await connection.ask("POST", f"/v2/models/{name}/infer", tensors(given))
    outputs, _ = outputs_of(reply)
    check_same([json.loads(one) for one in outputs["answer"]], [world.truth.answer(name, text) for text in given])


async def infer_bytes(world: World) -> None:
    """The protocol with tensors behind the JSON, packed or not."""
    name, given = some(world), texts_of(world)
    raw = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in given)
    one = {"name": "text", "datatype": "BYTES", "shape": [len(given)], "parameters": {"binary_data_size": len(raw)}}
    told = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    body, headers = told + raw, {"Inference-Header-Content-Length": str(len(told))}
    packing = world.rng.choice(("", "gzip", "deflate"))
    if packing:
        body = PACKERS[packing](body)
        headers |= {"Content-Encoding": packing, "Accept-Encoding": packing}
    await world.pace.turn()
    async with world.pool.connection() as connection:
        reply = await connection.ask("POST", f"/v2/models/{name}/infer", body, headers)
    check(reply.status == 200, reply, 200)
    plain = zlib.decompress(reply.body, 47) if packing else reply.body
    at = int(reply.headers["inference-header-content-length"])
    for output in json.loads(plain[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        if output["name"] == "answer":
            found = [json.loads(one) for one in _elements(plain[at : at + size])]
            check_same(found, [world.truth.answer(name, text) for text in given])
        at += size
    check(at == len(plain), at, len(plain))


def _elements(raw: bytes) -> list[bytes]:
    found = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        found.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return found


def asked(name: str, texts: Sequence[str], **parameters: Any) -> bytes:
    """A message of ModelInfer."""
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param"}
    contents = {"bytes_contents": [text.encode() for text in texts]}
    one = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "contents": contents}
    own = {key: {kinds[type(value)]: value} for key, value in parameters.items()}
    return encode(messages.INFER, {"model_name": name, "inputs": [one], "parameters": own})


def heard(answered: dict[str, Any], output: str = "answer") -> list[bytes]:
    """Elements of one output of ModelInfer."""
    names = [one["name"] for one in answered["outputs"]]
    return _elements(bytes(answered["raw_output_contents"][names.index(output)]))


async def call(world: World) -> None:
    """gRPC."""
    name, given = some(world), texts_of(world)
    await world.pace.turn()
    method = world.channel.unary_unary(f"{SERVICE}/ModelInfer")
    found = decode(messages.INFERRED, await method(asked(name, given), timeout=50))
    check_same([json.loads(one) for one in heard(found)], [world.truth.answer(name, text) for text in given])


async def call_stream(world: World) -> None:
    """A gRPC stream of some requests, one of them a mistake, and of a language model piece by piece."""
    names = [some(world) for _ in range(3)]
    given = [texts_of(world, 2) for _ in names]
    stream = world.channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(timeout=50)
    for name, texts in zip(names, given, strict=True):
        await world.pace.turn()
        await stream.write(asked(name, texts))
        found = decode(messages.STREAMED, await stream.read())["infer_response"]
        check_same([json.loads(one) for one in heard(found)], [world.truth.answer(name, text) for text in texts])
    await world.pace.turn()
    await stream.write(asked("nobody", ["x"]))
    check("not loaded" in decode(messages.STREAMED, await stream.read()).get("error_message", ""), "no error")
    prompt, seed = world.rng.choice(world.truth.texts), world.rng.randrange(4)
    await stream.write(asked(world.names["lm"], [prompt], stream=True, seed=seed, max_tokens=TOKENS))
    pieces, last = [], False
    while not last:
        found = decode(messages.STREAMED, await stream.read())["infer_response"]
        pieces += heard(found, "text")
        last = found["parameters"]["triton_final_response"].get("bool_param", False)
    wanted = world.truth.continued(world.names["lm"], prompt, seed, TOKENS)
    check(b"".join(pieces).decode() == wanted, b"".join(pieces), wanted)
    await stream.done_writing()


async def socket_answers(world: World) -> None:
    """A WebSocket: an answer to each text, as one types."""
    name, text = world.names["classify"], world.rng.choice(world.truth.texts)
    async with connect(f"ws://127.0.0.1:{world.port}/v1/models/{quote(name)}/stream", compression=None) as socket:
        for size in (len(text) // 2, len(text)):
            await world.pace.turn()
            await socket.send(json.dumps({"text": text[:size]}))
            check_same(json.loads(await socket.recv()), {"answer": world.truth.answer(name, text[:size])})


async def socket_writes(world: World) -> None:
    """A WebSocket on which a language model goes on."""
    name, seed = world.names["lm"], world.rng.randrange(4)
    prompt = world.rng.choice(world.truth.texts)
    async with connect(f"ws://127.0.0.1:{world.port}/v1/models/{quote(name)}/stream") as socket:
        await world.pace.turn()
        await socket.send(json.dumps({"text": prompt, "options": {"seed": seed, "max_tokens": TOKENS}}))
        pieces = []
        while "answer" not in (found := json.loads(await socket.recv())):
            check("piece" in found, found)
            pieces.append(found["piece"])
    check("".join(pieces) == found["answer"]["text"], pieces, found)
    check_same(found["answer"], world.truth.written(name, prompt, seed, TOKENS))


async def events(world: World) -> None:
    """Server-sent events of a language model."""
    name, seed = world.names["lm"], world.rng.randrange(4)
    prompt = world.rng.choice(world.truth.texts)
    body = json.dumps({"prompt": prompt, "options": {"seed": seed, "max_tokens": TOKENS}, "stream": True}).encode()
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        reply = await connection.ask("POST", f"/v1/models/{name}/generate", body)
    check(reply.status == 200, reply, 200)
    *parts, done = [one for one in reply.body.decode().split("\n\n") if one]
    check(done.startswith("event: done\ndata: "), done)
    answer = json.loads(done.partition("data: ")[2])
    check("".join(json.loads(one.removeprefix("data: "))["text"] for one in parts) == answer["text"], parts, answer)
    check_same(answer, world.truth.written(name, prompt, seed, TOKENS))


async def sequence(world: World) -> None:
    """A language model that is told a text piece by piece, over HTTP and gRPC in turn."""
    name, place, seed = world.names["lm"], world.rng.randrange(len(world.truth.scripts)), world.rng.randrange(2)
    pieces, identity = world.truth.scripts[place], world.identity()
    wanted = world.truth.talked(name, place, seed, TOKENS)
    for number, (piece, (log_p, text)) in enumerate(zip(pieces, wanted, strict=True)):
        flags = {"sequence_start": number == 0, "sequence_end": number == len(pieces) - 1}
        parameters = {"sequence_id": identity, "seed": seed, "max_tokens": TOKENS, **flags}
        await world.pace.turn()
        if number % 2:
            method = world.channel.unary_unary(f"{SERVICE}/ModelInfer")
            found = decode(messages.INFERRED, await method(asked(name, [piece], **parameters), timeout=50))
            names = [one["name"] for one in found["outputs"]]
            got = struct.unpack("<f", found["raw_output_contents"][names.index("input_log_p")])[0]
            written = heard(found, "text")[0].decode()
        else:
            async with world.pool.connection() as connection:
                reply = await connection.ask("POST", f"/v2/models/{name}/infer", tensors([piece], **parameters))
            outputs, _ = outputs_of(reply)
            got, written = outputs["input_log_p"][0], outputs["text"][0]
        check_same(got, log_p)
        check(written == text, written, text)


async def running(world: World) -> None:
    """A tagger that is told running text piece by piece."""
    name, place = world.names["tag"], world.rng.randrange(len(world.truth.scripts))
    pieces, identity, found = world.truth.scripts[place], world.identity(), []
    for number, piece in enumerate(pieces):
        flags = {"sequence_start": number == 0, "sequence_end": number == len(pieces) - 1}
        await world.pace.turn()
        async with world.pool.connection() as connection:
            body = tensors([piece], sequence_id=identity, **flags)
            outputs, _ = outputs_of(await connection.ask("POST", f"/v2/models/{name}/infer", body))
        found += [json.loads(one) for one in outputs["answer"]]
    check_same(found, world.truth.tagged(name, place))


async def expiring(world: World) -> None:
    """A sequence that is left until it has expired, and is then told so; others are only left."""
    name, identity = world.names["lm"], world.identity()
    await world.pace.turn()
    async with world.pool.connection() as connection:
        body = tensors(["to be"], sequence_id=identity, sequence_start=True)
        outputs_of(await connection.ask("POST", f"/v2/models/{name}/infer", body))
    if world.rng.random() < 0.5:
        return
    await asyncio.sleep(world.sequence_seconds + 1)
    await world.pace.turn()
    async with world.pool.connection() as connection:
        reply = await connection.ask("POST", f"/v2/models/{name}/infer", tensors(["or"], sequence_id=identity))
    check(reply.status == 409, reply, 409)


async def replaced(world: World) -> None:
    """The model that is replaced all the time: the answer is that of the version which it names."""
    given = texts_of(world, 2)
    await world.pace.turn()
    async with world.pool.connection() as connection:
        outputs, version = outputs_of(await connection.ask("POST", "/v2/models/replaced/infer", tensors(given)))
    which = world.versions[version]
    check_same([json.loads(one) for one in outputs["answer"]], [world.truth.answer(which, text) for text in given])


async def guest(world: World) -> None:
    """The model that is loaded and unloaded: there, or said not to be."""
    [text] = given = texts_of(world, 1)
    await world.pace.turn()
    there, changes = world.guest_there, world.guest_changes
    async with world.pool.connection() as connection:
        reply = await connection.ask("POST", "/v1/models/guest/predict", json.dumps({"texts": given}).encode())
    steady = world.guest_changes == changes
    check(reply.status in (({True: 200, False: 404}[there],) if steady else (200, 404)), reply, there)
    if reply.status == 200:
        check_same(reply.json["answers"], [world.truth.answer(world.names["classify"], text)])


async def told(world: World) -> None:
    """What is asked besides: lists, descriptions, metrics, explanations, scores."""
    classifier, writer = world.names["classify"], world.names["lm"]
    text = world.rng.choice(world.truth.texts[:TEXTS])
    async with world.pool.connection() as connection:
        for path in ("/v1/models", "/metrics", f"/v2/models/{classifier}", f"/v2/models/{classifier}/stats", "/"):
            await world.pace.turn()
            check((await connection.ask("GET", path)).status == 200, path)
        body = json.dumps({"text": text}).encode()
        reply = await connection.ask("POST", f"/v1/models/{classifier}/explain", body)
        check(reply.status == 200, reply, 200)
        reply = await connection.ask("POST", f"/v1/models/{writer}/score", json.dumps({"texts": [text]}).encode())
        check(reply.status == 200, reply, 200)


TRAFFIC = {
    predict: 30, several: 2, dripping: 2, slow_reading: 0.5, infer: 14, infer_bytes: 10, call: 14, call_stream: 2,
    socket_answers: 3, socket_writes: 1.5, events: 2, sequence: 3, running: 2, expiring: 2, replaced: 5, guest: 4,
    told: 1,
}  # fmt: skip
"""How often each is chosen."""
