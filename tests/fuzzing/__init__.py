"""Requests that are nearly right, made from a seed: what a service must answer whatever comes.

http    requests of the protocol and of the friendly door, with JSON, lengths, shapes, packing, headers or bytes changed
rpc     messages with values at the edge of their types, and with bytes changed
frames  of a WebSocket, with their bits, lengths and payloads changed

Each makes one (`make`), and sends one (`check`), which raises Wrong unless the answer is one that clients can read, and
a good request after it is answered. The same seed gives the same request. Here is what they share.
"""

from __future__ import annotations

import json
import socket
from random import Random
from typing import Any

MODELS = ("classify", "tag", "lm", "translate")
PATIENCE = 60.0
"""Seconds for an answer."""
ODD = (
    None, True, False, 0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, 0.5, -0.0, 1e308, "", "text", "\x00",
    "\ud800", "一只猫", "x" * 300, "a" * 5000, [], {}, [[]], [None], {"": None}, [[[[1]]]], ["a", 1, None, True],
    "1", "true",
)  # fmt: skip


class Wrong(AssertionError):
    """An answer that no client can use, or none."""


def parameters(rng: Random) -> dict[str, Any]:
    known: dict[str, Any] = {
        "binary_data_output": True, "sequence_id": rng.choice((0, 1, "a", -1)), "sequence_start": True,
        "sequence_end": True, "max_tokens": 3, "seed": 1, "temperature": 0.8, "top_k": 2, "threshold": 0.5, "beams": 2,
        "count": 2, "stream": False, "constraint": {"words": ["cat"]}, "timeout": 5, "priority": 1, "stop": ["."],
        "prefix": "a", "no_repeat": 2, "length_penalty": 0.5, "min_p": 0.1, "top_p": 0.9, "split": "never", "allow": {},
        "dictionary": {"a": "b"}, "max_ratio": 1.5, "shortlist": False, "repetition_penalty": 1.2,
    }  # fmt: skip
    found = {name: known[name] for name in known if rng.random() < 0.08}
    for name in found:
        if rng.random() < 0.3:
            found[name] = odd(rng)
    return found


def odd(rng: Random) -> Any:
    """A value that hardly fits anywhere."""
    if rng.random() < 0.03:
        value: Any = rng.choice(([], {}, 1))
        for _ in range(rng.choice((3, 50, 300))):
            value = [value] if rng.random() < 0.7 else {"a": value}
        return value
    return rng.choice(ODD)


def changed(rng: Random, value: Any) -> Any:
    """A tree of JSON with something in it replaced, dropped, doubled or renamed."""
    if rng.random() < 0.1 or not isinstance(value, dict | list) or not value:
        return odd(rng)
    if isinstance(value, dict):
        found = dict(value)
        key = rng.choice(list(found))
        way = rng.random()
        if way < 0.1:
            del found[key]
        elif way < 0.15:
            found[rng.choice(("x", "", "data", "name", "parameters"))] = found.pop(key)
        else:
            found[key] = changed(rng, found[key])
        return found
    items = list(value)
    place = rng.randrange(len(items))
    if rng.random() < 0.15:
        items += items[place:]
    else:
        items[place] = changed(rng, items[place])
    return items


def dumped(rng: Random, value: Any) -> bytes:
    """JSON, sometimes with what JSON does not have."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.03:
        text = text.replace("1", rng.choice(("NaN", "1e999", "-", "01", "Infinity")), 1)
    return text.encode("utf-8", "surrogatepass")


def damaged(rng: Random, data: bytes) -> bytes:
    """Bytes of which some are changed, added, left out or repeated."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, way = rng.randrange(len(found) + 1), rng.randrange(6)
        if way == 0 and place < len(found):
            found[place] ^= 1 << rng.randrange(8)
        elif way == 1 and place < len(found):
            found[place] = rng.choice((0, 0x7F, 0x80, 0xFF, 0x22, 0x7B, rng.randrange(256)))
        elif way == 2:
            found[place:place] = rng.randbytes(rng.randint(1, 8))
        elif way == 3:
            del found[place : place + rng.randint(1, 8)]
        elif way == 4:
            found[place:place] = found[place : place + rng.randint(1, 40)]
        elif rng.random() < 0.3:
            del found[place:]
    return bytes(found)


class Reader:
    """What comes back on a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._held = sock, b""

    def until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            self._held += self._more()
        found, _, self._held = self._held.partition(mark)
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._held += self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _more(self) -> bytes:
        part = self._sock.recv(65536)
        if not part:
            raise EOFError(f"the connection ends after {self._held[:80]!r}")
        return part
