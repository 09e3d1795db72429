"""A whole training step of a BiLSTM-CRF tagger: embedding 100, dropout, BiLSTM 100 to 2 x 200, linear, CRF, AdamW.

    python -m benchmarks.train_step [--quick]         results/train_step.json

Ours is `gatework.nn.LSTM` and `gatework.nn.CRF`; the peers are torch's LSTM on packed and on padded sequences with
pytorch-crf. All else is the same module of torch: 10,000 words, batches of 32 ragged sentences of up to 40 words (eight
batches in turn), AdamW with `fused=True`. Everyone begins with the same weights, and without dropout the first losses
are the same (padded: not checked, its backward direction starts in the padding). The CRF alone is timed too.
T time, B batch, E embedding, H units, K tags, V words.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.measure import say
from benchmarks.peers import Missing, missing
from benchmarks.records import Results
from benchmarks.shapes import SEED, Shape, ragged

WORDS, EMBEDDING, UNITS, TAGS = 10_000, 100, 200, (20, 60)
BATCH = Shape(40, 32, EMBEDDING, UNITS, 2)
BATCHES, CHECKED_STEPS = 8, 3
CRFS = {"gatework": "gatework", "torch packed": "pytorch-crf"}
"""Forms that are timed as a CRF alone, and their names there."""
FORMS = {"gatework": "gatework.nn", "torch packed": "torch", "torch padded": "torch"}


def batches(tags: int) -> list[dict[str, Any]]:
    """Words, tags (B, T), lengths (B) and mask of each batch, as tensors; padding is 0."""
    import torch

    rng, made = np.random.default_rng(SEED), []
    for _ in range(BATCHES):
        lengths_B = ragged(BATCH, rng)
        live_BT = np.arange(BATCH.T) < lengths_B[:, None]
        one = {
            "words": rng.integers(WORDS, size=live_BT.shape) * live_BT,
            "tags": rng.integers(tags, size=live_BT.shape) * live_BT,
            "lengths": lengths_B,
            "mask": live_BT,
        }
        made.append({name: torch.from_numpy(array) for name, array in one.items()})
    return made


def make_crf(form: str, tags: int) -> Any:
    """The CRF layer of a form. Raises: Missing: it is not installed."""
    if form != "gatework":
        try:
            from torchcrf import CRF
        except ImportError:
            raise Missing("not installed: pytorch-crf; pip install -r benchmarks/requirements.txt") from None
        return CRF(tags, batch_first=True)
    from gatework import nn

    if not hasattr(nn, "CRF"):
        raise Missing("this Gatework has no nn.CRF")
    return nn.CRF(tags, batch_first=True)


def make_tagger(form: str, tags: int, dropout: float) -> Any:
    """The tagger with seeded weights; its call gives the mean loss of a sentence."""
    import torch
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(SEED)
            self.embedding = nn.Embedding(WORDS, EMBEDDING, padding_idx=0)
            self.lstm = _lstm(form)(EMBEDDING, UNITS, batch_first=True, bidirectional=True)
            self.linear = nn.Linear(2 * UNITS, tags)
            self.dropout = nn.Dropout(dropout)
            self.crf = make_crf(form, tags)
            with torch.no_grad():
                for name, weight in _crf_weights(tags).items():
                    getattr(self.crf, name).copy_(weight)

        def forward(self, batch: dict[str, Any]) -> Any:
            x_BTE = self.dropout(self.embedding(batch["words"]))
            if form == "torch padded":
                y_BTH = self.lstm(x_BTE)[0]
            elif form == "gatework":
                y_BTH = self.lstm(x_BTE, lengths=batch["lengths"])[0]
            else:
                packed = nn.utils.rnn.pack_padded_sequence(x_BTE, batch["lengths"], batch_first=True)
                y_BTH = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
            emissions_BTK = self.linear(self.dropout(y_BTH))
            return crf_loss(form, self.crf, emissions_BTK, batch) / BATCH.B

    return Tagger()


def crf_loss(form: str, crf: Any, emissions_BTK: Any, batch: dict[str, Any]) -> Any:
    """Negative log-likelihood of the tags, summed over the sentences."""
    if form == "gatework":
        return crf(emissions_BTK, batch["tags"], lengths=batch["lengths"], reduction="sum")
    return -crf(emissions_BTK, batch["tags"], mask=batch["mask"], reduction="sum")


def crf_decode(form: str, crf: Any, emissions_BTK: Any, batch: dict[str, Any]) -> list[list[int]]:
    """The best tags of each sentence."""
    if form == "gatework":
        paths: list[list[int]] = crf.decode(emissions_BTK, lengths=batch["lengths"])
        return paths
    best: list[list[int]] = crf.decode(emissions_BTK, mask=batch["mask"])
    return best


def _lstm(form: str) -> Any:
    import torch

    if form != "gatework":
        return torch.nn.LSTM
    from gatework.nn import LSTM

    return LSTM


def _crf_weights(tags: int) -> dict[str, Any]:
    import torch

    rng = np.random.default_rng(SEED)
    sizes = {"transitions": (tags, tags), "start_transitions": (tags,), "end_transitions": (tags,)}
    return {name: torch.from_numpy(rng.normal(size=size).astype(np.float32)) for name, size in sizes.items()}


class Stand:
    """Some forms in one process."""

    def __init__(self, frameworks: tuple[str, ...], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.forms = [form for form, framework in FORMS.items() if framework in frameworks]
        self.runs: dict[str, Callable[[], Any]] = {}

    def build_step(self, tags: int) -> tuple[dict[str, list[float]], dict[str, str]]:
        """The first losses of each form without dropout, and why others are left out."""
        self.runs.clear()
        losses, left_out, data = {}, {}, batches(tags)
        for form in self.forms:
            try:
                plain = _trained(form, tags, 0.0)
            except Missing as error:
                left_out[form] = str(error)
                continue
            losses[form] = [_step(plain, one).item() for one in data[:CHECKED_STEPS]]
            trained, turn = _trained(form, tags, 0.5), itertools.cycle(data)
            self.runs[form] = lambda trained=trained, turn=turn: _step(trained, next(turn))
        return losses, left_out

    def build_crf(self, tags: int, what: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The CRF alone, `viterbi` or `loss and gradients`: answers to compare, and why others are left out."""
        import torch

        self.runs.clear()
        answers, left_out, batch = {}, {}, batches(tags)[0]
        torch.manual_seed(SEED)
        emissions_BTK = torch.randn(BATCH.B, BATCH.T, tags, requires_grad=what != "viterbi")
        for form, name in CRFS.items():
            if form not in self.forms:
                continue
            try:
                crf = make_crf(form, tags)
            except Missing as error:
                left_out[name] = str(error)
                continue
            with torch.no_grad():
                for part, weight in _crf_weights(tags).items():
                    getattr(crf, part).copy_(weight)

            def viterbi(form: str = form, crf: Any = crf) -> Any:
                with torch.inference_mode():
                    return crf_decode(form, crf, emissions_BTK, batch)

            def gradients(form: str = form, crf: Any = crf) -> Any:
                emissions_BTK.grad = None
                crf.zero_grad(set_to_none=True)
                loss = crf_loss(form, crf, emissions_BTK, batch)
                loss.backward()
                return loss

            self.runs[name] = viterbi if what == "viterbi" else gradients
            found = self.runs[name]()
            if what == "viterbi":
                answers[name] = [list(map(int, path)) for path in found]
            else:
                grads = (emissions_BTK.grad, *(getattr(crf, part).grad for part in _crf_weights(tags)))
                answers[name] = [found.item(), *(grad.numpy().copy() for grad in grads)]
        return answers, left_out

    def burst(self, name: str) -> list[float]:
        """Seconds a call of one contestant."""
        return timing.burst(self.runs[name], seconds=0.15)


def _trained(form: str, tags: int, dropout: float) -> tuple[Any, Any]:
    import torch

    tagger = make_tagger(form, tags, dropout)
    return tagger, torch.optim.AdamW(tagger.parameters(), lr=1e-3, fused=True)


def _step(trained: tuple[Any, Any], batch: dict[str, Any]) -> Any:
    tagger, optimiser = trained
    optimiser.zero_grad(set_to_none=True)
    loss = tagger(batch)
    loss.backward()
    optimiser.step()
    return loss


def disagreement(answers: dict[str, Any]) -> str:
    """How ours differs from torch packed or pytorch-crf; empty where both are there and agree, or one is not."""
    ours, theirs = answers.get("gatework"), answers.get("torch packed", answers.get("pytorch-crf"))
    if ours is None or theirs is None:
        return ""
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(a, list):
            if a != b:
                return "best tags differ"
        elif not np.allclose(a, b, rtol=2e-4, atol=2e-4):
            return f"largest difference {np.abs(np.asarray(a) - np.asarray(b)).max():.3g}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements: a look, not a result")
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each group of contestants (default 6)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, help="results file, added to; default results/train_step.json")
    arguments = parser.parse_args()
    seconds, patience = (0.5, 0.0) if arguments.quick else (arguments.seconds, 15.0)
    results = Results(arguments.out or Results.path("quick" if arguments.quick else "train_step"))
    have = [one for one in dict.fromkeys(FORMS.values()) if not missing(one)]
    status, told = 0, set()
    for threads in arguments.threads:
        quiet = timing.Quiet(threads, patience)
        results.peak(threads, quiet.best)
        groups = [tuple(have)] if threads == 1 else [(one,) for one in have]
        with ExitStack() as stack:
            stands = [stack.enter_context(closing(timing.Remote(Stand, g, threads, threads=threads))) for g in groups]
            for tags in TAGS:
                for what in ("training step", "viterbi", "loss and gradients"):
                    answers, bursts = {}, {}
                    for stand in stands:
                        given = (tags,) if what == "training step" else (tags, what)
                        found, left_out = stand.call("build_step" if what == "training step" else "build_crf", *given)
                        for name, reason in left_out.items():
                            if reason not in told:
                                say(f"skipped: {name}: {reason}")
                                told.add(reason)
                        answers |= found
                        bursts |= {name: functools.partial(stand.call, "burst", name) for name in found}
                    if wrong := disagreement(answers):
                        say(f"WRONG: {what}, {tags} tags: {wrong}")
                        status = 1
                    if not bursts:
                        continue
                    share = quiet.wait()
                    for name, taken in timing.interleave(bursts, seconds).items():
                        results.add(what, threads, f"{tags} tags", name, taken, quiet=share)
                    say(results.line(what, threads, f"{tags} tags"))
        results.save()
    return status


if __name__ == "__main__":
    sys.exit(main())
