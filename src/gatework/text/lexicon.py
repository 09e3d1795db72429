"""Words of a lexicon over a sentence (soft-lexicon)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class LexiconHits(NamedTuple):
    """The words of a lexicon that cover tokens of one text, L of them in all."""

    slots: npt.NDArray[np.int32]
    """4 * token + set, rising; set 0: the word begins here, 1: it lies across, 2: it ends here, 3: the token is it."""
    rows: npt.NDArray[np.int32]
    """Rows of the lexicon's table, from 1."""
    weights: npt.NDArray[np.float32]
    """4 z(w) / Z, where z counts a word in training and Z sums the z of all words at its token."""
