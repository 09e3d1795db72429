"""The CRF alone: every operation of `kernels.crf` and `nn.CRF`, beside pytorch-crf where it has the operation.

    python -m benchmarks.crf [--tags 20 60] [--seconds 3] [--level avx2]

One thread; 32 sentences of 8 to 40 tokens; contestants in turn, medians; answers are compared first. `python -m
benchmarks.train_step` times the loss and Viterbi on more threads, inside a whole tagger too, and keeps results.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import timing
from benchmarks.measure import say
from gatework import kernels
from gatework.kernels import crf
from gatework.nn import CRF

T, B, SHORTEST = 40, 32, 8
PARTS = ("transitions", "start_transitions", "end_transitions")

Calls = dict[str, dict[str, Callable[[], Any]]]
"""Contestants by operation."""


def ours(e_TBK: Any, tags_TB: Any, lengths_B: Any, scores: crf.Scores, level: str) -> Calls:
    """Array in, array out."""
    call = functools.partial
    extreme = crf.Scores(np.where(scores.transitions_KK > 0, scores.transitions_KK, -np.inf), *scores[1:])
    return {
        "loss and gradients": {
            "kernels": call(crf.nll_and_gradients, e_TBK, tags_TB, lengths_B, scores, level=level),
            "kernels, all in the log domain": call(
                crf.nll_and_gradients, 1e4 * e_TBK, tags_TB, lengths_B, extreme, level=level
            ),
        },
        "loss": {"kernels": call(crf.nll, e_TBK, tags_TB, lengths_B, scores, level=level)},
        "Viterbi": {"kernels": call(crf.viterbi, e_TBK, lengths_B, scores, level=level)},
        "marginals": {"kernels": call(crf.marginals, e_TBK, lengths_B, scores, level=level)},
        "10 best": {"kernels": call(crf.n_best, e_TBK, lengths_B, scores, 10, level=level)},
    }


def modules(name: str, layer: Any, e_BTK: torch.Tensor, tags_BT: torch.Tensor, lengths_B: torch.Tensor) -> Calls:
    """Whole calls of a torch module, ours or pytorch-crf's."""
    e_BTK = e_BTK.clone().requires_grad_()
    mask_BT = torch.arange(T) < lengths_B[:, None]

    def loss() -> torch.Tensor:
        if name == "nn.CRF":
            return layer(e_BTK, tags_BT, lengths_B, reduction="sum")
        return -layer(e_BTK, tags_BT, mask=mask_BT, reduction="sum")

    def gradients() -> list[torch.Tensor]:
        e_BTK.grad = None
        layer.zero_grad(set_to_none=True)
        loss().backward()
        return [e_BTK.grad, *(getattr(layer, part).grad for part in PARTS)]

    def viterbi() -> Any:
        return layer.decode(e_BTK, lengths_B)[0] if name == "nn.CRF" else layer.decode(e_BTK, mask=mask_BT)

    calls = {"loss and gradients": gradients, "loss": torch.no_grad()(loss), "Viterbi": torch.no_grad()(viterbi)}
    return {what: {name: call} for what, call in calls.items()}


def disagreement(calls: Calls, lengths_B: Any) -> str:
    """How the answers of ours and theirs differ; empty where they do not, or there are none of theirs."""
    if "pytorch-crf" not in calls["Viterbi"]:
        return ""
    paths = calls["Viterbi"]["pytorch-crf"]()
    for name, tags_BT in (("kernels", calls["Viterbi"]["kernels"]()[0].T), ("nn.CRF", calls["Viterbi"]["nn.CRF"]())):
        if [row[:length] for row, length in zip(tags_BT.tolist(), lengths_B, strict=True)] != paths:
            return f"{name}: other best tags"
    want = calls["loss and gradients"]["pytorch-crf"]()
    found = {"nn.CRF": calls["loss and gradients"]["nn.CRF"]()}
    gradients = calls["loss and gradients"]["kernels"]()[1]
    found["kernels"] = [torch.from_numpy(part) for part in (gradients.emissions.swapaxes(0, 1), *gradients[1:])]
    for name, got in found.items():
        for a, b in zip(got, want, strict=True):
            if not torch.allclose(a, b, rtol=2e-4, atol=2e-4):
                return f"{name}: a gradient is off by {(a - b).abs().max():.2g}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tags", type=int, nargs="+", default=[20, 60])
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each operation (default 3)")
    parser.add_argument("--level", choices=kernels.levels()[1:], default=kernels.level())
    options = parser.parse_args()
    torch.set_num_threads(1)
    kernels.set_threads(1)
    try:
        from torchcrf import CRF as Theirs
    except ImportError:
        Theirs = None
        say("skipped: pytorch-crf: not installed; pip install -r benchmarks/requirements.txt")
    status = 0
    print(f"level {options.level}, one thread, {B} sentences of {SHORTEST} to {T} tokens; microseconds\n")
    print("| tags | operation | contestant | median | of processor time | pytorch-crf takes |")
    print("|---:|---|---|---:|---:|---:|")
    for tags in options.tags:
        rng = np.random.default_rng(tags)
        e_TBK = rng.normal(size=(T, B, tags)).astype(np.float32)
        scores = crf.Scores(*(rng.normal(size=size).astype(np.float32) for size in ((tags, tags), tags, tags)))
        tags_TB, lengths_B = rng.integers(tags, size=(T, B)), rng.integers(SHORTEST, T + 1, size=B)
        lengths_B[0] = T
        calls = ours(e_TBK, tags_TB, lengths_B, scores, options.level)
        given = [torch.from_numpy(np.ascontiguousarray(part)) for part in (e_TBK.swapaxes(0, 1), tags_TB.T, lengths_B)]
        for name, kind in {
            "nn.CRF": CRF,
            "pytorch-crf": functools.partial(Theirs, batch_first=True) if Theirs else None,
        }.items():
            if kind is None:
                continue
            layer = kind(tags)
            layer.load_state_dict({part: torch.from_numpy(one) for part, one in zip(PARTS, scores, strict=True)})
            for what, contestants in modules(name, layer, *given).items():
                calls[what] |= contestants
        if wrong := disagreement(calls, lengths_B.tolist()):
            say(f"WRONG: {tags} tags: {wrong}")
            status = 1
        for what, contestants in calls.items():
            bursts = {name: functools.partial(timing.burst, call) for name, call in contestants.items()}
            taken = timing.interleave(bursts, options.seconds)
            theirs = taken.get("pytorch-crf")
            for name, one in taken.items():
                ratio = f"{theirs.median / one.median:.0f} x" if theirs and name != "pytorch-crf" else ""
                print(f"| {tags} | {what} | {name} | {one.median * 1e6:.0f} | {one.processor * 1e6:.0f} | {ratio} |")
    return status


if __name__ == "__main__":
    sys.exit(main())
