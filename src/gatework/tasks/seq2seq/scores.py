"""How good written targets are: BLEU and chrF, ROUGE, error rates, how much they vary.

    bleu, chrf      of the package sacrebleu, 0 to 100, mixed case; `bleu_lowercase` beside; Chinese by character
    rouge1, rouge2  F1 of the words, or pairs of them, that an answer and its reference share; mean over answers
    rougeL          F1 of their longest common subsequence; words are runs of letters and digits, folded, and single
                    Chinese characters; nothing is stemmed
    exact_match     share of answers equal to a reference
    wer             share of sources whose answer is none of the references (word error rate of pronunciations)
    per             edits from the nearest reference, over the tokens of those references (phoneme error rate)
    distinct1, 2    different words, or pairs of them, over all of all answers

Sources: Post, arXiv:1804.08771 (sacreBLEU); Popović, "chrF", 2015; Lin, "ROUGE", 2004; Li et al., arXiv:1510.03055
(distinct).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import MissingExtraError
from gatework.tasks.bootstrap import draws, middle

NAMES: dict[str, bool] = {
    "perplexity": False,
    "bleu": True,
    "bleu_lowercase": True,
    "chrf": True,
    "rouge1": True,
    "rouge2": True,
    "rougeL": True,
    "exact_match": True,
    "per": False,
    "wer": False,
    "distinct1": True,
    "distinct2": True,
}
"""Every metric, and whether more is better."""
BLEU = ("bleu", "bleu_lowercase", "chrf")
ROUGE = ("rouge1", "rouge2", "rougeL")
FloatArray = npt.NDArray[np.float64]

_WORDS = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3400-\u4dbf\u4e00-\u9fff_]+")


class Written(NamedTuple):
    """An answer and what it should have been."""

    answer: str
    references: tuple[str, ...]
    """At least one; the first is what is compared where a metric takes only one."""


def need(metric: str) -> None:
    """Raise MissingExtraError where a metric needs a package that is not there."""
    if metric in BLEU and not has_bleu():
        raise MissingExtraError(f"the metric {metric} (sacreBLEU)", "eval")


def has_bleu() -> bool:
    """Whether the package sacrebleu is installed."""
    return find_spec("sacrebleu") is not None


def scores(written: Sequence[Written], names: Iterable[str], *, resamples: int = 0, seed: int = 0) -> dict[str, Any]:
    """The metrics of these names, by name.

    Args:
        names: some of NAMES; those of BLEU without its package are left out, perplexity is nobody's here.
        resamples: of the bootstrap over answers; above 0, "interval" holds the ends of each metric's interval.
        seed: of the bootstrap.
    """
    wanted = [name for name in names if name != "perplexity"]
    found: dict[str, Any] = {}
    interval: dict[str, list[float]] = {}
    if set(wanted) & set(BLEU) and has_bleu():
        _bleu(written, wanted, resamples, found, interval)
    for name in wanted:
        if name in BLEU:
            continue
        over_N, under_N = _shares(written, name)
        found[name] = float(over_N.sum() / max(1.0, under_N.sum()))
        if resamples and len(written) > 1 and not name.startswith("distinct"):  # types do not add up over answers
            counts = draws(np.ones(len(written), dtype=np.int64), resamples, seed)
            interval[name] = middle([(drawn @ over_N) / np.maximum(1.0, drawn @ under_N) for drawn in counts])
    return found | ({"interval": interval} if interval else {})


def _bleu(
    written: Sequence[Written],
    wanted: Sequence[str],
    resamples: int,
    found: dict[str, Any],
    interval: dict[str, list[float]],
) -> None:
    from sacrebleu.metrics.bleu import BLEU as Bleu
    from sacrebleu.metrics.chrf import CHRF as Chrf

    from gatework.text.language import guess

    answers = [one.answer for one in written]
    most = max(len(one.references) for one in written)
    references = [[one.references[min(place, len(one.references) - 1)] for one in written] for place in range(most)]
    tokenize = "zh" if guess(one.references[0] for one in written) == "zh" else "13a"
    metrics = {
        "bleu": Bleu(tokenize=tokenize),
        "bleu_lowercase": Bleu(tokenize=tokenize, lowercase=True),
        "chrf": Chrf(),
    }
    for name, metric in metrics.items():
        if name in wanted:
            options = {"n_bootstrap": resamples} if resamples and len(written) > 1 else {}
            score: Any = metric.corpus_score(answers, references, **options)
            found[name] = float(score.score)
            found.setdefault("signature", {})[name] = str(metric.get_signature())
            if options:
                interval[name] = [float(score._mean - score._ci), float(score._mean + score._ci)]


def _shares(written: Sequence[Written], name: str) -> tuple[FloatArray, FloatArray]:
    """What is summed over answers above and below the line."""
    ones = np.ones(len(written))
    if name == "exact_match":
        return np.array([float(one.answer in one.references) for one in written]), ones
    if name == "wer":
        return np.array([float(one.answer not in one.references) for one in written]), ones
    if name == "per":
        pairs = [nearest_reference(one) for one in written]
        return np.array([float(edits) for edits, _ in pairs]), np.array([float(length) for _, length in pairs])
    if name in ROUGE:
        return np.array([rouge(one.answer, one.references[0], name) for one in written]), ones
    order = int(name[-1])  # distinct1, distinct2
    said = [_grams(words(one.answer), order) for one in written]
    seen: set[Any] = set()
    fresh = [0.0] * len(said)
    for place, grams in enumerate(said):
        fresh[place] = float(len(set(grams) - seen))
        seen |= set(grams)
    return np.array(fresh), np.array([float(grams.total()) for grams in said])


def lead(sources: Sequence[str], written: Sequence[Written]) -> dict[str, Any]:
    """ROUGE of the beginning of each source, as many words as references have on average: what a summary must beat."""
    count = max(1, round(float(np.mean([len(words(one.references[0])) for one in written]))))
    begun = [
        Written(" ".join(words(source)[:count]), one.references) for source, one in zip(sources, written, strict=True)
    ]
    return {"words": count, **scores(begun, ROUGE)}


def words(text: str) -> list[str]:
    """Folded words, and single Chinese characters."""
    return _WORDS.findall(text.lower())


def _grams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[place:] for place in range(order)), strict=False))


def rouge(answer: str, reference: str, name: str) -> float:
    """rouge1, rouge2 or rougeL of an answer, in [0, 1]; 0 where either has no words."""
    own, wanted = words(answer), words(reference)
    if name == "rougeL":
        common, sizes = _common(own, wanted), (len(own), len(wanted))
    else:
        one, other = _grams(own, int(name[-1])), _grams(wanted, int(name[-1]))
        common, sizes = (one & other).total(), (one.total(), other.total())
    return 2.0 * common / sum(sizes) if common else 0.0


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for token in one:
        corner = 0
        for place, wanted in enumerate(other, start=1):
            above = row[place]
            row[place] = corner + 1 if token == wanted else max(above, row[place - 1])
            corner = above
    return row[-1]


def nearest_reference(written: Written) -> tuple[int, int]:
    """Edits between the tokens (by blanks) of an answer and of the nearest reference, and that one's tokens."""
    own = written.answer.split()
    return min((edits(own, wanted), len(wanted)) for wanted in (one.split() for one in written.references))


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Insertions, deletions and substitutions from one to the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, token in enumerate(one, start=1):
        corner, row[0] = row[0], number
        for place, wanted in enumerate(other, start=1):
            above = row[place]
            row[place] = min(corner + (token != wanted), above + 1, row[place - 1] + 1)
            corner = above
    return row[-1]
