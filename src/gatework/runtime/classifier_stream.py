"""A text that comes in pieces, classified as far as it has come, in memory that does not grow with it.

For networks that read forward alone: what they have gathered of the text so far (`reading`) is kept, and of the text
itself only its end, whose tokens what follows may still change. Up to the window of training an answer is that of the
whole text so far; of a longer text, which `predict` reads in windows one by one, the state goes on.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from gatework.core.errors import ConfigError, DataError
from gatework.core.windows import cut
from gatework.kernels import RecurrentState
from gatework.runtime.fed import Fed
from gatework.runtime.network import Network
from gatework.runtime.reading import Reading
from gatework.tasks import Codec

_MAGIC, _VERSION, _HEAD = b"GWCS", 1, struct.Struct("<4sII")

OPEN = 8
"""Tokens at the end of a text that are not settled: more letters, or the rest of a tag, may make others of them."""
LONGEST = 1 << 12
"""Characters after which tokens are settled although nothing parts them from those before; after twice as many all,
though one be cut."""
STOPS = "。，！？；：、"
"""After these, and after blanks, tokens stand apart in every unit."""


class ClassifierStream(Fed):
    """See the module. `feed` answers for the text so far."""

    def __init__(self, network: Network, codec: Codec, options: Mapping[str, Any]) -> None:
        """`network` is one that does not read ahead; `codec` is a `tasks.classify.ClassifyCodec`: of it `text` is
        asked, a `text.TextCodec`. Raises: ConfigError: an option is unknown."""
        super().__init__()
        self._network, self._codec, self._options = network, codec, dict(options)
        own: Any = codec
        self._units = own.text
        self._read = network.begin()
        self._context = 0
        """How many tokens of `_text`, the end of the text, are read already, and only there as context."""
        self._answer()  # tells of options that are none

    def feed(self, text: str) -> list[Any]:
        """Take in more text, cut anywhere. Returns one answer, for the text so far. Raises: DataError: not a string, or
        the stream has ended."""
        for part in self._parts(text):
            self._text += part
            self._settle()
        return [self._answer()]

    def end(self) -> list[Any]:
        """Nothing: the last `feed` has answered for all of the text. Nothing can be fed afterwards."""
        self._check()
        self._close()
        return []

    @property
    def nbytes(self) -> int:
        """About the bytes in memory that are its own."""
        return 4 * len(self._text) + self._read.nbytes

    def to_bytes(self) -> bytes:
        """The stream so far, to go on with later or elsewhere: "GWCS", little-endian uint32 version 1 and length of
        JSON, the JSON, the CRC-32 of all before, and a `kernels.RecurrentState` as its own bytes. Raises DataError: it
        has ended."""
        self._check()
        values = {"text": self._text, "context": self._context, "read": None, "options": self._options}
        if self._read.tokens:
            values["read"] = self._read.to_dict()
        body = json.dumps(values).encode()
        head = _HEAD.pack(_MAGIC, _VERSION, len(body)) + body
        return head + struct.pack("<I", zlib.crc32(head)) + self._read.state.to_bytes()

    @classmethod
    def from_bytes(cls, network: Network, codec: Codec, data: bytes) -> ClassifierStream:
        """Read what `to_bytes` wrote. Raises DataError: it is something else, changed, or of another model."""
        values, state = _values(bytes(data))
        try:
            stream = cls(network, codec, values["options"])
        except (ConfigError, TypeError, ValueError):
            raise DataError("A state's options are none of this model's. Start without it.") from None
        read = values["read"]
        rows = network.architecture.ngram_rows
        if read is not None:
            stream._read = stream._read.with_values(read, state, most_rows=rows)
        stream._text, stream._context = values["text"], values["context"]
        count = len(stream._units.offsets(stream._text))
        if stream._context > min(count, stream._read.tokens):
            raise DataError("The state is not one of this model's streams. Start without it.")
        return stream

    def _answer(self) -> Any:
        """For all that has come, as if it ended here."""
        rest, read = self._codec.encode(self._text), self._read
        empty = rest.empty and not read.tokens
        if empty or not rest.empty:
            read = self._with(rest, self._context)
        [answer] = self._codec.decode(self._network.said(read), [rest._replace(empty=empty)], **self._options)
        return answer

    def _with(self, encoded: Any, first: int) -> Reading:
        """What is gathered with the tokens from `first` on."""
        if first >= len(encoded.tokens):
            return self._read
        batch = self._codec.collate([cut(encoded, first, len(encoded.tokens))])
        return self._network.read_on(self._read, batch)

    def _settle(self) -> None:
        """Read what cannot change any more, and keep of it what later n-grams look at."""
        offsets, surfaces = self._units.offsets(self._text), self._units.surfaces(self._text)
        forced = len(self._text) > 2 * LONGEST
        settled = len(offsets) if forced else self._place(offsets, len(offsets) - OPEN, self._context)
        if settled <= self._context:
            return
        start = max(0, self._place(offsets, settled - self._units.reach, -1))
        kept = self._text[_begin(self._text, offsets[start][0]) :]
        if forced or self._units.surfaces(kept) != surfaces[start:]:
            if len(self._text) <= LONGEST:
                return  # cut there, the rest would be other tokens: wait for a better place
            start, kept = settled, self._text[_begin(self._text, offsets[settled][0]) :] if not forced else ""
        self._read = self._with(self._units.encode_tokens(surfaces[:settled]), self._context)
        self._text, self._context = kept, settled - start

    def _place(self, offsets: Sequence[tuple[int, int]], last: int, first: int) -> int:
        """The last token up to `last`, but after `first`, that stands apart from those before it; `first` if none."""
        text, anywhere = self._text, self._units.cuts_alone or len(self._text) > LONGEST
        for place in range(last, first, -1):
            if place == 0:
                return 0
            start = offsets[place][0]
            if not text[start].isspace() if anywhere else offsets[place - 1][1] < start or text[start - 1] in STOPS:
                return place
        return first


def _begin(text: str, place: int) -> int:
    """Where a token's text begins, with the blank before it, which tells some units that a word begins."""
    return place - 1 if place and text[place - 1].isspace() else place


def _values(raw: bytes) -> tuple[dict[str, Any], RecurrentState]:
    """What the bytes of a stream hold. Raises DataError."""
    if len(raw) < _HEAD.size or raw[:4] != _MAGIC:
        raise DataError("These bytes are no state of a classifier's stream. Give what its to_bytes returned.")
    _, version, length = _HEAD.unpack_from(raw)
    if version != _VERSION:
        raise DataError(f"A state of version {version}, but this gatework reads {_VERSION}. Update it.")
    end = _HEAD.size + length
    if len(raw) < end + 4 or struct.unpack_from("<I", raw, end)[0] != zlib.crc32(raw[:end]):
        raise DataError("A state's checksum is wrong: its bytes were changed, or cut.")
    try:
        values = json.loads(raw[_HEAD.size : end])
    except (ValueError, RecursionError):
        values = None
    if (
        not isinstance(values, dict)
        or set(values) != {"text", "context", "read", "options"}
        or not isinstance(values["text"], str)
        or not isinstance(values["options"], dict)
        or type(values["context"]) is not int
        or values["context"] < 0
    ):
        raise DataError("A state of a classifier's stream is not what its to_bytes writes.")
    return values, RecurrentState.from_bytes(raw[end + 4 :])
