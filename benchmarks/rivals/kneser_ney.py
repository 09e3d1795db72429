"""An n-gram language model with interpolated modified Kneser-Ney smoothing, on the tokens of a recipe.

    GATEWORK_DATA=../data python -m benchmarks.rivals.kneser_ney recipes/lm-tang.toml --order 4

    p(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + g(h) p(w | h less its first token)

with three discounts an order, D1, D2, D3+, from the counts of counts, g(h) what they leave, and below the highest order
in the place of c(h w) the number of different tokens that stand before h w. The lowest order is mixed with the uniform
distribution over all tokens but padding. Documents are read alone, from `order - 1` ends on; running text in one.

N tokens, U different n-grams.  Source: Chen and Goodman, "An empirical study of smoothing techniques for language
modeling", Computer Speech and Language 13, 1999.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.measure import write

Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
END, BITS, LONGEST = 2, 16, 4
"""A token takes 16 bits of a key, so a key of 64 holds four."""


class Order(NamedTuple):
    """The n-grams of one order."""

    grams_U: Keys
    """Rising."""
    count_U: Floats
    histories_H: Keys
    total_H: Floats
    """c(h)."""
    left_H: Floats
    """c(h) g(h)."""
    discounts: Floats
    """D1, D2, D3+."""


class KneserNey:
    """A fitted model."""

    def __init__(self, grams_NL: npt.NDArray[np.int64], *, vocabulary: int) -> None:
        """
        Args:
            grams_NL: for each training token the order - 1 tokens before it, and itself.
            vocabulary: tokens in all, padding counted.
        """
        self.order, self.vocabulary = grams_NL.shape[1], vocabulary
        if self.order > LONGEST or vocabulary > 1 << BITS:
            raise SystemExit(f"orders to {LONGEST} and {1 << BITS:,} tokens at most.")
        self.orders: dict[int, Order] = {}
        keys, counts = np.unique(_keys(grams_NL), return_counts=True)
        for order in range(self.order, 0, -1):
            self.orders[order] = _order(keys, counts.astype(np.float64), order)
            if order > 1:  # each different longer n-gram counts once for what it ends in
                keys, counts = np.unique(keys & np.uint64((1 << BITS * (order - 1)) - 1), return_counts=True)

    def p(self, grams_NL: npt.NDArray[np.int64]) -> Floats:
        """p of the last token of each n-gram given those before it, (N,)."""
        p_N = np.full(len(grams_NL), 1.0 / (self.vocabulary - 1))
        for order in range(1, self.order + 1):
            one = self.orders[order]
            keys = _keys(grams_NL[:, self.order - order :])
            place, known = _find(one.histories_H, keys >> np.uint64(BITS))
            total, left = one.total_H[place], one.left_H[place]
            gram, seen = _find(one.grams_U, keys)
            count = np.where(seen, one.count_U[gram], 0.0)
            own = np.maximum(count - _discount(count, one.discounts), 0.0)
            p_N = np.where(known, (own + left * p_N) / np.where(known, total, 1.0), p_N)
        return p_N


def _order(grams_U: Keys, count_U: Floats, order: int) -> Order:
    histories_H, history_U = np.unique(grams_U >> np.uint64(BITS), return_inverse=True)
    total_H = np.bincount(history_U, weights=count_U)
    discounts = _discounts(count_U)
    left_H = np.bincount(history_U, weights=np.minimum(_discount(count_U, discounts), count_U))
    return Order(grams_U, count_U, histories_H, total_H, left_H, discounts)


def _discounts(count_U: Floats) -> Floats:
    """D1, D2, D3+ from the counts of counts; plain halves where there are too few to tell."""
    n1, n2, n3, n4 = (float((count_U == times).sum()) for times in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return np.array([0.5, 0.5, 0.5])
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return np.array([min(max(one, 0.0), float(times)) for times, one in enumerate(found, start=1)])


def _discount(count: Floats, discounts: Floats) -> Floats:
    return np.concatenate([[0.0], discounts])[np.minimum(count, 3).astype(np.int64)]


def _keys(grams_NL: npt.NDArray[np.int64]) -> Keys:
    keys = np.zeros(len(grams_NL), dtype=np.uint64)
    for column in grams_NL.T:
        keys = keys << np.uint64(BITS) | column.astype(np.uint64)
    return keys


def _find(rising: Keys, wanted: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    place = np.minimum(np.searchsorted(rising, wanted), len(rising) - 1)
    return place, rising[place] == wanted


def grams(stream: Any, order: int, *, carry: bool) -> npt.NDArray[np.int64]:
    """Every token of a `text.stream.TokenStream` with those before it, (N, order)."""
    ids, starts = np.asarray(stream.tokens, dtype=np.int64), stream.starts[:-1]
    place_N = np.arange(len(ids))
    first_N = np.zeros(len(ids), dtype=np.int64)
    if not carry:
        first_N = np.repeat(starts, stream.lengths_N)
    columns = []
    for back in range(order - 1, -1, -1):
        at_N = place_N - back
        columns.append(np.where(at_N >= first_N, ids[np.maximum(at_N, 0)], END))
    return np.stack(columns, axis=1)


def measure(recipe_path: Path, order: int) -> dict[str, Any]:
    """Perplexities of the dev and test files of a recipe."""
    from gatework.core.recipe_io import load_recipe
    from gatework.tasks import TASKS
    from gatework.tasks.lm.metrics import Totals
    from gatework.text.stream import TokenStream

    begun = time.monotonic()
    recipe = load_recipe(recipe_path).filled(TASKS["lm"].defaults)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = TASKS["lm"].prepare(recipe, folder)
        model = KneserNey(
            grams(prepared.train, order, carry=prepared.carry), vocabulary=prepared.architecture.vocabulary
        )
        found: dict[str, Any] = {"model": f"{order}-gram Kneser-Ney", "recipe": recipe_path.stem}
        for part in ("dev", "test") if recipe.data.test else ("dev",):
            stream = TokenStream.write(folder, part, prepared.examples(part), prepared.codec)
            nats = float(-np.log(model.p(grams(stream, order, carry=prepared.carry))).sum())
            totals = Totals(nats=nats, documents=len(stream), tokens=len(stream.tokens), unknown=stream.unknown)
            totals.characters, totals.bytes = stream.characters, stream.bytes
            found[part] = totals.metrics()
    return found | {"seconds": round(time.monotonic() - begun, 1)}


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description="A Kneser-Ney n-gram model on the tokens of a recipe.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--order", type=int, default=4, choices=range(1, LONGEST + 1))
    parser.add_argument("--out", type=Path, help="results file, appended to")
    given = parser.parse_args()
    found = measure(given.recipe, given.order)
    assert all(math.isfinite(found[part]["perplexity"]) for part in found if part in ("dev", "test"))
    print(json.dumps(found))
    if given.out:
        scored_on = "test" if "test" in found else "dev"
        figures = found[scored_on] | {"scored_on": scored_on, "train_seconds": found["seconds"]}
        write(given.out, f"kneser-ney-{given.order}", found["recipe"], figures)


if __name__ == "__main__":
    main()
