"""How bad single answers are, between 0 and about 1: what training toward answers brings down.

    bleu    1 - brevity x (product over n of (matches_n + s) / (n-grams_n + s))^(1/4), s = 0 for n = 1, else 1
            brevity = min(1, exp(1 - reference / answer)); tokens are words, marks and single Chinese characters
    chrf    1 - F2 of the mean precision and recall of runs of 1 to 6 characters, blanks apart
    rouge1, rouge2, rougeL   1 - F1
    per     edits over the tokens of the nearest reference, at most 1

Sources: Lin and Och, "ORANGE", 2004 (smoothing); Popović, "chrF", 2015; see `scores` for the others.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from gatework.tasks.seq2seq.scores import ROUGE, Written, nearest_reference, rouge

ORDERS, CHARACTERS, BETA = 4, 6, 2.0

_TOKENS = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3400-\u4dbf\u4e00-\u9fff]+|[^\w\s]")

Risk = Callable[[str, Sequence[str]], float]


def risk_of(name: str) -> Risk:
    """The risk of an answer given its right targets, by the name of a metric: that of BLEU for those without one."""
    if name in ("per", "wer", "exact_match"):
        return _edits
    if name in ROUGE:
        return lambda answer, targets: 1.0 - max(rouge(answer, target, name) for target in targets)
    if name == "chrf":
        return lambda answer, targets: 1.0 - max(_chrf(answer, target) for target in targets)
    return lambda answer, targets: 1.0 - max(_bleu(answer, target) for target in targets)


def _edits(answer: str, targets: Sequence[str]) -> float:
    wrong, tokens = nearest_reference(Written(answer, tuple(targets)))
    return min(1.0, wrong / max(1, tokens))


def _bleu(answer: str, target: str) -> float:
    own, wanted = _TOKENS.findall(answer), _TOKENS.findall(target)
    if not own:
        return 0.0
    logs = 0.0
    for n in range(1, ORDERS + 1):
        one, other = _grams(own, n), _grams(wanted, n)
        smooth = float(n > 1)
        matches = (one & other).total() + smooth
        if not matches:
            return 0.0
        logs += math.log(matches / (one.total() + smooth))
    return math.exp(logs / ORDERS + min(0.0, 1.0 - len(wanted) / len(own)))


def _chrf(answer: str, target: str) -> float:
    own, wanted = "".join(answer.split()), "".join(target.split())
    shares: list[tuple[float, float]] = []
    for n in range(1, CHARACTERS + 1):
        one, other = _grams(own, n), _grams(wanted, n)
        if one and other:
            common = (one & other).total()
            shares.append((common / one.total(), common / other.total()))
    if not shares:
        return 0.0
    precision, recall = (sum(part) / len(shares) for part in zip(*shares, strict=True))
    below = BETA * BETA * precision + recall
    return (1.0 + BETA * BETA) * precision * recall / below if below else 0.0


def _grams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[place:] for place in range(order)), strict=False))
