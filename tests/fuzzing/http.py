"""HTTP requests that are nearly right, see `fuzzing`."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import zlib
from random import Random
from typing import Any, NamedTuple

from fuzzing import MODELS, PATIENCE, Reader, Wrong, changed, damaged, dumped, parameters

GOOD_PATH = "/v1/models/classify/predict"
GOOD = json.dumps({"text": "a great film"}).encode()
ODD_VALUES = (
    "http://[",
    "null",
    "http://localhost",
    "\xff://",
    "Bearer",
    "Bearer \xff",
    "text/event-stream",
    "",
    "100-c",
)
STATUSES = (200, 400, 403, 404, 405, 408, 409, 413, 415, 422, 431, 503)
"""What HTTP may be answered: never 500, and never nothing."""


class Request(NamedTuple):
    """An HTTP request as it is sent. `framed`: its end is where its head says."""

    data: bytes
    framed: bool


def make(rng: Random) -> Request:
    """A request that is nearly right."""
    method, path, body, headers = _asked(rng)
    if rng.random() < 0.15:
        body = damaged(rng, body)
    if rng.random() < 0.12:
        packing = rng.choice(("gzip", "deflate", "br", "identity", "gzip, gzip", "", "\xff"))
        if rng.random() < 0.8:
            body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(packing, bytes)(body)
        body = damaged(rng, body) if rng.random() < 0.4 else body
        headers["Content-Encoding"] = packing
    if rng.random() < 0.1:
        headers["Accept-Encoding"] = rng.choice(("gzip", "deflate", "gzip;q=0", "br", "*", "gzip, deflate", "\xfe"))
    if rng.random() < 0.08:
        headers[rng.choice(("Origin", "Authorization", "Accept", "Cookie", "Expect"))] = rng.choice(ODD_VALUES)
    framed, length = True, str(len(body))
    way = rng.random()
    if way < 0.06:
        framed, length = False, rng.choice((str(len(body) + rng.randint(1, 9)), "0", "-1", "1e3", "9" * 30, "", "0x10"))
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    if 0.06 <= way < 0.12:
        framed, body = _in_parts(rng, body)
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {length}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    if rng.random() < 0.08:
        framed, head = False, damaged(rng, head)
    return Request(head + body, framed)


def _asked(rng: Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, path, body and headers."""
    name = rng.choice((*MODELS * 8, "nobody", "a/b", "%2e%2e", "%ff", "x" * 300))
    way = rng.random()
    if way < 0.7:
        version = rng.choices(("", "/versions/1", "/versions/9", "/versions/%00"), (40, 10, 1, 1))[0]
        path = f"/v2/models/{name}{version}/infer"
        body, headers = _tensors(rng)
        return rng.choices(("POST", "GET", "PUT", "BREW"), (50, 1, 1, 1))[0], path, body, headers
    if way < 0.85:
        what = rng.choice(("predict", "generate", "score", "fill", "rewrite", "explain"))
        return "POST", f"/v1/models/{name}/{what}", dumped(rng, _friendly(rng)), {}
    if way < 0.93:
        identity = rng.choice(("1", "a", "%00", "x" * 300, "%ff%fe", "一"))
        path = f"/v2/models/{name}/sequences/{identity}/state"
        return rng.choice(("GET", "PUT", "DELETE")), path, rng.randbytes(rng.randrange(60)), {}
    path = rng.choice(
        ("/v2/repository/index", "/v2/repository/models/nobody/load", "/v2/repository/models/../x/load", "/v2/logging",
         "/v2/trace/setting", f"/v2/models/{name}/trace/setting", "/v2/models/stats", f"/v2/models/{name}/config",
         "/v2/models//infer", "/v2//", "//", "/v2?x=%ff", "*", "localhost:80", "/v2/models/lm/versions//infer")
    )  # fmt: skip
    return rng.choice(("GET", "POST", "HEAD", "OPTIONS")), path, dumped(rng, changed(rng, {"ready": True})), {}


def _tensors(rng: Random) -> tuple[bytes, dict[str, str]]:
    """A body of `infer`, with its tensor in the JSON or behind it, and the header that says where the JSON ends."""
    texts = [
        rng.choice(("a great film", "", "the cat sat 一只猫", "red cat", "\x00")) for _ in range(rng.randint(0, 3))
    ]
    if rng.random() < 0.25:
        rows = [[rng.randint(1, 9) for _ in range(3)] for _ in texts]
        one: dict[str, Any] = {"name": "tokens", "datatype": "INT64", "shape": [len(rows), 3], "data": rows}
        raw = b"".join(struct.pack("<3q", *row) for row in rows)
    else:
        one = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
        sizes = [
            len(text.encode()) + (rng.choice((-1, 1, 2**31, 2**32 - 9)) if rng.random() < 0.1 else 0) for text in texts
        ]
        raw = b"".join(struct.pack("<I", size % 2**32) + text.encode() for size, text in zip(sizes, texts, strict=True))
    whole: dict[str, Any] = {"id": "7", "inputs": [one], "parameters": parameters(rng), "outputs": _outputs(rng)}
    headers = {}
    behind = rng.random() < 0.5
    if behind:
        del one["data"]
        lie = rng.choice((-1, 1, 10**9, -(10**9), 2**70)) if rng.random() < 0.15 else 0
        one["parameters"] = {"binary_data_size": len(raw) + lie}
    if rng.random() < 0.1:
        one["datatype"] = rng.choice(("FP16", "BF16", "UINT8", "BOOL", "FP64", "INT64", "BYTES"))
    if rng.random() < 0.1:
        one["shape"] = rng.choice(([0], [-1], [2**40], [2**20, 2**20], [], [1, 1], [1] * 9, [1.0], "1", [True]))
    body = dumped(rng, changed(rng, whole) if rng.random() < 0.35 else whole)
    if behind or rng.random() < 0.1:
        length = len(body) + (rng.randint(-9, 9) if rng.random() < 0.15 else 0)
        told = rng.choice(("-1", "0", "", "x", "1.0", "9" * 40, "\xb2", "+3")) if rng.random() < 0.05 else str(length)
        headers["Inference-Header-Content-Length"] = told
        body += raw
    return body, headers


def _outputs(rng: Random) -> list[Any]:
    names = ("label", "score", "scores", "answer", "tags", "text", "log_p", "x")
    return [
        {"name": rng.choice(names), "parameters": {"binary_data": rng.random() < 0.5}}
        for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 0, 1, 2)))
    ]


def _friendly(rng: Random) -> Any:
    whole = {
        "text": rng.choice(("a [[great]] film", "a ___ film", "the cat", "")), "texts": ["a", "b"], "prompt": "the",
        "pairs": [["red cat", "dog"]], "label": "good", "limit": 3, "stream": rng.random() < 0.3,
        "options": {"max_tokens": rng.randint(0, 5), **parameters(rng)},
    }  # fmt: skip
    kept = {name: value for name, value in whole.items() if name in ("text", "prompt") or rng.random() < 0.3}
    kept = {name: value for name, value in kept.items() if rng.random() < 0.7}
    return changed(rng, kept) if rng.random() < 0.6 else kept


def _in_parts(rng: Random, body: bytes) -> tuple[bool, bytes]:
    """A chunked body, and whether its parts are what they say."""
    cut = rng.randint(0, len(body))
    parts = [part for part in (body[:cut], body[cut:]) if part]
    lie = rng.choice((-1, 1, 2**40)) if rng.random() < 0.3 else 0
    data = b"".join(b"%x\r\n%s\r\n" % (max(0, len(part) + lie), part) for part in parts)
    return not lie or not parts, data + b"0\r\n\r\n"


def reply(reader: Reader, method: bytes) -> tuple[int, dict[str, str], bytes]:
    """An answer. Raises Wrong: it is no HTTP; EOFError, OSError: there is none."""
    line, *rest = reader.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    version, status, *_ = line.split(" ")
    if version != "HTTP/1.1" or not status.isdigit():
        raise Wrong(f"no answer of HTTP: {line!r}")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    if method == b"HEAD":
        return int(status), headers, b""
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(reader.until(b"\r\n"), 16):
            body += reader.exactly(size)
            reader.exactly(2)
        reader.until(b"\r\n")
        return int(status), headers, body
    return int(status), headers, reader.exactly(int(headers["content-length"]))


def check(port: int, request: Request) -> int:
    """The status of the answer, 0 where none is owed. Raises Wrong."""
    method = request.data.split(b" ", 1)[0]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(request.data)
        if not request.framed:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        reader = Reader(sock)
        try:
            status, headers, body = reply(reader, method)
        except (EOFError, ConnectionResetError) as error:
            if request.framed:
                raise Wrong(f"no answer: {error}") from None
            return 0
        if status not in STATUSES and not (status == 101 and not request.framed):
            raise Wrong(f"status {status}: {body[:200]!r}")
        _check_body(status, headers, body, method)
        if request.framed and headers.get("connection") != "close":
            _check_good(sock, reader)
    return status


def _check_body(status: int, headers: dict[str, str], body: bytes, method: bytes) -> None:
    if method == b"HEAD" or status == 101:
        return
    if status != 200:
        told = json.loads(body)
        if set(told) != {"error"} or not told["error"]:
            raise Wrong(f"{status} without a sentence: {body[:200]!r}")
        return
    packing = headers.get("content-encoding")
    plain = gzip.decompress(body) if packing == "gzip" else zlib.decompress(body) if packing else body
    if "inference-header-content-length" in headers:
        end = int(headers["inference-header-content-length"])
        sizes = [one.get("parameters", {}).get("binary_data_size", 0) for one in json.loads(plain[:end])["outputs"]]
        if end + sum(sizes) != len(plain):
            raise Wrong(f"tensors of {sizes} behind {end} bytes, but {len(plain)} in all")
    elif headers["content-type"].startswith("application/json"):
        json.loads(plain)


def _check_good(sock: socket.socket, reader: Reader) -> None:
    """A good request on the same connection."""
    sock.sendall(f"POST {GOOD_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD)
    try:
        status, _, body = reply(reader, b"POST")
    except (EOFError, OSError) as error:
        raise Wrong(f"a good request on the same connection: {error!r}") from None
    if status != 200 or "answer" not in json.loads(body):
        raise Wrong(f"a good request on the same connection: {status} {body[:200]!r}")


def check_alive(port: int) -> None:
    """Raises Wrong unless a good request is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        _check_good(sock, Reader(sock))
