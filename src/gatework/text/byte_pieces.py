"""Byte pairs: the subword pieces of RoBERTa, cut without any package.

A blank is put before the token, as it stands in running text; the token is cut into runs of letters, of digits and of
other signs, and at English contractions; each run is written as its UTF-8 bytes, one printable character each, and
neighbours are joined pair by pair, the pair learnt first going first. So there are no unknown words.

Sources: Radford et al., "Language models are unsupervised multitask learners", 2019; Sennrich, Haddow and Birch,
arXiv:1508.07909. The tests hold it to Hugging Face `tokenizers`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import chain
from typing import Any

from gatework.text.subwords import Bpe

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def _printable() -> dict[int, str]:
    """A printable character for each byte: itself where it is one, else from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(0x100 + place) for place, byte in enumerate(others)}


_CHARACTER = _printable()


class BytePieces:
    """Runs of a token, and pieces of a run."""

    def __init__(self, vocabulary: Sequence[str], merges: Sequence[tuple[str, str]], *, unknown: int) -> None:
        """
        Args:
            vocabulary: pieces in the order of their ids; "" where an id has none.
            merges: pairs in the order in which they were learnt.
            unknown: id of a piece that the vocabulary lacks.
        """
        self.vocabulary = tuple(vocabulary)
        self._ids = {piece: index for index, piece in enumerate(self.vocabulary) if piece}
        self._merges = [list(pair) for pair in merges]
        self._model = Bpe((), merges)
        self._unknown = unknown

    def to_json(self) -> dict[str, Any]:
        """Plain data that `__init__` takes, but for `unknown`."""
        return {"vocabulary": self.vocabulary, "merges": self._merges}

    def __call__(self, token: str) -> list[int]:
        """Ids of the pieces of a token; none of an empty one."""
        written = (
            "".join(_CHARACTER[byte] for byte in run.encode("utf-8", "replace")) for run in runs(" " + token) if token
        )
        pieces = chain.from_iterable(map(self._model.split, written))
        return [self._ids.get(piece, self._unknown) for piece in pieces]


def runs(text: str) -> list[str]:
    """A text cut as GPT-2 cuts it: contractions; letters, digits, other signs, with the blank before them; blanks."""
    kinds = [_kind(character) for character in text]
    found: list[str] = []
    place, end = 0, len(text)
    while place < end:
        stop = place + next((len(one) for one in CONTRACTIONS if text.startswith(one, place)), 0)
        if stop == place:
            stop += text[place] == " " and place + 1 < end and kinds[place + 1] != "blank"
            kind = kinds[stop]
            while stop < end and kinds[stop] == kind:
                stop += 1
            if kind == "blank" and stop < end and stop - place > 1:
                stop -= 1  # the last blank goes with what follows
        found.append(text[place:stop])
        place = stop
    return found


def _kind(character: str) -> str:
    if character.isspace() and not "\x1c" <= character <= "\x1f":
        return "blank"
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "other"
