"""A dialogue with a model, turn by turn.

    chat = model.chat(temperature=0.8, seed=4)
    chat.say("hello").text

A model of dialogues (task `reply`) reads the latest turns as text, as many as in training; of those the oldest are
left out where they are too long for it. A language model reads on from its state, which is as large after a thousand
turns as after one. Turns end there as documents do where a document is a line, else with a line feed.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gatework.core.errors import ConfigError, DataError
from gatework.kernels.sampling import row_seed
from gatework.runtime.language_model import LanguageModel
from gatework.runtime.language_state import LanguageState
from gatework.runtime.translating import DRAWING as DRAWN
from gatework.runtime.writing import check_whole

if TYPE_CHECKING:
    from gatework.runtime.model import Model

DRAWING: dict[str, Any] = {"temperature": 0.8, "top_p": 0.9}
"""How replies are drawn unless options say otherwise."""
SEARCHING = ("beams", "temperature", "top_k", "top_p", "min_p")
"""Options each of which says how a reply is found, so that nothing of DRAWING is meant."""
MOST = 1 << 16
"""Characters of a message."""


class Chat:
    """See the module. One thread's."""

    def __init__(self, model: Model, options: Mapping[str, Any]) -> None:
        """Raises ConfigError: the model holds no dialogues, or an option is unknown or out of range."""
        given = dict(options)
        if not any(name in given for name in SEARCHING):
            given |= DRAWING
        self.seed: int | None = given.pop("seed", None)
        """Of all draws; None where nothing is drawn."""
        self._turn = 0
        self._partner = _partner(model, given)
        if self.seed is not None:
            check_whole("seed", self.seed, 0, (1 << 64) - 1)
        elif self._partner.draws:
            self.seed = secrets.randbits(32)
        self._partner.check(self._seeded())

    def say(self, message: Any) -> Any:
        """The reply to a message: a `Generated` of a language model, a `Translation` of a model of dialogues.

        Raises: DataError: the message is no string, empty, or too long.
        """
        if not isinstance(message, str) or not message.strip():
            raise DataError("a message is a string that is not blank.")
        if len(message) > MOST:
            raise DataError(f"a message has {len(message):,} characters; more than {MOST:,} are no turn of a dialogue.")
        reply = self._partner.say(" ".join(message.split()), self._seeded())
        self._turn += 1
        return reply

    def clear(self) -> None:
        """Forget the dialogue so far."""
        self._partner.clear()

    def _seeded(self) -> dict[str, Any]:
        """The seed of a turn, as an option."""
        return {} if self.seed is None else {"seed": row_seed(self.seed, self._turn)}


def _partner(model: Model, options: dict[str, Any]) -> Any:
    if isinstance(model.network, LanguageModel):
        return _Reader(model, options)
    if model.task == "reply":
        return _Replier(model, options)
    raise ConfigError(f"chat: the task {model.task} holds no dialogues. Use a model of the task reply or lm.")


class _Replier:
    """A model that learnt replies from the turns before them."""

    def __init__(self, model: Model, options: dict[str, Any]) -> None:
        self._model, self._options = model, options
        codec: Any = model.codec  # of sequence to sequence
        self._turns: deque[str] = deque(maxlen=max(1, codec.settings.context))
        self._listed = codec.settings.context > 0
        self.draws = any(name in options for name in DRAWN)

    def check(self, seeded: Mapping[str, Any]) -> None:
        self._model.predict("", **self._options, **seeded)

    def say(self, message: str, seeded: Mapping[str, Any]) -> Any:
        self._turns.append(message)
        source = [list(self._turns)] if self._listed else [message]
        reply = self._model.predict_batch(source, **self._options, **seeded)[0]
        self._turns.append(" ".join(reply.text.split()))
        return reply

    def clear(self) -> None:
        self._turns.clear()


class _Reader:
    """A language model that reads on."""

    def __init__(self, model: Model, options: dict[str, Any]) -> None:
        self._model, self._options = model, dict(options)
        codec: Any = model.codec  # of language models
        self._text = codec.text
        self.draws = options.get("beams", 1) == 1 and options.get("temperature", 1.0) != 0
        self._ends = codec.settings.documents == "line"
        feed = self._text.encode("\n")
        if not self._ends and self._text.unknown in feed:
            raise ConfigError("chat: the model has learnt from no text with line ends, so it cannot end its turns.")
        self._break = np.array([self._text.end], dtype=np.int32) if self._ends else feed
        if not self._ends and "constraint" not in options:
            if "beams" in options:
                raise ConfigError("chat: beams do not know where a turn ends here. Drop them, or set a constraint.")
            stop = options.get("stop", ())
            self._options["stop"] = ["\n", *([stop] if isinstance(stop, str) else stop)]
        self._state: LanguageState | None = None

    def check(self, seeded: Mapping[str, Any]) -> None:
        self._model.generate("", **self._options, **seeded)

    def say(self, message: str, seeded: Mapping[str, Any]) -> Any:
        ids = np.concatenate([self._text.encode(message), self._break])
        (state,) = self._model.network.advance([ids], None if self._state is None else [self._state])
        reply = self._model.generate("", state=state, **self._options, **seeded)
        first = reply[0] if isinstance(reply, list) else reply
        written = self._break[-1] == first.state.last
        self._state = first.state if written else self._model.network.advance([self._break], [first.state])[0]
        return reply

    def clear(self) -> None:
        self._state = None
