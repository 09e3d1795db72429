"""Running text answered while it comes, in memory that does not grow with it.

A sentence is answered once the next one has begun. One that does not end is answered with a lag: of its tokens those
that are at least a window behind its end so far, up to a place where no span is under way in the best path. They stay
for a while as context, with their tags held, so that what follows is tagged as it would be in the whole: windows lie
where they would lie there, and a path goes on from the tags that were given.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, DataError
from gatework.core.paths import TagPaths
from gatework.core.windows import stride
from gatework.runtime.tagger import Tagger
from gatework.tasks import Codec

Int32 = npt.NDArray[np.int32]

AT_ONCE = 1 << 14
"""Characters taken in at once, of a longer text one piece after the other."""
WINDOWS = 3
"""Windows that a sentence fills before its beginning is answered."""
FORCED = 8
"""Windows after which it is answered though a span is under way wherever it could be cut."""
OFTEN = 2048
"""Characters up to which every new piece is looked at; of more, once they have grown by an eighth."""


class Stream:
    """A text that comes in pieces. `feed` gives the answers that are due, `end` those that are left."""

    def __init__(self, tagger: Tagger, codec: Codec, options: Mapping[str, Any]) -> None:
        """Raises: ConfigError: an option makes no sense for a stream."""
        if "allow" in options or codec.search([], **options).paths > 1:
            raise ConfigError("stream: top_k and allow are about whole texts. Leave them out, or use predict.")
        self._tagger, self._codec, self._options = tagger, codec, options
        self._text = ""
        self._looked = 0
        """Characters there were when they were last looked at."""
        self._given: list[Int32] = []
        """Tags, for each layer, of the first tokens of `_text`, which are answered and only there as context."""
        self._before, self._tokens = 0, 0
        """Characters of the stream before `_text`, and tokens that are answered."""
        self._open = True

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open, self._text = False, ""

    def feed(self, text: str) -> list[Any]:
        """Take in more text, cut anywhere. Returns answers, one a sentence or piece of one, in order; offsets count
        from the start of the stream. Raises: DataError: not a string, or the stream has ended."""
        if not isinstance(text, str):
            raise DataError(f"stream: feed takes a string, got {type(text).__name__}.")
        self._check()
        answers: list[Any] = []
        for at in range(0, len(text), AT_ONCE):
            self._text += text[at : at + AT_ONCE]
            if len(self._text) <= OFTEN or len(self._text) - self._looked >= len(self._text) // 8:
                answers += self._answers(ended=False)
                self._looked = len(self._text)
        return answers

    def end(self) -> list[Any]:
        """The answers that are left. Nothing can be fed afterwards."""
        self._check()
        answers = self._answers(ended=True)
        self._open, self._text = False, ""
        return answers

    def _check(self) -> None:
        if not self._open:
            raise DataError("stream: it has ended. Begin another one with model.stream().")

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


def _steps(path: TagPaths, first: int, last: int) -> npt.NDArray[np.float32]:
    """Steps of a piece of a path: the first has no tag before it."""
    step_T = path.step_T[first:last].copy()
    step_T[0] = path.p_T[first]
    return step_T
