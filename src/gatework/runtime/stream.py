"""Running text answered while it comes, in memory that does not grow with it.

A sentence is answered once the next one has begun. One that does not end is answered with a lag: of its tokens those
that are at least a window behind its end so far, up to a place where no span is under way in the best path. They stay
for a while as context, with their tags held, so that what follows is tagged as it would be in the whole: windows lie
where they would lie there, and a path goes on from the tags that were given.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError
from gatework.core.paths import TagPaths
from gatework.core.windows import stride
from gatework.runtime.fed import Fed
from gatework.runtime.tagger import Tagger
from gatework.tasks import Codec

_MAGIC, _VERSION, _WORD = b"GWTS", 1, struct.Struct("<I")
Int32 = npt.NDArray[np.int32]

WINDOWS = 3
"""Windows that a sentence fills before its beginning is answered."""
FORCED = 8
"""Windows after which it is answered though a span is under way wherever it could be cut."""
OFTEN = 2048
"""Characters up to which every new piece is looked at; of more, once they have grown by an eighth."""


class Stream(Fed):
    """A text that comes in pieces. `feed` gives the answers that are due, `end` those that are left."""

    def __init__(self, tagger: Tagger, codec: Codec, options: Mapping[str, Any]) -> None:
        """Raises: ConfigError: an option makes no sense for a stream."""
        if "allow" in options or codec.search([], **options).paths > 1:
            raise ConfigError("stream: top_k and allow are about whole texts. Leave them out, or use predict.")
        super().__init__()
        self._tagger, self._codec, self._options = tagger, codec, options
        self._looked = 0
        """Characters there were when they were last looked at."""
        self._given: list[Int32] = []
        """Tags, for each layer, of the first tokens of `_text`, which are answered and only there as context."""
        self._before, self._tokens = 0, 0
        """Characters of the stream before `_text`, and tokens that are answered."""

    def feed(self, text: str) -> list[Any]:
        """Take in more text, cut anywhere. Returns answers, one a sentence or piece of one, in order; offsets count
        from the start of the stream. Raises: DataError: not a string, or the stream has ended."""
        answers: list[Any] = []
        for part in self._parts(text):
            self._text += part
            if len(self._text) <= OFTEN or len(self._text) - self._looked >= len(self._text) // 8:
                answers += self._answers(ended=False)
                self._looked = len(self._text)
        return answers

    def end(self) -> list[Any]:
        """The answers that are left. Nothing can be fed afterwards."""
        self._check()
        answers = self._answers(ended=True)
        self._close()
        return answers

    @property
    def nbytes(self) -> int:
        """About the bytes in memory that are its own."""
        return 4 * len(self._text) + sum(tags.nbytes for tags in self._given)

    def to_bytes(self) -> bytes:
        """The stream so far, to go on with later or elsewhere: "GWTS", little-endian uint32 version 1, JSON, and the
        CRC-32 of all before. Raises DataError: it has ended."""
        self._check()
        values = {
            "text": self._text,
            "looked": self._looked,
            "before": self._before,
            "tokens": self._tokens,
            "given": [tags.tolist() for tags in self._given],
            "threshold": self._options.get("threshold"),
        }
        head = _MAGIC + _WORD.pack(_VERSION) + json.dumps(values).encode()
        return head + _WORD.pack(zlib.crc32(head))

    @classmethod
    def from_bytes(cls, tagger: Tagger, codec: Codec, data: bytes) -> Stream:
        """Read what `to_bytes` wrote. Raises DataError: it is something else, changed, or of another model."""
        values = _values(bytes(data))
        threshold = values["threshold"]
        stream = cls(tagger, codec, {} if threshold is None else {"threshold": threshold})
        stream._text, stream._looked = values["text"], values["looked"]
        stream._before, stream._tokens = values["before"], values["tokens"]
        stream._given = [np.array(tags, dtype=np.int32) for tags in values["given"]]
        layers = tagger.architecture.layers
        parts = codec.parts(codec.encode(stream._text)) if stream._given else ()
        fits = not stream._given or (
            len(stream._given) == len(layers)
            and len({len(tags) for tags in stream._given}) == 1
            and bool(parts)
            and 0 < len(stream._given[0]) <= len(parts[0].tokens)
            and all(0 <= tags.min() <= tags.max() < most for tags, most in zip(stream._given, layers, strict=True))
        )
        if not fits:
            raise DataError("The state is not one of this model's streams. Start without it.")
        return stream

    def _answers(self, *, ended: bool) -> list[Any]:
        example = self._codec.encode(self._text)
        parts = list(self._codec.parts(example))
        whole = len(parts) if ended else len(parts) - 1
        answers = []
        for number, part in enumerate(parts[: max(0, whole)]):
            paths = self._tagger.follow(self._codec, part, self._given)
            answers += self._answer(example, number, paths, len(self._given[0]) if self._given else 0, len(part.tokens))
            self._given = []
        if not ended and parts:
            if whole:
                self._drop(self._codec.excerpt(example, whole, 0, 1).start)
                return answers + self._answers(ended=False)
            answers += self._lagging(example, parts[0])
        return answers

    def _lagging(self, example: Any, part: Any) -> list[Any]:
        """Answers for the beginning of a sentence that has not ended."""
        most, length = self._tagger.architecture.window, len(part.tokens)
        if length < WINDOWS * most:
            return []
        paths = self._tagger.follow(self._codec, part, self._given, ended=False)
        first = len(self._given[0]) if self._given else 0
        last = self._place(paths, first, length - most, forced=length > FORCED * most)
        if last <= first:
            return []
        answers = self._answer(example, 0, paths, first, last)
        dropped = max(0, last - most) // stride(most) * stride(most)
        self._given = [path.tags_NT[0, dropped:last] for path in paths]
        self._drop(self._codec.excerpt(example, 0, dropped, last).start)
        return answers

    def _place(self, paths: list[TagPaths], first: int, last: int, *, forced: bool) -> int:
        """The last token up to `last` at which no span of any layer is under way; `first` where there is none."""
        for place in range(last, first, -1):
            if all(
                allowed is None
                or (allowed.end_K[path.tags_NT[0, place - 1]] and allowed.start_K[path.tags_NT[0, place]])
                for path, allowed in zip(paths, self._codec.constraints, strict=False)
            ):
                return place
        return last if forced else first

    def _answer(self, example: Any, number: int, paths: list[TagPaths], first: int, last: int) -> list[Any]:
        """The answer for tokens `first` to `last` of a part; none where there are none."""
        if first >= last:
            return []
        some = self._codec.excerpt(example, number, first, last)
        kept = [
            TagPaths(path.tags_NT[:, first:last], path.log_p_N, path.p_T[first:last], _steps(path, first, last))
            for path in paths
        ]
        [answer] = self._codec.decode([[kept]], [some.encoded], **self._options)
        moved = self._codec.moved(answer, self._before + some.start, self._tokens)
        self._tokens += last - first
        return [moved]

    def _drop(self, characters: int) -> None:
        self._text, self._before = self._text[characters:], self._before + characters


def _values(raw: bytes) -> dict[str, Any]:
    """What the bytes of a stream hold. Raises DataError."""
    if len(raw) < 12 or raw[:4] != _MAGIC:
        raise DataError("These bytes are no state of running text. Give what Stream.to_bytes returned.")
    (version,), (check,) = _WORD.unpack_from(raw, 4), _WORD.unpack_from(raw, len(raw) - 4)
    if version != _VERSION:
        raise DataError(f"A state of version {version}, but this gatework reads {_VERSION}. Update it.")
    if check != zlib.crc32(raw[:-4]):
        raise DataError("A state's checksum is wrong: its bytes were changed, or cut.")
    try:
        values = json.loads(raw[8:-4])
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not _sound(values):
        raise DataError("A state of running text is not what Stream.to_bytes writes.")
    return values


def _sound(values: Mapping[str, Any]) -> bool:
    """Whether a stream's values have the right types and ranges."""
    if set(values) != {"text", "looked", "before", "tokens", "given", "threshold"}:
        return False
    threshold, given = values["threshold"], values["given"]
    return (
        isinstance(values["text"], str)
        and all(type(values[name]) is int and 0 <= values[name] < 1 << 62 for name in ("looked", "before", "tokens"))
        and (threshold is None or (type(threshold) in (int, float) and 0.0 <= threshold <= 1.0))
        and isinstance(given, list)
        and all(isinstance(tags, list) for tags in given)
        and all(type(tag) is int and 0 <= tag < 1 << 31 for tags in given for tag in tags)
    )


def _steps(path: TagPaths, first: int, last: int) -> npt.NDArray[np.float32]:
    """Steps of a piece of a path: the first has no tag before it."""
    step_T = path.step_T[first:last].copy()
    step_T[0] = path.p_T[first]
    return step_T
