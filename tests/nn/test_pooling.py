"""Pooling over windows against pooling written out over whole sequences."""

from __future__ import annotations

import pytest
import torch

from gatework.core.errors import ConfigError
from gatework.nn import Pooling

LENGTHS = [[3, 3, 2], [1], [3, 1]]
"""Tokens of each window of each sequence."""
WIDTH = 4


def pool(kind: str, *, bidirectional: bool = True) -> Pooling:
    torch.manual_seed(4)
    return Pooling((kind,), WIDTH, bidirectional=bidirectional, attention=3).double()


def windows(lengths: list[list[int]], time: int = 3):
    """Outputs of windows, zero past each length, and the sequences they are cut from."""
    torch.manual_seed(5)
    rows = [length for sequence in lengths for length in sequence]
    y = torch.randn(len(rows), time, WIDTH, dtype=torch.float64) - 2.0  # zeros of padding would win a careless max
    for row, length in zip(y, rows, strict=True):
        row[length:] = 0.0
    owner = torch.tensor([index for index, sequence in enumerate(lengths) for _ in sequence])
    pieces = iter(zip(y, rows, strict=True))
    whole = [torch.cat([row[:length] for row, length in (next(pieces) for _ in sequence)]) for sequence in lengths]
    return y, torch.tensor(rows), owner, whole


def reference(module: Pooling, kind: str, y_TP: torch.Tensor, last_window: int) -> torch.Tensor:
    if kind == "mean":
        return y_TP.mean(0)
    if kind == "max":
        return y_TP.max(0).values
    if kind == "last":
        return torch.cat([y_TP[-1, : WIDTH // 2], y_TP[-last_window, WIDTH // 2 :]])
    scores_T = torch.tanh(y_TP @ module.w_AP.T + module.b_A) @ module.v_A
    return scores_T.softmax(0) @ y_TP


@pytest.mark.parametrize("kind", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("lengths", [LENGTHS, [[3], [1], [2]]], ids=["windowed", "whole"])
def test_equals_pooling_of_the_unwindowed_sequence(kind, lengths):
    module, (y, rows, owner, whole) = pool(kind), windows(lengths)
    got = module(y, lengths_W=rows, sequence_W=owner, sequences=len(lengths))
    want = torch.stack([reference(module, kind, seq, of[-1]) for seq, of in zip(whole, lengths, strict=True)])
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_last_of_one_direction_is_the_last_output():
    module, (y, rows, owner, whole) = pool("last", bidirectional=False), windows(LENGTHS)
    got = module(y, lengths_W=rows, sequence_W=owner, sequences=3)
    torch.testing.assert_close(got, torch.stack([sequence[-1] for sequence in whole]), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["last", "mean", "max", "attention"])
def test_gradients(kind):
    module, (y, rows, owner, _) = pool(kind), windows(LENGTHS)
    weights = tuple(module.parameters())

    def pooled(y, *_):
        return module(y, lengths_W=rows, sequence_W=owner, sequences=3)

    assert torch.autograd.gradcheck(pooled, (y.requires_grad_(), *weights))


def test_attention_survives_huge_scores():
    module, (y, rows, owner, _) = pool("attention"), windows(LENGTHS)
    with torch.no_grad():
        module.v_A.mul_(1e4)
    assert module(y, lengths_W=rows, sequence_W=owner, sequences=3).isfinite().all()


def test_several_are_concatenated_in_order():
    y, rows, owner, _ = windows(LENGTHS)
    both = Pooling(("max", "mean"), WIDTH, bidirectional=True)(y, lengths_W=rows, sequence_W=owner, sequences=3)
    parts = [pool(kind)(y, lengths_W=rows, sequence_W=owner, sequences=3) for kind in ("max", "mean")]
    torch.testing.assert_close(both, torch.cat(parts, 1), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [((), "model.pooling is empty"), (("mena",), "Did you mean 'mean'"), (("attention",), "model.attention must be")],
)
def test_bad_options(kinds, message):
    with pytest.raises(ConfigError, match=message):
        Pooling(kinds, WIDTH, bidirectional=True)
