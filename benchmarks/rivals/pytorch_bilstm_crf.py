"""The network of our tagging recipes in plain PyTorch: `nn.LSTM` on packed sequences and pytorch-crf.

    pip install -r benchmarks/requirements.txt
    GATEWORK_DATA=../data python -m benchmarks.rivals.pytorch_bilstm_crf --out results/tagging.jsonl

The recipe decides both networks, and both start from the same weights, so their first emissions and losses are the
same; that is checked. The loop around them is the same too (batches, optimisers, schedule, averaging, the best epoch on
dev): what differs is the network alone. pytorch-crf knows no legality mask, so illegal transitions are learnt, not
ruled out; options of our encoder that `nn.LSTM` lacks are left out, and named in the record.

    speed      whole training steps on the same batches in turn, one thread: tokens a second, padding not counted
    quality    the recipe's number of epochs; the best on dev is scored on test as `gatework evaluate` scores
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import measure
from benchmarks.classification import RECIPES
from benchmarks.rivals.bilstm_crf_network import Rival
from benchmarks.sets import data_folder
from benchmarks.tag_score import score
from benchmarks.tag_sets import TagSet, choose, read
from gatework import kernels
from gatework.core.recipe_io import load_recipe
from gatework.nn import Tagger, to_tensors
from gatework.tasks import TASKS, Prepared
from gatework.train.checkpoint import Keeper
from gatework.train.clock import Clock
from gatework.train.fitting import build_network, own_world, run_stages
from gatework.train.interrupt import InterruptFlag
from gatework.train.loop import Surroundings
from gatework.train.optimisers import Optimisers
from gatework.train.parallel import Group
from gatework.train.progress import Reporter
from gatework.train.run_folder import RunFolder
from gatework.train.tagging import Tagging

ON = ("ner-resume", "pos-ewt")
TIMED_BATCHES = 8
FORBIDDEN = -1e4
"""What stands for an illegal transition when losses are compared."""
PARTS = ("transitions", "start_transitions", "end_transitions")


def left_out(prepared: Prepared) -> list[str]:
    """Options of the recipe that only our network has."""
    model = prepared.recipe.model
    values = {name: getattr(model, name) for name in ("variational_dropout", "weight_drop", "zoneout")}
    return [f"model.{name}={value}" for name, value in values.items() if value]


def check(prepared: Prepared, stage: Tagging, ours: Tagger, rival: Rival) -> None:
    """Raise SystemExit unless both give a batch the same emissions and, illegal paths ruled out, the same loss."""
    indices = stage.batches(0)[0]
    theirs = copy.deepcopy(rival)
    constraints = prepared.constraints[0]
    with torch.no_grad():
        if constraints is not None:
            for name, allowed in zip(PARTS, constraints, strict=True):
                getattr(theirs.crf, name).masked_fill_(torch.from_numpy(~allowed), FORBIDDEN)
        found = []
        for network in (ours, theirs):
            network.eval()
            stage.network = network
            found.append(float(stage.loss(indices).value))
            network.train()
    stage.network = ours
    if not np.isclose(*found, rtol=1e-4):
        sys.exit(f"the networks differ: a batch's loss is {found[0]:.6f} of ours and {found[1]:.6f} of PyTorch's.")


def steps(stage: Tagging, network: Any, clip: float) -> Callable[[], None]:
    """Training steps over the first batches of an epoch, all of them in a call."""
    network.train()
    batches = stage.batches(0)[:TIMED_BATCHES]
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimisers = Optimisers(network, named, stage.settings)

    def run() -> None:
        stage.network = network
        for indices in batches:
            optimisers.zero_grad()
            stage.loss(indices).value.backward()
            optimisers.clip(clip)
            optimisers.step()

    return run


def speed(task: Any, prepared: Prepared, seconds: float) -> dict[str, Any]:
    """Training tokens a second of ours and of the rival, in turn, with one thread."""
    torch.set_num_threads(1)
    kernels.set_threads(1)
    ours = build_network(prepared)
    rival = Rival(ours)
    stage = Tagging(task, prepared, ours)
    check(prepared, stage, ours, rival)
    clip = prepared.recipe.train.clip_norm
    runs = {"gatework": steps(stage, ours, clip), "pytorch": steps(stage, rival, clip)}
    for run in runs.values():
        run()
    tokens = sum(int(stage.lengths_N[indices].sum()) for indices in stage.batches(0)[:TIMED_BATCHES])
    spent: dict[str, list[float]] = {name: [] for name in runs}
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(spent["pytorch"]) < 5:
        for name, run in runs.items():
            start = time.process_time()  # other programs on the machine do not count
            run()
            spent[name].append(time.process_time() - start)
    rates = {f"{name}_rate": tokens / float(np.median(times)) for name, times in spent.items()}
    return rates | {"ratio": rates["gatework_rate"] / rates["pytorch_rate"], "rounds": len(spent["pytorch"])}


def train(task: Any, prepared: Prepared, folder: Path) -> tuple[Rival, dict[str, Any]]:
    """Train the rival by the recipe; returns it with the weights of its best epoch, and how it went."""
    settings = prepared.recipe.train
    with InterruptFlag() as interrupt, own_world(settings.seed):
        rival = Rival(build_network(prepared))
        run = RunFolder(folder)
        run.begin(prepared.recipe, resume=False)
        around = Surroundings(
            settings=settings, group=Group(), clock=Clock(), keeper=Keeper(run.checkpoints, every_seconds=1e9),
            reporter=Reporter(run, progress=None, quiet=True), interrupt=interrupt, identity={},
            higher_is_better=True, how_to_go_on="start again",
        )  # fmt: skip
        stage = Tagging(task, prepared, rival)  # type: ignore[arg-type]
        begun = time.process_time()
        loop = run_stages([stage], around, None)
        best = {name.removeprefix("weights/"): w for name, w in loop.best.items() if name.startswith("weights/")}
        rival.load_state_dict({name: torch.from_numpy(weight) for name, weight in best.items()})
    course = loop.course
    return rival, {
        "epochs": course.epoch,
        "best_epoch": course.best_epoch,
        "train_seconds": course.stage_seconds,
        "train_processor_seconds": time.process_time() - begun,
    }


def tagged(prepared: Any, rival: Rival, one: TagSet, tokens: list[list[str]]) -> list[list[str]]:
    """The rival's tags of sentences, BIO where they mark spans."""
    from gatework.core.tag_scheme import from_inside

    rival.eval()
    layer, codec, found = prepared.layers[0], prepared.codec, []
    for start in range(0, len(tokens), 64):
        chunk = tokens[start : start + 64]
        batch = to_tensors(codec.collate([codec.encode_tokens(sentence) for sentence in chunk]))
        with torch.no_grad():
            paths = rival.decode(rival(batch), batch.lengths_W)[0]
        for row, sentence in zip(paths.tolist(), chunk, strict=True):
            tags = [layer.labels[tag] for tag in row[: len(sentence)]]
            found.append(list(from_inside(tags, "bio")) if one.spans and not one.segment else tags)
    return found


def bench(one: TagSet, seconds: float, epochs: int | None) -> dict[str, Any]:
    """The figures of one set."""
    task = TASKS["tag"]
    recipe = load_recipe(RECIPES / f"{one.name}.toml").filled(task.defaults)
    if recipe.model.bert:
        sys.exit(f"{one.name}: the script has no BERT; name another set.")
    if epochs is not None:
        recipe = recipe.replace(train={"epochs": epochs})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepared = task.prepare(recipe, folder, measure.say)
        figures: dict[str, Any] = {"training": speed(task, prepared, seconds), "left_out": left_out(prepared)}
        if prepared.recipe.train.epochs and epochs != 0:
            rival, how = train(task, prepared, folder / "rival.run")
            test = list(read(one, data_folder() / one.folder / one.test))
            scores = score(one, [s.tags for s in test], tagged(prepared, rival, one, [s.tokens for s in test]))
            figures |= how | {name: scores[name] for name in ("f1", "accuracy", "seg_f1") if name in scores}
    return figures | {"scored_on": one.scored_on, "version": version()}


def version() -> str:
    return f"torch {torch.__version__}, pytorch-crf {importlib.metadata.version('pytorch-crf')}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"sets by recipe name; default {', '.join(ON)}")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for the training steps in turn (default 20)")
    parser.add_argument("--epochs", type=int, help="other than the recipe's; 0 measures the steps alone")
    parser.add_argument("--out", type=Path, default=Path("tagging.jsonl"), help="results file, appended to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for one in choose(arguments.sets, ON):
        figures = bench(one, arguments.seconds, arguments.epochs)
        measure.write(arguments.out, "pytorch", one.name, figures)
        rates = figures["training"]
        measure.say(
            f"{one.name}: {rates['gatework_rate']:,.0f} tokens/s of ours, {rates['pytorch_rate']:,.0f} of PyTorch"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
