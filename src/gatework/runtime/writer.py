"""Writing with a language model: prompts in, texts out, in batches, as they come, or by searching.

A text goes on from its state, so memory does not grow with it beyond its own ids.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np

from gatework.core import interrupt
from gatework.core.errors import ConfigError
from gatework.kernels import RecurrentState
from gatework.kernels.automaton import Pieces
from gatework.kernels.generation import GOING, REASONS, Generator, Order, Writing
from gatework.kernels.sampling import row_seed
from gatework.runtime.beams import search
from gatework.runtime.language_model import LanguageModel
from gatework.runtime.language_state import LanguageState
from gatework.runtime.writing import Constraints, Generated, Options, Read, Scored

TOGETHER = 64
"""Texts written at once."""
STEPS = 256
"""Tokens of each between looks at the world outside."""
STEPS_OF_STREAM = 8


class Writer:
    """A language model with its text codec. Any threads may share it."""

    def __init__(self, model: LanguageModel, text: Any) -> None:
        """`text` is a `text.running.RunningCodec`."""
        self._model, self.text = model, text
        # What is unknown is read but never written.
        pieces = Pieces([b"" if id_ == text.unknown else raw for id_, raw in enumerate(text.raw)], spaced=text.spaced)
        self._candidates = [id_ for id_ in range(1, text.vocabulary) if id_ != text.unknown]
        self._constraints = Constraints(pieces)
        self.raw, self.spaced = text.raw, text.spaced
        self._generator: Generator | None = None
        self._lock = Lock()

    def generate(
        self, prompts: Sequence[str], options: Options, states: Sequence[LanguageState] | None
    ) -> list[list[Generated]]:
        """`options.count` texts for each prompt, in order. Raises: as `Model.generate`."""
        options = options.seeded() if options.draws else options
        order = self._constraints.order(options)
        read, unknown = self._read(prompts, states)
        if options.beams > 1:
            return [self._search(state, order, options, odd) for state, odd in zip(read, unknown, strict=True)]
        rows = [(state, odd) for state, odd in zip(read, unknown, strict=True) for _ in range(options.count)]
        found: list[Generated] = []
        for first in range(0, len(rows), TOGETHER):
            interrupt.check()
            found += self._together(rows[first : first + TOGETHER], order, options, first)
        return [found[at : at + options.count] for at in range(0, len(found), options.count)]

    def stream(self, prompt: str, options: Options, state: LanguageState | None) -> TextStream:
        """One text, as it comes."""
        if options.beams > 1 or options.count > 1:
            raise ConfigError("stream writes one text as it comes. Leave beams and count out, or use generate.")
        options = options.seeded() if options.draws else options
        order = self._constraints.order(options)
        (read,), (unknown,) = self._read([prompt], None if state is None else [state])
        return TextStream(self, read, order, options, unknown)

    def score(self, texts: Sequence[str], *, end: bool) -> list[Scored]:
        """How likely each text is as a document of its own; with `end`, that it ends there too."""
        ids = [self.text.encode(text) for text in texts]
        whole = [np.append(one, self.text.end) if end else one for one in ids]
        nats, _ = self._model.nlls(whole, direction=self._model.language.directions[0])
        return [
            Scored(
                log_p=-float(own.sum(dtype=np.float64)), tokens=len(own), unknown=int((one == self.text.unknown).sum())
            )
            for own, one in zip(nats, whole, strict=True)
        ]

    def read(self, ids: Sequence[Any], states: Sequence[LanguageState] | None) -> list[Read]:
        """How likely texts are from states on, and the states after them."""
        nats, after = self._model.nlls(ids, states)
        return [
            Read(
                log_p=-float(own.sum(dtype=np.float64)),
                tokens=len(own),
                unknown=int((one == self.text.unknown).sum()),
                state=state,
            )
            for own, one, state in zip(nats, ids, after, strict=True)
        ]

    def _read(
        self, prompts: Sequence[str], states: Sequence[LanguageState] | None
    ) -> tuple[list[LanguageState], list[int]]:
        """States after the prompts, and how many tokens of each are unknown."""
        ids = [self.text.encode(prompt) for prompt in prompts]
        unknown = [int((one == self.text.unknown).sum()) for one in ids]
        return self._model.advance(ids, states), unknown

    def begin(self, state: LanguageState, order: Order, seed: int) -> Writing:
        """A text to be written on from a state."""
        recent = state.recent if len(state.recent) else np.array([self.text.end], dtype=np.int32)
        start = order.automaton.start if order.automaton is not None else 0
        return Writing(recent=recent, position=state.position, seed=seed, automaton=start)

    def write(self, recurrent: RecurrentState, texts: Sequence[Writing], order: Order, steps: int) -> RecurrentState:
        """See `kernels.generation.Generator.write`."""
        with self._lock:
            if self._generator is None:
                self._generator = self._model.generator(self._constraints.pieces, self._candidates, self.text.end)
        return self._generator.write(recurrent, texts, order, steps=steps)

    def done(self, text: Writing, recurrent: RecurrentState, options: Options, unknown: int) -> Generated:
        """What came of a text; `recurrent` is its own."""
        recent = text.recent[max(0, len(text.recent) - text.position) :]  # without the end before a text's beginning
        return Generated(
            text=cut(self.text.decode(text.ids), options.stops),
            tokens=tuple(text.ids),
            log_p=text.log_p,
            reason=REASONS[text.reason],
            state=LanguageState("forward", recurrent, recent, text.position),
            seed=text.seed if options.draws else None,
            unknown=unknown,
        )

    def _together(
        self, rows: Sequence[tuple[LanguageState, int]], order: Order, options: Options, first: int
    ) -> list[Generated]:
        texts = [
            self.begin(state, order, row_seed(options.seed or 0, first + place))
            for place, (state, _) in enumerate(rows)
        ]
        recurrent = RecurrentState.stack([state.recurrent for state, _ in rows])
        while any(text.reason == GOING for text in texts):
            recurrent = self.write(recurrent, texts, order, STEPS)
        return [
            self.done(text, recurrent.select([place]), options, unknown)
            for place, (text, (_, unknown)) in enumerate(zip(texts, rows, strict=True))
        ]

    def _search(self, state: LanguageState, order: Order, options: Options, unknown: int) -> list[Generated]:
        found = search(
            self._model,
            state,
            order,
            options.beams,
            candidates=self._candidates,
            end=self.text.end,
            length_penalty=options.length_penalty,
        )
        return [
            Generated(
                text=self.text.decode(one.ids),
                tokens=one.ids,
                log_p=one.log_p,
                reason=one.reason,
                state=one.state,
                seed=None,
                unknown=unknown,
            )
            for one in found[: options.count]
        ]


class TextStream:
    """Pieces of one text, as they come.

    for piece in stream: ...
    stream.result.state
    """

    def __init__(self, writer: Writer, state: LanguageState, order: Order, options: Options, unknown: int) -> None:
        self._writer, self._order, self._options, self._unknown = writer, order, options, unknown
        self._recurrent = state.recurrent
        self._writing = writer.begin(state, order, options.seed or 0)
        self._pieces = self._flow()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    @property
    def result(self) -> Generated:
        """The text so far, and all of it once the stream has ended; its state goes on from there."""
        return self._writer.done(self._writing, self._recurrent, self._options, self._unknown)

    def _flow(self) -> Iterator[str]:
        decoder = Decoder(self._writer.raw, spaced=self._writer.spaced)
        stops, held, seen = self._options.stops, "", 0
        while self._writing.reason == GOING:
            self._recurrent = self._writer.write(self._recurrent, [self._writing], self._order, STEPS_OF_STREAM)
            ended = self._writing.reason != GOING
            held += decoder.text(self._writing.ids[seen:], final=ended)
            seen = len(self._writing.ids)
            if ended:
                held = cut(held, stops)
            # What may be the beginning of a stop string waits.
            ready = len(held) if ended else len(held) - _begun(held, stops)
            if ready:
                yield held[:ready]
            held = held[ready:]


class Decoder:
    """Ids to text, piece by piece: what `RunningCodec.decode` makes of all of them."""

    def __init__(self, raw: Sequence[bytes], *, spaced: bool) -> None:
        self._raw, self._spaced = raw, spaced
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._fresh = True

    def text(self, ids: Sequence[int], *, final: bool) -> str:
        """The text that further ids add."""
        found = self._bytes.decode(b"".join(self._raw[one] for one in ids), final)
        if not self._spaced or not found:
            return found
        found = found.removeprefix(" ") if self._fresh else found
        self._fresh = found.endswith("\n")
        return found.replace("\n ", "\n")


def cut(text: str, stops: Sequence[str]) -> str:
    """`text` up to the first stop string."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _begun(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins a stop string."""
    longest = min(len(text), max((len(stop) - 1 for stop in stops), default=0))
    return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in stops)), 0)
