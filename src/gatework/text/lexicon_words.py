"""Where the words of a lexicon come from: a file, or the training part itself.

A file has a word a line, perhaps with a count (`word 12` or `word 12 nz`, as dictionaries of segmenters have it) or
with a vector (`word 0.1 -0.3 ...`; word2vec's first line is passed over). Which of these it is, its first lines tell; a
line of another kind is an error that names file and line.

From training come the spans it tags, and sequences of characters that hang together: with counts c over the training
part, for a sequence w of n tokens

    cohesion  min over its cuts w = a b of  log( c(w) N / (c(a) c(b)) )
    freedom   the smaller of the entropies of the token before it and of the token after it

both above a threshold. Source: Sproat and Shih, "A statistical method for finding word boundaries in Chinese text",
1990 (mutual information); Huang and Powers, "Chinese word segmentation based on contextual entropy", PACLIC 2003.

N tokens of all training sentences, G different sequences of one length.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.text.lexicon import LONGEST, Lexicon, word_key
from gatework.text.lines import read_lines

LEAST_SPAN = 2
"""Times a tagged span must occur in training: one that occurs once would tell training what nothing tells later."""
LEAST_SEQUENCE = 5
"""Times a sequence must occur in training."""
LONGEST_SEQUENCE = 5
"""Tokens of such a sequence."""
LEAST_COHESION = 2.0
"""Nats."""
LEAST_FREEDOM = 0.8
"""Nats."""

Tokens = tuple[str, ...]
_WORDLIKE = re.compile(r"\w")


class Entry(NamedTuple):
    """A line of a lexicon file."""

    word: str
    weight: float | None
    """Its count, where the file gives one."""
    line: int


# ── a file ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_words(path: Path | str, encoding: str = "utf-8") -> Iterator[Entry]:
    """Yields the words of a lexicon file. Raises DataError naming file and line."""
    kind = _kind([line for _, line in islice(read_lines(path, encoding), 200) if line.strip()])
    if kind is None:
        raise DataError(f"{path}:1: the file is empty. Give one word a line.")
    for number, line in read_lines(path, encoding):
        fields = line.split("\t") if "\t" in line else line.split(" ")
        fields = [field.strip() for field in fields if field.strip()]
        if not fields or (number == 1 and kind == "vectors" and len(fields) == 2):
            continue
        if kind == "words":
            if len(fields) > 1 and "\t" in line:
                raise DataError(f"{path}:{number}: {len(fields)} fields where a word alone is expected. Mend the line.")
            yield Entry(line.strip(), None, number)
        elif kind == "counts":
            yield Entry(fields[0], _count(path, number, fields), number)
        else:
            if len(fields) < 3 or not _is_number(fields[-1]):
                raise DataError(f"{path}:{number}: a word and its vector are expected. Mend the line.")
            yield Entry(fields[0], None, number)


def holds_vectors(path: Path | str, encoding: str = "utf-8") -> bool:
    """Whether a lexicon file gives a vector for each word."""
    return _kind([line for _, line in islice(read_lines(path, encoding), 200) if line.strip()]) == "vectors"


def _kind(head: Sequence[str]) -> str | None:
    """What most of the first lines are: words, counts or vectors; None of an empty file."""
    if not head:
        return None
    votes: Counter[str] = Counter()
    for line in head:
        first, *more = line.split()
        if len(more) > 2 and all(map(_is_number, more)):
            votes["vectors"] += 1
        elif more and _is_number(more[0]) and len(more) < 3:
            votes["counts"] += 1
        else:
            votes["words"] += bool(first)
    return votes.most_common(1)[0][0]


def _count(path: Path | str, number: int, fields: list[str]) -> float:
    if len(fields) < 2 or not _is_number(fields[1]) or len(fields) > 3:
        raise DataError(
            f"{path}:{number}: {' '.join(fields)[:60]!r}: a word and its count are expected. Mend the line."
        )
    count = float(fields[1])
    if not 0 <= count < 1e30:
        raise DataError(f"{path}:{number}: the count {fields[1]} is no count. Write a number from 0.")
    return count


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


# ── the training part ───────────────────────────────────────────────────────────────────────────────────────────────


def words_of_spans(spans: Iterable[Tokens]) -> list[Tokens]:
    """The spans that training holds at least LEAST_SPAN times, as words, the most frequent first."""
    counts = Counter(span for span in spans if len(span) <= LONGEST)
    kept = [(-count, word) for word, count in counts.items() if count >= LEAST_SPAN]
    return [word for _, word in sorted(kept)]


def cohesive_sequences(sentences: Iterable[Sequence[str]]) -> list[Tokens]:
    """The sequences of two to LONGEST_SEQUENCE tokens that hang together, the most frequent first."""
    numbers: dict[str, int] = {}
    flat: list[int] = []
    for tokens in sentences:
        flat.append(0)  # a border, which no sequence crosses
        for token in tokens:
            # A border too: what is no letter or digit is in no word.
            flat.append(numbers.setdefault(token, len(numbers) + 1) if _WORDLIKE.search(token) else 0)
    flat.append(0)
    tokens_N = np.array(flat, dtype=np.int64)
    names = list(numbers)
    found = sorted((-count, tuple(names[place - 1] for place in word)) for word, count in _sequences(tokens_N))
    return [word for _, word in found]


def _sequences(tokens_N: npt.NDArray[np.int64]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Numbers of the tokens, and count, of each sequence that passes both thresholds."""
    total = float((tokens_N > 0).sum())
    # id_N[n]: which sequence of n tokens begins at each place, -1 where it would cross a border.
    ids = {1: np.where(tokens_N > 0, tokens_N, -1)}
    counts = {1: np.bincount(np.maximum(ids[1], 0)).astype(np.float64)}
    size = int(tokens_N.max(initial=0)) + 1
    for length in range(2, LONGEST_SEQUENCE + 1):
        whole = ids[length - 1][:-1]
        valid = np.flatnonzero((whole >= 0) & (tokens_N[length - 1 :][: len(whole)] > 0))
        if not len(valid):
            return
        keys = whole[valid] * size + tokens_N[valid + length - 1]
        _, first_G, id_V, count_G = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        here = np.full(len(whole), -1, dtype=np.int64)
        here[valid] = id_V
        ids[length], counts[length] = here, count_G.astype(np.float64)
        place_G = valid[first_G]
        cohesion_G = np.full(len(count_G), np.inf)
        for cut in range(1, length):
            left, right = ids[cut][place_G], ids[length - cut][place_G + cut]
            ratio = count_G * total / (counts[cut][left] * counts[length - cut][right])
            cohesion_G = np.minimum(cohesion_G, np.log(ratio))
        good_G = (count_G >= LEAST_SEQUENCE) & (cohesion_G >= LEAST_COHESION)
        good_G &= _freedom(id_V, tokens_N[valid - 1], len(count_G), size) >= LEAST_FREEDOM
        good_G &= _freedom(id_V, tokens_N[valid + length], len(count_G), size) >= LEAST_FREEDOM
        for group in np.flatnonzero(good_G).tolist():
            place = int(place_G[group])
            yield tuple(tokens_N[place : place + length].tolist()), int(count_G[group])


def _freedom(
    id_V: npt.NDArray[np.int64], beside_V: npt.NDArray[np.int64], groups: int, size: int
) -> npt.NDArray[np.float64]:
    """Entropy of the token beside each sequence, nats, (G,); every border counts as another token."""
    counts_G = np.bincount(id_V, minlength=groups).astype(np.float64)
    inner = beside_V > 0
    pairs, times = np.unique(id_V[inner] * size + beside_V[inner], return_counts=True)
    group = pairs // size
    p = times / counts_G[group]
    entropy_G = np.bincount(group, weights=-p * np.log(p), minlength=groups)
    borders_G = np.bincount(id_V[~inner], minlength=groups)
    return entropy_G + borders_G / counts_G * np.log(counts_G)


# ── the lexicon ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Fitted(NamedTuple):
    """A lexicon and what is only needed while training."""

    lexicon: Lexicon
    words: tuple[str, ...]
    """The word of each row, as it was given; tokens joined by spaces."""
    left_out: Counter[str]


def fit_lexicon(
    words: Iterable[tuple[str | Tokens, float | None]],
    cut: Callable[[str], Sequence[str]],
    keys_of: Callable[[Sequence[str]], npt.NDArray[np.uint64]],
    sentences: Iterable[Sequence[str]],
    *,
    rows: int,
) -> Fitted:
    """The lexicon of some words, weighed by how often training holds them.

    Args:
        words: as strings or as tokens, with a count or None; of equal ones the first.
        cut: a string into tokens, as texts are cut.
        keys_of: the 32-bit keys of tokens.
        sentences: of the training part, as tokens.
        rows: most words kept: those that training holds most often, then those given first.
    """
    left_out: Counter[str] = Counter()
    places: dict[int, tuple[str, float | None, int]] = {}
    for word, count in words:
        tokens = cut(word) if isinstance(word, str) else word
        if not 0 < len(tokens) <= LONGEST:
            left_out[f"words of more than {LONGEST} tokens" if tokens else "words without a token"] += 1
            continue
        key = word_key(keys_of(tokens))
        if key in places:
            left_out["words given twice"] += 1
        else:
            places[key] = (word if isinstance(word, str) else " ".join(word), count, len(tokens))
    keys_R = np.array(sorted(places), dtype=np.uint64)
    every = Lexicon(keys_R, np.ones(len(keys_R), dtype=np.float32), sorted({length for *_, length in places.values()}))
    seen_R = np.zeros(len(keys_R), dtype=np.float64)
    for tokens in sentences:
        np.add.at(seen_R, every.words(keys_of(tokens)).row, 1.0)
    order = {key: place for place, key in enumerate(places)}
    if len(keys_R) > rows:
        given_R = np.array([order[key] for key in keys_R.tolist()])
        kept = np.sort(np.lexsort((given_R, -seen_R))[:rows])
        left_out[f"words beyond the {rows:,} of input.lexicon_rows"] += len(keys_R) - rows
        keys_R, seen_R = keys_R[kept], seen_R[kept]
    entries = [places[key] for key in keys_R.tolist()]
    z_R = np.array(
        [1.0 + (seen if count is None else count) for seen, (_, count, _) in zip(seen_R, entries, strict=True)]
    )
    lexicon = Lexicon(keys_R, z_R.astype(np.float32), sorted({length for *_, length in entries}))
    return Fitted(lexicon, tuple(word for word, *_ in entries), left_out)
