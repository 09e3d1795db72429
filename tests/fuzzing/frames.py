"""WebSocket frames that are nearly right, see `fuzzing`."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
from random import Random
from typing import Any

from fuzzing import PATIENCE, Reader, Wrong, changed, damaged, dumped

TEXT, CLOSE = 1, 8
"""Kinds of frames."""
TALKERS = ("classify", "tag", "lm")


def make(rng: Random) -> tuple[str, bytes, bool]:
    """A model, frames that are nearly right, and whether they end where they say."""
    model = rng.choice(TALKERS)
    said: dict[str, Any] = {"text": rng.choice(("a great film", "the cat sat . a ", ""))}
    if model == "lm":
        said["options"] = {"max_tokens": 2}
    if rng.random() < 0.2:
        said |= {rng.choice(("end", "reset", "x")): True}
    payload = dumped(rng, changed(rng, said) if rng.random() < 0.5 else said)
    payload = damaged(rng, payload) if rng.random() < 0.2 else payload
    whole, found = True, b""
    for number in range(rng.choice((1, 1, 1, 2, 3))):
        own = {} if rng.random() < 0.8 else {
            "fin": rng.random() < 0.7, "bits": rng.choice((0, 0, 0, 1, 2, 4)), "masked": rng.random() < 0.9,
            "opcode": rng.choice((0, 1, 1, 2, 3, 8, 9, 10, 15)),
        }  # fmt: skip
        lie = rng.choice((-1, 1, 200, 2**33, 2**63)) if rng.random() < 0.1 else 0
        found += frame(
            payload[: rng.choice((0, 1, 2, 130, 9999)) if own else None], mask=rng.randbytes(4), lie=lie, **own
        )
        whole = whole and not lie and not number
    return model, damaged(rng, found) if (hurt := rng.random() < 0.15) else found, whole and not hurt


def frame(
    payload: bytes, *, mask: bytes, opcode: int = 1, fin: bool = True, bits: int = 0, masked: bool = True, lie: int = 0
) -> bytes:
    """A frame. `lie` is added to its length, `bits` are those that no extension has."""
    size = max(0, len(payload) + lie)
    first = (fin << 7) | (bits << 4) | opcode
    short = size if size < 126 else 126 if size < 1 << 16 else 127
    head = bytes([first, (masked << 7) | short])
    head += b"" if short < 126 else struct.pack(">H", size) if short == 126 else struct.pack(">Q", size)
    if masked:
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return head + (mask if masked else b"") + payload


def check(port: int, model: str, data: bytes, whole: bool) -> str:
    """What became of a conversation: `answered`, `closed` with a code, `gone`. Raises Wrong."""
    key = base64.b64encode(os.urandom(16)).decode()
    asked = (
        f"GET /v1/models/{model}/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    )
    asked += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    good = {"text": "the last", "options": {"max_tokens": 1}} if model == "lm" else {"text": "the last"}
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(asked.encode())
        reader = Reader(sock)
        if b" 101 " not in reader.until(b"\r\n\r\n"):
            raise Wrong("no WebSocket")
        with contextlib.suppress(OSError):
            sock.sendall(data + frame(json.dumps(good).encode(), mask=b"abcd"))
        return _conversation(sock, reader, whole)


def _conversation(sock: socket.socket, reader: Reader, whole: bool) -> str:
    """Hear what is said until an answer has come, then close; where frames lie, one may wait for the rest of them."""
    answers, code = 0, 0
    sock.settimeout(PATIENCE if whole else 0.3)
    try:
        while not code:
            first, size = reader.exactly(2)
            size = size if size < 126 else int.from_bytes(reader.exactly(2 if size == 126 else 8), "big")
            payload = reader.exactly(size)
            if first & 15 == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
            elif first & 15 == TEXT:
                answers += 1
                if "log says more" in json.loads(payload).get("error", ""):
                    raise Wrong(payload.decode())
                if answers == 1:
                    sock.sendall(frame(b"", mask=b"abcd", opcode=CLOSE))
    except (EOFError, OSError) as error:
        if whole:
            raise Wrong(f"neither an answer nor the end of the conversation: {error!r}") from None
        return "gone"
    if code in (1006, 1011):
        raise Wrong(f"closed with {code}: {payload[2:]!r}")
    return "answered" if answers else f"closed {code}"
