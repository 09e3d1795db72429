"""Torch modules: what a network is made of while it is trained.

`LSTM`, `GRU` and `RNN` stand in for those of `torch.nn`, `patch_torch` puts their kernels under a program that uses
torch's; `Network` builds an `Architecture` whole.
"""

from __future__ import annotations

from gatework.kernels import multiplies_bfloat16
from gatework.nn.characters import CharacterComposition
from gatework.nn.crf import CRF
from gatework.nn.dropin import GRU, LSTM, RNN
from gatework.nn.embedding import SPARSE_FROM, Embedding
from gatework.nn.language_model import PretrainHead
from gatework.nn.losses import Loss, balanced_class_weights
from gatework.nn.network import Logits, Network
from gatework.nn.next_token import NextToken
from gatework.nn.ngrams import NgramBag
from gatework.nn.pairs import Pairs
from gatework.nn.patch import Patch, patch_torch
from gatework.nn.pooling import Pooling
from gatework.nn.recurrent import Direction, RecurrentStack, StackState, detach_state
from gatework.nn.seq2seq import Seq2Seq
from gatework.nn.tagger import Tagger
from gatework.nn.tensors import TensorBatch, to_tensors
from gatework.nn.trunk import Trunk

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "RNN",
    "SPARSE_FROM",
    "CharacterComposition",
    "Direction",
    "Embedding",
    "Logits",
    "Loss",
    "Network",
    "NextToken",
    "NgramBag",
    "Pairs",
    "Patch",
    "Pooling",
    "PretrainHead",
    "RecurrentStack",
    "Seq2Seq",
    "StackState",
    "Tagger",
    "TensorBatch",
    "Trunk",
    "balanced_class_weights",
    "detach_state",
    "multiplies_bfloat16",
    "patch_torch",
    "to_tensors",
]
