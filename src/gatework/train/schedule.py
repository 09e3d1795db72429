"""How the learning rate rises and falls, as a factor in (0, 1] of its highest value.

    warm-up   p / w                            while p < w
    cosine    (1 + cos(pi q)) / 2              q = (p - w) / (1 - w)
    linear    1 - q
    constant  1
    plateau   1, halved each time an epoch brings no better dev score

p is the part of the course that is done, w the part given to the warm-up. Nothing here keeps state: a factor depends
on the progress alone, which is what makes a resumed course the same course.

Source of the cosine: Loshchilov and Hutter, arXiv:1608.03983.
"""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant", "plateau"]

PLATEAU_FACTOR = 0.5


def factor(schedule: Schedule, progress: float, *, warmup: float) -> float:
    """Factor of the learning rate when the part `progress` of the course, in [0, 1], is done."""
    if progress < warmup:
        return progress / warmup
    falling = min(1.0, (progress - warmup) / (1.0 - warmup))
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * falling))
    if schedule == "linear":
        return 1.0 - falling
    return 1.0
