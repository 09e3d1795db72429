"""What the models themselves say, without any service: an answer is good when it is theirs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import gatework
from gatework.server.registry import KINDS
from gatework.server.requests import dumped

CLOSE = 1e-4
"""How far numbers may lie apart, absolutely or of their size: texts run together are rounded otherwise."""
WORDS = re.findall(
    r"\S+",
    "the a of to and in free entry win prize call now text back good bad film great dull plot acting song king queen "
    "London Paris Monday 2nd May 2005 £1000 John Smith bought shares Acme Inc. for he she it was is not don't "
    "ein Hund läuft durch Gras two men are standing 1966年 出生 汉族 中共 党员 本科 学历 工程师 董事长 北京 🙂 . , ! ?",
)
TEXTS, SCRIPTS, LONGEST = 96, 24, 18


class Truth:
    """The models of one kind of bundle each, and texts to ask them."""

    def __init__(self, paths: dict[str, Path], seed: int) -> None:
        self.models = {name: gatework.load(path) for name, path in paths.items()}
        self.kinds = {name: KINDS[model.bundle.architecture.head] for name, model in self.models.items()}
        rng = Random(seed)
        self.texts = [_text(rng) for _ in range(TEXTS)] + ["", " ", "a" * 100]
        self.scripts = [[_text(rng) + " " for _ in range(rng.randint(2, 5))] for _ in range(SCRIPTS)]
        self.answer = cache(self._answer)
        self.written = cache(self._written)
        self.continued = cache(self._continued)
        self.talked = cache(self._talked)
        self.tagged = cache(self._tagged)

    def _answer(self, name: str, text: str) -> Any:
        """What `predict` gives."""
        return plain(self.models[name].predict(text).to_dict())

    def _written(self, name: str, prompt: str, seed: int, tokens: int) -> Any:
        """What `generate` gives."""
        return plain(self.models[name].generate(prompt, seed=seed, max_tokens=tokens).to_dict())

    def _continued(self, name: str, prompt: str, seed: int, tokens: int) -> str:
        """What is written after a prompt that is read first."""
        [read] = self.models[name].read([prompt])
        return str(self.models[name].generate("", state=read.state, seed=seed, max_tokens=tokens).text)

    def _talked(self, name: str, script: int, seed: int, tokens: int) -> list[tuple[float, str]]:
        """Of each piece of a language model's sequence: log p of it, and what follows."""
        model, state, found = self.models[name], None, []
        for piece in self.scripts[script]:
            [read] = model.read([piece], None if state is None else [state])
            answer = model.generate("", state=read.state, seed=seed, max_tokens=tokens)
            state = answer.state
            found.append((float(read.log_p), answer.text))
        return found

    def _tagged(self, name: str, script: int) -> list[Any]:
        """Answers of a tagger to running text, all pieces' in one list."""
        stream = self.models[name].stream()
        found = [answer for piece in self.scripts[script] for answer in stream.feed(piece)] + stream.end()
        return [plain(answer.to_dict()) for answer in found]


def plain(value: Any) -> Any:
    """As it comes out of JSON."""
    return json.loads(dumped(value))


def same(one: Any, other: Any) -> bool:
    """Whether two answers are the same but for rounding."""
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        alike = isinstance(other, list) and len(one) == len(other)
        return alike and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _text(rng: Random) -> str:
    words: Sequence[str] = [rng.choice(WORDS) for _ in range(rng.randint(1, LONGEST))]
    return " ".join(words)
