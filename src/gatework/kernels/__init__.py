"""The compiled kernels' Python face: arrays in and out, NumPy where the extension is missing.

packed = pack("lstm", {"w_GI": ..., "r_GH": ..., "b_G": ...})
y_TBH, state = sequence("lstm", x_TBI, lengths_B, packed)
"""

from __future__ import annotations

from gatework.kernels import crf
from gatework.kernels.dispatch import available, level, levels, multiplies_bfloat16, trains
from gatework.kernels.parallel import set_threads, threads
from gatework.kernels.sentence import Sentence, TableRows, ngram_search, sentence
from gatework.kernels.sequence import Packed, both_ways, pack, sequence
from gatework.kernels.state import RecurrentState
from gatework.kernels.step import Folded, Stepper, fold
from gatework.kernels.training import recurrent_backward, recurrent_forward, tape_size

__all__ = [
    "Folded",
    "Packed",
    "RecurrentState",
    "Sentence",
    "Stepper",
    "TableRows",
    "available",
    "both_ways",
    "crf",
    "fold",
    "level",
    "levels",
    "multiplies_bfloat16",
    "ngram_search",
    "pack",
    "recurrent_backward",
    "recurrent_forward",
    "sentence",
    "sequence",
    "set_threads",
    "tape_size",
    "threads",
    "trains",
]
