"""Measuring a loaded model on documents, read once; exact: every token counts, given all that stands before it.

Running text is read on from document to document and its tokens go through the model in chunks. A model that reads
backwards is given the whole text from its end, so that its ids are held in memory, four bytes each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import DataError
from gatework.tasks.bootstrap import RESAMPLES, draws, middle
from gatework.tasks.lm.cache import Cache, CacheSettings
from gatework.tasks.lm.metrics import NAMES, Totals
from gatework.tasks.rows import open_rows

if TYPE_CHECKING:
    from gatework.text.documents import Piece

CHUNK = 1 << 14
"""Tokens that go through the model at once, at least."""
TOGETHER = 64
"""Documents, where each is read alone."""
BLOCK = 500
"""Tokens of running text that the bootstrap draws together, as neighbours are alike."""
FEWEST = 10
"""Blocks below which there is no interval."""
COLUMNS = ("line", "tokens", "nats", "perplexity")
Ids = npt.NDArray[np.int32]
Nats = npt.NDArray[np.float64]


class Document(NamedTuple):
    """A document as ids, with the end it has."""

    line: int
    ids: Ids


def evaluate(
    model: Any,
    examples: Iterable[Piece],
    *,
    source: str = "data",
    predictions: Path | str | None = None,
    cache: int | None = None,
    cache_weight: float = 0.1,
    cache_flatness: float = 0.3,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The metrics of `metrics.Totals`; with both directions, "backward" has those of the second.

    Args:
        model: a loaded model; its `codec` is an `LmCodec`, its network has `nll` and `nlls`.
        examples: pieces of documents; read once.
        source: name of the data for errors.
        predictions: a file for a row with the nats of each document.
        cache, cache_weight, cache_flatness: size and settings of a neural cache, see `cache`; None for none.
        resamples: of the bootstrap, over documents read alone or over blocks of running text; 0 for no intervals.
        seed: of the bootstrap.
    Raises: DataError: no text. ConfigError: the settings of a cache make no sense.
    """
    settings = None if cache is None else CacheSettings(size=cache, weight=cache_weight, flatness=cache_flatness)
    totals = Totals()
    first, *more = model.bundle.architecture.language.directions
    kept: list[Document] = []
    carry = model.codec.settings.carry
    documents = encoded(model.codec, examples, totals)
    if more or first == "backward":
        kept = list(documents)
        documents = iter(kept)
    blocks = _Blocks(BLOCK if carry else 1)
    with open_rows(predictions, COLUMNS) as write:
        for document, nats_T in _read(model, documents, first, carry, settings):
            nats = float(nats_T.sum())
            totals.nats += nats
            blocks.add(nats_T)
            if write is not None:
                count = max(1, len(document.ids))
                row = {"line": document.line, "tokens": len(document.ids), "nats": nats}
                write(row | {"perplexity": float(np.exp(min(nats / count, 700.0)))})
    if not totals.tokens:
        raise DataError(f"{source}: no text. Give a file with some.")
    metrics = totals.metrics()
    if resamples and len(means := blocks.means(resamples, seed)):
        ends = [totals.at(mean) for mean in middle([means])]
        metrics["interval"] = {name: [one[name] for one in ends] for name in NAMES}
    for direction in more:
        totals.nats = sum(float(nats_T.sum()) for _, nats_T in _read(model, iter(kept), direction, carry, settings))
        metrics[direction] = totals.metrics()
    return metrics


class _Blocks:
    """Nats and tokens of the parts of a text that the bootstrap draws."""

    def __init__(self, least: int) -> None:
        """`least`: tokens of a block, which a document may not be cut for where it is 1."""
        self._least = least
        self._open: list[Nats] = []
        self._tokens = 0
        self._sums: list[tuple[float, int]] = []

    def add(self, nats_T: Nats) -> None:
        """Take in what stands next in the text."""
        whole = self._least == 1
        for part in [nats_T] if whole else np.split(nats_T, range(self._least, len(nats_T), self._least)):
            self._open.append(part)
            self._tokens += len(part)
            if self._tokens >= self._least:
                self._close()

    def _close(self) -> None:
        self._sums.append((sum(float(part.sum()) for part in self._open), self._tokens))
        self._open, self._tokens = [], 0

    def means(self, resamples: int, seed: int) -> Nats:
        """Mean nats a token of resampled texts, (resamples,); none where there are too few blocks to tell."""
        if self._tokens:
            self._close()
        if len(self._sums) < FEWEST:
            return np.zeros(0)
        nats_K, tokens_K = np.array(self._sums).T
        drawn = list(draws(np.ones(len(nats_K), dtype=np.int64), resamples, seed))
        return np.concatenate([(counts @ nats_K) / (counts @ tokens_K) for counts in drawn])


def encoded(bundle_codec: Any, pieces: Iterable[Piece], totals: Totals) -> Iterator[Document]:
    """Documents as ids, counted into `totals`; one without an end, of running text, comes in its pieces."""
    codec, running = bundle_codec.text, bundle_codec.settings.carry
    held: list[Ids] = []
    begun = 0
    for piece in pieces:
        ids = codec.encode(piece.text)
        if piece.ends:
            ids = np.append(ids, np.int32(codec.end))
        begun = begun or piece.line
        totals.documents += piece.ends
        totals.tokens += len(ids)
        totals.unknown += int(np.count_nonzero(ids == codec.unknown))
        totals.characters += len(piece.text) + piece.ends
        totals.bytes += len(piece.text.encode("utf-8", "replace")) + piece.ends
        held.append(ids)
        if piece.ends or running:
            yield Document(begun, np.concatenate(held))
            held, begun = [], 0
    if held:
        yield Document(begun, np.concatenate(held))
    totals.documents = totals.documents or 1


def _read(
    model: Any, documents: Iterator[Document], direction: str, carry: bool, cache: CacheSettings | None
) -> Iterator[tuple[Document, Nats]]:
    """Nats of each document, in any order."""
    if direction == "backward":
        whole = [one._replace(ids=_backwards(one.ids, model.codec.text.end)) for one in documents]
        documents = iter(whole[::-1] if carry else whole)
    yield from (_running if carry else _alone)(model, documents, direction, cache)


def _backwards(ids: Ids, end: int) -> Ids:
    """A document from its last token to its first, and then its end."""
    ended = len(ids) > 0 and ids[-1] == end
    return np.append(ids[-2::-1] if len(ids) > 1 else ids[:0], np.int32(end)) if ended else ids[::-1]


def _running(
    model: Any, documents: Iterator[Document], direction: str, settings: CacheSettings | None
) -> Iterator[tuple[Document, Nats]]:
    state = model.network.start(direction)
    cache = None if settings is None else Cache(settings)
    for group in _groups(documents, lambda group: sum(len(one.ids) for one in group) >= CHUNK):
        nats_T, state = _through(model.network, np.concatenate([one.ids for one in group]), state, cache)
        yield from _shared(group, nats_T.astype(np.float64))


def _alone(
    model: Any, documents: Iterator[Document], direction: str, settings: CacheSettings | None
) -> Iterator[tuple[Document, Nats]]:
    for group in _groups(documents, lambda group: len(group) >= TOGETHER):
        if settings is None:
            nats, _ = model.network.nlls([one.ids for one in group], direction=direction)
        else:
            start = model.network.start(direction)
            nats = [_through(model.network, one.ids, start, Cache(settings))[0] for one in group]
        yield from _shared(group, np.concatenate(nats).astype(np.float64))


def _through(network: Any, ids_T: Ids, state: Any, cache: Cache | None) -> tuple[npt.NDArray[np.float32], Any]:
    """Nats of a text from a state on, and the state after it."""
    if cache is None or not len(ids_T):
        nats_T, state = network.nll(ids_T, state)
        return nats_T, state
    read_T1 = np.append(np.int32(state.last), ids_T[:-1])[:, None]
    y_T1P, recurrent = network.read(read_T1, np.array([len(ids_T)]), state.recurrent, state.direction)
    nats_T = network.head.nats(y_T1P[:, 0], ids_T, state.direction)
    return cache.nats(nats_T, y_T1P[:, 0], ids_T), state.after(recurrent, ids_T)


def _shared(group: list[Document], nats_T: Nats) -> Iterator[tuple[Document, Nats]]:
    """Each document with its tokens' nats."""
    at = 0
    for one in group:
        yield one, nats_T[at : at + len(one.ids)]
        at += len(one.ids)


def _groups(documents: Iterator[Document], full: Any) -> Iterator[list[Document]]:
    group: list[Document] = []
    for one in documents:
        group.append(one)
        if full(group):
            yield group
            group = []
    if group:
        yield group
