"""A whole training step of a BiLSTM-CRF tagger: embedding 100, dropout, BiLSTM 100 to 2 x 200, linear, CRF, AdamW.

    python -m benchmarks.train_step [--quick]         results/train_step.json

Ours is `LSTM`, `CRF` and dropout of `gatework.nn`; the peers are torch's LSTM on packed and on padded sequences,
torch's dropout, and pytorch-crf. All else is the same module of torch: 10,000 words, batches of 32 ragged sentences of
up to 40 words (eight batches in turn), AdamW with `fused=True`. Everyone begins with the same weights, and without
dropout the first losses are the same (padded: not checked, its backward direction starts in the padding). The CRF
alone is timed too.
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
FORMS = {"gatework": "gatework.nn", "torch packed": "torch", "torch padded": "torch"}


CRF_PARTS = ("transitions", "start_transitions", "end_transitions")


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
    from gatework.nn import CRF

    return CRF(tags)


def make_tagger(form: str, tags: int, chance: float) -> Any:
    """The tagger with seeded weights; its call gives the mean loss of a sentence."""
    import torch
    from torch import nn

    if form == "gatework":
        from gatework.nn.dropout import dropout as drop
    else:
        drop = nn.functional.dropout

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(SEED)
            self.embedding = nn.Embedding(WORDS, EMBEDDING, padding_idx=0)
            self.lstm = _lstm(form)(EMBEDDING, UNITS, batch_first=True, bidirectional=True)
            self.linear = nn.Linear(2 * UNITS, tags)
            self.chance = chance
            self.crf = make_crf(form, tags)
            with torch.no_grad():
                for name, weight in _crf_weights(tags).items():
                    getattr(self.crf, name).copy_(weight)

        def forward(self, batch: dict[str, Any]) -> Any:
            x_BTE = drop(self.embedding(batch["words"]), self.chance, self.training)
            if form == "torch padded":
                y_BTH = self.lstm(x_BTE)[0]
            elif form == "gatework":
                y_BTH = self.lstm(x_BTE, lengths=batch["lengths"])[0]
            else:
                packed = nn.utils.rnn.pack_padded_sequence(x_BTE, batch["lengths"], batch_first=True)
                y_BTH = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
            emissions_BTK = self.linear(drop(y_BTH, self.chance, self.training))
            return crf_loss(form, self.crf, emissions_BTK, batch) / BATCH.B

    return Tagger()


def crf_loss(form: str, crf: Any, emissions_BTK: Any, batch: dict[str, Any]) -> Any:
    """Negative log-likelihood of the tags, summed over the sentences."""
    if form == "gatework":
        return crf(emissions_BTK, batch["tags"], batch["lengths"], reduction="sum")
    return -crf(emissions_BTK, batch["tags"], mask=batch["mask"], reduction="sum")


def _lstm(form: str) -> Any:
    import torch

    if form != "gatework":
        return torch.nn.LSTM
    from gatework.nn import LSTM

    return LSTM


def _crf_weights(tags: int) -> dict[str, Any]:
    import torch

    rng = np.random.default_rng(SEED)
    sizes = ((tags, tags), (tags,), (tags,))
    weights = (torch.from_numpy(rng.normal(size=size).astype(np.float32)) for size in sizes)
    return dict(zip(CRF_PARTS, weights, strict=True))


class TorchCrf:
    """A CRF module: ours or that of pytorch-crf."""

    def __init__(self, form: str, crf: Any, emissions_BTK: Any, batch: dict[str, Any]) -> None:
        self.form, self.crf, self.batch = form, crf, batch
        self.emissions_BTK = emissions_BTK.clone().requires_grad_()

    def viterbi(self) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        """The best tags of each sentence."""
        import torch

        emissions_BTK, batch = self.emissions_BTK.detach(), self.batch
        if self.form == "gatework":
            run = torch.inference_mode()(lambda: self.crf.decode(emissions_BTK, batch["lengths"]))
            return run, lambda found: _paths(found[0].tolist(), batch)
        return torch.inference_mode()(lambda: self.crf.decode(emissions_BTK, mask=batch["mask"])), list

    def loss(self) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        """The loss and the gradients of everything."""
        parts = [getattr(self.crf, part) for part in CRF_PARTS]

        def run() -> Any:
            self.emissions_BTK.grad = None
            self.crf.zero_grad(set_to_none=True)
            loss = crf_loss(self.form, self.crf, self.emissions_BTK, self.batch)
            loss.backward()
            return loss

        return run, lambda loss: [loss.item(), *(one.grad.numpy().copy() for one in (self.emissions_BTK, *parts))]


class KernelCrf:
    """`gatework.kernels.crf`, array in and array out, time first."""

    def __init__(self, form: str, crf: Any, emissions_BTK: Any, batch: dict[str, Any]) -> None:
        from gatework.kernels import crf as kernels

        self.kernels: Any = kernels
        self.scores = kernels.Scores(*(getattr(crf, part).detach().numpy() for part in CRF_PARTS))
        self.emissions_TBK = np.ascontiguousarray(emissions_BTK.numpy().swapaxes(0, 1))
        self.tags_TB = np.ascontiguousarray(batch["tags"].numpy().T)
        self.lengths_B, self.batch = batch["lengths"].numpy(), batch

    def viterbi(self) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        """The best tags of each sentence."""
        run = functools.partial(self.kernels.viterbi, self.emissions_TBK, self.lengths_B, self.scores)
        return run, lambda found: _paths(found[0].T.tolist(), self.batch)

    def loss(self) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        """The loss and the gradients of everything."""
        given = self.emissions_TBK, self.tags_TB, self.lengths_B, self.scores

        def read(found: Any) -> list[Any]:
            nll_B, gradients = found
            return [nll_B.sum(), gradients.emissions.swapaxes(0, 1), *gradients[1:]]

        return functools.partial(self.kernels.nll_and_gradients, *given), read


def _paths(tags_BT: list[list[int]], batch: dict[str, Any]) -> list[list[int]]:
    return [tags[:length] for tags, length in zip(tags_BT, batch["lengths"].tolist(), strict=True)]


CRFS: dict[str, dict[str, Any]] = {
    "gatework": {"gatework": KernelCrf, "gatework.nn": TorchCrf},
    "torch packed": {"pytorch-crf": TorchCrf},
}
"""The CRF alone: contestants of each form."""


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
        emissions_BTK = torch.randn(BATCH.B, BATCH.T, tags)
        for form, contestants in CRFS.items():
            if form not in self.forms:
                continue
            try:
                crf = make_crf(form, tags)
            except Missing as error:
                left_out[form] = str(error)
                continue
            with torch.no_grad():
                for part, weight in _crf_weights(tags).items():
                    getattr(crf, part).copy_(weight)
            for name, kind in contestants.items():
                self.runs[name], read = getattr(kind(form, crf, emissions_BTK, batch), what.split()[0])()
                answers[name] = read(self.runs[name]())
        return answers, left_out

    def burst(self, name: str) -> timing.Spent:
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
    """How ours differ from torch packed or pytorch-crf; empty where none does. Padded torch is another model."""
    theirs = answers.get("torch packed", answers.get("pytorch-crf"))
    for name in ("gatework", "gatework.nn"):
        if theirs is None or name not in answers:
            continue
        for a, b in zip(answers[name], theirs, strict=True):
            if isinstance(a, list):
                if a != b:
                    return f"{name}: best tags differ"
            elif not np.allclose(a, b, rtol=2e-4, atol=2e-4):
                return f"{name}: differs by {np.abs(np.asarray(a) - np.asarray(b)).max():.3g}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements: a look, not a result")
    parser.add_argument("--seconds", type=float, default=4.0, help="time for each group of contestants (default 4)")
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
