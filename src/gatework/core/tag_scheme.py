"""Which tag may follow which, in schemes that mark spans by one tag a token.

    BIO    B-X begins a span of type X, I-X goes on with it, O is outside  (IOB2 of CoNLL 2003)
    BIOES  besides, E-X ends a span and S-X is a span of one token; also written BILOU (L for E, U for S), and BMES
           (M for I) where every token belongs to a span, as in word segmentation

A type may be missing: `B`, `I`, `O` alone. K tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import ConfigError, nearest

Bools = npt.NDArray[np.bool_]

SCHEMES = ("bio", "bioes")
_LETTERS = {"bio": {"B": "B", "I": "I", "O": "O"}}
_LETTERS["bioes"] = {**_LETTERS["bio"], "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


class Constraints(NamedTuple):
    """What is allowed: True. A path that starts, moves or ends otherwise has no probability at all."""

    transitions_KK: Bools
    """From row to column."""
    start_K: Bools
    end_K: Bools


def constraints(labels: Sequence[str], scheme: str) -> Constraints:
    """What `scheme` ("bio" or "bioes") allows between tags of these names, in their order.

    Raises: ConfigError: an unknown scheme, or a label that does not belong to it.
    """
    if scheme not in SCHEMES:
        raise ConfigError(f"tag scheme {scheme!r} is unknown. {nearest(scheme, SCHEMES)}")
    marks, types = zip(*(_split(label, scheme) for label in labels), strict=True) if labels else ((), ())
    mark_K, type_K = np.array(marks, dtype=str), np.array(types, dtype=str)
    goes_on_K = np.isin(mark_K, ["I", "E"])  # only inside a span
    open_K = np.isin(mark_K, ["B", "I"])  # a span is under way after this tag
    same_KK = type_K[:, None] == type_K
    inside_KK = open_K[:, None] & same_KK & goes_on_K
    # BIO may break off a span anywhere; BIOES must end what it began.
    may_leave_K = ~open_K if scheme == "bioes" else np.ones_like(open_K)
    return Constraints(inside_KK | (may_leave_K[:, None] & ~goes_on_K), ~goes_on_K, may_leave_K)


def _split(label: str, scheme: str) -> tuple[str, str]:
    """The mark and the type of a label."""
    letter, _, kind = label.partition("-")
    mark = _LETTERS[scheme].get(letter)
    if mark is None or (mark == "O") > (kind == ""):
        known = ", ".join(f"{name}-TYPE" for name in _LETTERS[scheme] if name != "O")
        raise ConfigError(f"label {label!r} is none of the {scheme} scheme. Known: {known} and O.")
    return mark, kind
