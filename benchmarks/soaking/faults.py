"""What goes wrong on purpose: clients that leave, lie, send too much, or nothing that has a meaning.

Each knows what it must be told; nothing of it may cost another request its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json

import grpc
import grpc.aio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.soaking.client import head
from benchmarks.soaking.traffic import SERVICE, asked, tensors
from benchmarks.soaking.world import World, check

LONG = {"prompt": "the", "options": {"max_tokens": 2000, "stop": "never written"}, "stream": True}
GONE = (OSError, EOFError)


def _request(world: World, text: str = "a good film") -> bytes:
    body = json.dumps({"text": text}).encode()
    return head("POST", f"/v1/models/{world.names['classify']}/predict", len(body)) + body


async def killed_sending(world: World) -> None:
    """Gone in the middle of a request."""
    whole = _request(world, "a " * 200)
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        connection.writer.write(whole[: world.rng.randrange(len(whole))])
        await asyncio.sleep(world.rng.uniform(0, 0.05))
        connection.kill()


async def killed_waiting(world: World) -> None:
    """Gone before the answer has come: of one that is quick, or one that takes long."""
    name = world.names[world.rng.choice(("classify", "tag", "translate"))]
    body = tensors([world.rng.choice(world.truth.texts) for _ in range(4)])
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        connection.writer.write(head("POST", f"/v2/models/{name}/infer", len(body)) + body)
        await asyncio.sleep(world.rng.uniform(0, 0.02))
        connection.kill()


async def killed_streaming(world: World) -> None:
    """Gone in the middle of server-sent events."""
    body = json.dumps(LONG).encode()
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        connection.writer.write(head("POST", f"/v1/models/{world.names['lm']}/generate", len(body)) + body)
        status, _ = await connection.begin()
        check(status == 200, status, 200)
        async for _ in connection.chunks():
            break
        connection.kill()


async def killed_socket(world: World) -> None:
    """Gone from a WebSocket while a language model writes on it."""
    await world.pace.turn()
    async with connect(f"ws://127.0.0.1:{world.port}/v1/models/{world.names['lm']}/stream") as socket:
        await socket.send(json.dumps({"text": "the", "options": LONG["options"]}))
        await socket.recv()
        socket.transport.abort()


async def killed_call(world: World) -> None:
    """A gRPC call, or a stream, that is given up; or the whole channel."""
    await world.pace.turn()
    data = asked(world.names["lm"], ["the"], stream=True, max_tokens=2000)
    if world.rng.random() < 0.5:
        stream = world.channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(timeout=50)
        await stream.write(data)
        await stream.read()
        stream.cancel()
        return
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.grpc_port}") as channel:
        stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(timeout=50)
        await stream.write(data)
        await stream.read()


async def cancelled_call(world: World) -> None:
    """A gRPC call whose time is up before it is answered."""
    await world.pace.turn()
    method = world.channel.unary_unary(f"{SERVICE}/ModelInfer")
    with contextlib.suppress(grpc.aio.AioRpcError):
        await method(asked(world.names["translate"], ["ein Hund"]), timeout=0.001)


async def too_large(world: World) -> None:
    """Bodies beyond the limit: said so, in parts, packed, over gRPC, over a WebSocket."""
    path, most = f"/v1/models/{world.names['classify']}/predict", world.body_bytes
    await world.pace.turn()
    way = world.rng.randrange(5)
    if way == 0:
        async with world.pool.connection(fresh=True) as connection:
            connection.writer.write(head("POST", path, most + 1))
            check((await connection.reply()).status == 413, "no 413")
    elif way == 1:
        async with world.pool.connection(fresh=True) as connection:
            part = b"%x\r\n%s\r\n" % (most // 4, b" " * (most // 4))
            connection.writer.write(head("POST", path, None, {"Transfer-Encoding": "chunked"}))
            with contextlib.suppress(OSError):  # the service need not read what it has refused
                for _ in range(5):
                    connection.writer.write(part)
                    await connection.writer.drain()
            with contextlib.suppress(*GONE):
                check((await connection.reply()).status == 413, "no 413")
    elif way == 2:
        bomb = gzip.compress(b" " * (most + 1))
        async with world.pool.connection() as connection:
            reply = await connection.ask("POST", path, bomb, {"Content-Encoding": "gzip"})
            check(reply.status == 413, reply, 413)
    elif way == 3:
        try:
            method = world.channel.unary_unary(f"{SERVICE}/ModelInfer")
            await method(asked(world.names["classify"], ["x" * (most + 1)]), timeout=50)
        except grpc.aio.AioRpcError as error:
            check(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error)
        else:
            check(False, "an answer", "RESOURCE_EXHAUSTED")
    else:
        async with connect(f"ws://127.0.0.1:{world.port}/v1/models/{world.names['classify']}/stream") as socket:
            with contextlib.suppress(ConnectionClosed):
                await socket.send(json.dumps({"text": "x" * most}))
                await socket.recv()
            check(socket.close_code in (1009, 1006), socket.close_code, 1009)


async def malformed(world: World) -> None:
    """Bodies and paths that mean nothing; each is told so, and the connection goes on."""
    name = world.names["classify"]
    predict, infer = f"/v1/models/{name}/predict", f"/v2/models/{name}/infer"
    wrong = [
        (predict, b"{", 400), (predict, b"\xff\xfe", 400), (predict, b"[" * 5000, 400),
        (predict, b'{"text": NaN}', 400), (predict, b'{"text": 3}', 422), (predict, b'{"texts": ["a", 3]}', 422),
        (predict, b'{"text": "a", "x": 1}', 422), (predict, b'{"text": "%s"}' % (b"x" * 200_000), 422),
        (predict, b'{"text": "a", "options": {"top_k": -1}}', 422),
        (infer, b"{}", 400), (infer, b'{"inputs": [{"name": "text"}]}', 400), (infer, tensors(["a"])[:-1], 400),
        (infer, tensors(["a"]).replace(b"[1]", b"[7]"), 400), (infer, tensors(["a"], sequence_id=-5), 422),
        ("/v1/models/nobody/predict", b"{}", 404), ("/v2/repository/models/nobody/load", b"{}", 404),
        ("/v9", b"", 404),
    ]  # fmt: skip
    path, body, status = world.rng.choice(wrong)
    await world.pace.turn()
    async with world.pool.connection() as connection:
        reply = await connection.ask("POST", path, body)
        check(reply.status == status, reply, status)
        check(set(reply.json) == {"error"}, reply)


async def no_http(world: World) -> None:
    """What is no HTTP, or more of it than is read."""
    name = world.names["classify"]
    told = [
        (b"x\r\n\r\n", b" 400 "), (b"\x16\x03\x01\x02\x00\x01" + b"\0" * 40 + b"\r\n\r\n", b" 400 "),
        (head("POST", f"/v1/models/{name}/predict", None, {"x": "y" * 70_000}), b" 431 "),
        (b"".join([b"GET / HTTP/1.1\r\n", *(b"x-%d: y\r\n" % n for n in range(9000))]), b" 431 "),
        (_request(world) + b"nonsense\r\n\r\n", b" 200 "),
    ]  # fmt: skip
    data, status = world.rng.choice(told)
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        connection.writer.write(data)
        with contextlib.suppress(ConnectionResetError):
            line = await connection.reader.readline()
            check(status in line, line, status)


async def half_closed(world: World) -> None:
    """A client that closes its side, with a request that is whole, or cut."""
    whole = _request(world)
    data, status = world.rng.choice(((whole, b"200"), (whole[:-5], b"400"), (whole[:20], b"400"), (b"", b"")))
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        connection.writer.write(data)
        connection.writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            got = await connection.reader.read()
            check(got[9:12] == status, got, status)


async def slow_head(world: World) -> None:
    """A head that never ends: the service closes the connection."""
    await world.pace.turn()
    async with world.pool.connection(fresh=True) as connection:
        for byte in b"POST /v1/models/x/predict HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaa":
            connection.writer.write(bytes([byte]))
            await asyncio.sleep(0.5)
            if connection.writer.is_closing() or connection.reader.at_eof():
                return
        check(False, "still open after a minute", "closed")


FAULTS = {
    killed_sending: 3, killed_waiting: 4, killed_streaming: 2, killed_socket: 1, killed_call: 1, cancelled_call: 1,
    too_large: 1.5, malformed: 5, no_http: 2, half_closed: 2, slow_head: 0.3,
}  # fmt: skip
"""How often each is chosen, beside `TRAFFIC`."""
