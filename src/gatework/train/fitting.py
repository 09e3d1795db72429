"""From a recipe to trained weights: prepare the data, build the network, run the stages, keep the best."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatework.core.errors import ConfigError, DataError, Interrupted
from gatework.core.recipe import Recipe
from gatework.export import plan_size
from gatework.nn import SPARSE_FROM, Network, NextToken, Seq2Seq, Tagger, multiplies_bfloat16
from gatework.tasks import TASKS, Prepared, Task
from gatework.text import read_vectors
from gatework.train.checkpoint import Checkpoint, Keeper, latest
from gatework.train.clock import Clock
from gatework.train.fine_tune import FineTune
from gatework.train.hidden_layers import attach_hidden_layers, bert_weights, frozen_weights
from gatework.train.interrupt import InterruptFlag
from gatework.train.language import Language
from gatework.train.loop import Course, Loop, Surroundings
from gatework.train.naive_bayes import ngram_logits
from gatework.train.pairs import Pairing
from gatework.train.parallel import Group
from gatework.train.pretrain import Pretrain
from gatework.train.progress import ProgressCallback, Reporter
from gatework.train.risk import Risk
from gatework.train.run_folder import RunFolder
from gatework.train.stage import Stage, Weights
from gatework.train.tagging import Tagging
from gatework.train.teacher import load_bundle, write_answers

Say = Callable[[str], None]
AnyNetwork = Network | Tagger | NextToken | Seq2Seq

ROWS_A_TOKEN = 4
"""Rows of a table for each token of a batch, from which sparse gradients are faster."""


def silent(sentence: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What training gave."""

    weights: Weights
    """The weights of the best epoch, by the names of `core.architecture`, float32."""
    outputs: Weights
    """What they answer on the dev examples, by name; see `tasks.task`."""
    prepared: Prepared
    metrics: dict[str, Any]
    """Dev metrics of these weights, from the network in training."""
    best_epoch: int
    """Of the last stage, counted from 1; 0 where it began with better weights than it came to."""
    history: list[dict[str, Any]]
    """One entry an epoch: stage, epoch, loss, dev metrics, whether it was the best so far."""
    seconds: float
    """Of training: stages alone, without preparing the data."""
    reason: str
    """Why it ended: `epochs`, `patience` or `time`."""


def fit(
    recipe: Recipe,
    *,
    run_folder: str | os.PathLike[str],
    say: Say = silent,
    progress: ProgressCallback | None = None,
    resume: bool = False,
    group: Group | None = None,
    clock: Clock | None = None,
    finish: Callable[[Prepared, float], float] | None = None,
    command: str = "",
    how_to_go_on: str | None = None,
) -> FitResult:
    """Train by a recipe and return the best weights.

    Args:
        recipe: what to learn, from what, and how.
        run_folder: where the run is kept; see `run_folder.RunFolder`. An earlier run in it is replaced.
        say: told in sentences what was inferred and what happens.
        progress: told a few times a second how far it is.
        resume: go on with the run in `run_folder`; one without a checkpoint yet starts over.
        group: the processes that train together.
        clock: measures the run against `train.time_budget`; a new one counts from now.
        finish: seconds that what follows will take, from the data and the seconds a token takes to evaluate; training
            leaves these of a time budget.
        command: that asks for this, kept in the run folder.
        how_to_go_on: a command that resumes the run, for the message of `Interrupted`.
    Raises:
        ConfigError, DataError, OutputError: the user can mend it; the last checkpoint, if any, is whole.
        Interrupted: Ctrl-C; a checkpoint is kept, and the message says how to go on.
    """
    recipe = recipe.filled(TASKS[recipe.task].defaults)
    group = group or Group()
    clock = clock or Clock(budget=recipe.train.time_budget)
    folder = RunFolder(Path(run_folder))
    go_on = how_to_go_on or f"gatework train --resume {folder.path}"
    if group.first:
        folder.begin(recipe, resume=resume, command=command)
    group.wait()
    try:
        with InterruptFlag() as interrupt, own_world(recipe.train.seed):
            return _fit(recipe, folder, say, progress, resume, group, clock, finish, interrupt, go_on)
    except KeyboardInterrupt:
        kept = latest(folder.checkpoints, say=silent) is not None
        state = "the last checkpoint is kept" if kept else "before the first checkpoint"
        raise Interrupted(f"stopped; {state}. Go on with: {go_on}") from None


def _fit(
    recipe: Recipe,
    folder: RunFolder,
    say: Say,
    progress: ProgressCallback | None,
    resume: bool,
    group: Group,
    clock: Clock,
    finish: Callable[[Prepared, float], float] | None,
    interrupt: InterruptFlag,
    go_on: str,
) -> FitResult:
    recipe = _at_full_speed(recipe, say)
    checkpoint = latest(folder.checkpoints, say=say) if resume else None
    threads = recipe.train.threads or (checkpoint.state["identity"]["threads"] if checkpoint else 0)
    if threads:
        torch.set_num_threads(threads)
    task = TASKS[recipe.task]
    prepared = _prepare(task, recipe, folder, group, say)
    plan = plan_size(prepared)
    for sentence in plan.sentences:
        say(sentence)
    if plan.recipe is not prepared.recipe:
        prepared = _prepare(task, plan.recipe, folder, group, silent)
    if finish is not None:
        clock.finish = partial(finish, prepared)
    identity = _identity(prepared, group)
    if checkpoint is not None:
        _check_identity(checkpoint, identity, folder.path)
        say(f"resuming at {_place(checkpoint)}")
    elif resume:
        say(f"{folder.path}: no checkpoint yet; starting over")
    if group.first:
        resolved = prepared.recipe.model_dump(mode="json")
        folder.write_json(folder.resolved, {"recipe": resolved, "facts": prepared.facts})
    reporter = Reporter(folder, progress=progress, quiet=not group.first)
    reporter.note("resumed" if resume else "started", task=recipe.task, **_place_facts(checkpoint), **identity)
    around = Surroundings(
        settings=prepared.recipe.train,
        group=group,
        clock=clock,
        keeper=Keeper(folder.checkpoints, every_seconds=recipe.train.checkpoint_seconds),
        reporter=reporter,
        interrupt=interrupt,
        identity=identity,
        higher_is_better=task.metrics.get(recipe.train.metric, True),
        how_to_go_on=go_on,
    )
    try:
        loop = run_stages(_stages(task, prepared, say), around, checkpoint)
    finally:
        reporter.close()
    return _result(loop, prepared)


def _at_full_speed(recipe: Recipe, say: Say) -> Recipe:
    """The recipe, in float32 on a processor that would have to imitate bfloat16: ten times as slow, and no better."""
    if recipe.train.precision == "fp32" or multiplies_bfloat16():
        return recipe
    say("train.precision bf16: this processor has no instructions for it; training goes on in fp32")
    return recipe.replace(train={"precision": "fp32"})


def run_stages(stages: list[Stage], around: Surroundings, checkpoint: Checkpoint | None) -> Loop:
    """Run the stages that are left, beginning inside the one of the checkpoint. Returns the last one's loop."""
    names = [stage.name for stage in stages]
    begin = names.index(checkpoint.state["course"]["stage"]) if checkpoint is not None else 0
    loop: Loop | None = None
    best: Weights = {}
    history: list[dict[str, Any]] = []
    seconds = 0.0
    for stage in stages[begin:]:
        loop = Loop(stage, around, last=stage is stages[-1])
        if checkpoint is not None and stage is stages[begin]:
            loop.load(checkpoint)
        else:
            stage.begin(best)
            loop.course.history, loop.course.stage_seconds = history, seconds
        loop.run()
        best, history, seconds = loop.best, loop.course.history, loop.course.stage_seconds
    if loop is None:
        raise ConfigError("there is no stage to run. Set train.epochs to 1 or more.")
    return loop


def _stages(task: Task, prepared: Prepared, say: Say) -> list[Stage]:
    network = build_network(prepared, say)
    learn, train = learning_stage(task, prepared, network), prepared.recipe.train
    if isinstance(network, Seq2Seq):
        later: list[Stage] = [Risk(task, prepared, network)] if train.risk_epochs else []
        return [learn, *later] if train.epochs else later
    for name in ("start", "risk_epochs", "scheduled_sampling", "teacher"):
        if getattr(train, name):
            raise ConfigError(f"train.{name} is for sequence to sequence. Leave it out.")
    if isinstance(network, NextToken) or not train.pretrain_epochs:
        return [learn]
    return [Pretrain(prepared, network), learn]


def learning_stage(task: Task, prepared: Prepared, network: AnyNetwork) -> Stage:
    """The stage that learns the task, as the network has its head."""
    if isinstance(network, NextToken):
        return Language(task, prepared, network)
    if isinstance(network, Seq2Seq):
        return Pairing(task, prepared, network)
    if isinstance(network, Tagger):
        return Tagging(task, prepared, network)
    return FineTune(task, prepared, network)


def build_network(prepared: Prepared, say: Say = silent) -> AnyNetwork:
    """The network of a recipe with fresh weights, and imported vectors where the recipe names some."""
    recipe = prepared.recipe
    model = recipe.model
    torch.manual_seed(recipe.train.seed)
    if prepared.architecture.head == "next_token":
        return _language_model(prepared)
    if prepared.architecture.head == "sequence":
        return _seq2seq(prepared)
    options: dict[str, Any] = {
        "dropout": model.dropout,
        "embedding_dropout": model.embedding_dropout,
        "word_dropout": recipe.input.word_dropout,
        "feature_dropout": recipe.input.feature_dropout,
        "variational_dropout": model.variational_dropout,
        "weight_drop": model.weight_drop,
        "zoneout": model.zoneout,
        "forget_bias": model.forget_bias,
        "vectors_VE": _vectors(prepared, say),
        "freeze_vectors": recipe.input.freeze_vectors,
        "sparse_embedding": _read_sparsely(prepared),
        "bert_trained": model.bert_trained,
        "states_dropout": model.language_model_dropout,
    }
    attach_hidden_layers(prepared, say)
    if prepared.architecture.head == "per_step":
        smoothing = recipe.train.label_smoothing
        tagger = Tagger(prepared.architecture, constraints=prepared.constraints, label_smoothing=smoothing, **options)
        _start_bert(tagger, prepared)
        if tagger.inputs.lexicon is not None and prepared.lexicon_vectors is not None:
            tagger.inputs.lexicon.start_from(prepared.lexicon_vectors)
        return tagger
    network = Network(prepared.architecture, **options)
    _start_bert(network, prepared)
    if network.ngrams is not None and model.ngram_start == "naive-bayes":
        rows, outputs = network.ngrams.weight.shape
        with torch.no_grad():
            network.ngrams.weight.copy_(torch.from_numpy(ngram_logits(prepared.train, rows=rows, outputs=outputs)))
    return network


def _language_model(prepared: Prepared) -> NextToken:
    recipe = prepared.recipe
    model, train = recipe.model, recipe.train
    sampled = model.softmax == "sampled"
    touched = train.streams * train.bptt + model.negatives
    return NextToken(
        prepared.architecture,
        dropout=model.dropout,
        output_dropout=model.output_dropout,
        locked=model.locked_dropout,
        embedding_dropout=model.embedding_dropout,
        vocabulary_dropout=model.vocabulary_dropout,
        word_dropout=recipe.input.word_dropout,
        variational_dropout=model.variational_dropout,
        weight_drop=model.weight_drop,
        zoneout=model.zoneout,
        forget_bias=model.forget_bias,
        label_smoothing=train.label_smoothing,
        activation_penalty=train.activation_penalty,
        temporal_penalty=train.temporal_penalty,
        counts_V=prepared.train.counts_V,
        negatives=model.negatives if sampled else 0,
        sparse=sampled and prepared.architecture.vocabulary >= ROWS_A_TOKEN * touched,
    )


def _seq2seq(prepared: Prepared) -> Seq2Seq:
    recipe = prepared.recipe
    model, start = recipe.model, getattr(prepared, "start", None)
    network = Seq2Seq(
        prepared.architecture,
        dropout=model.dropout,
        output_dropout=model.output_dropout,
        embedding_dropout=model.embedding_dropout,
        word_dropout=recipe.input.word_dropout,
        variational_dropout=model.variational_dropout,
        weight_drop=model.weight_drop,
        zoneout=model.zoneout,
        forget_bias=model.forget_bias,
        label_smoothing=recipe.train.label_smoothing,
        uncopied_weight=recipe.train.uncopied_weight,
        counts_V=prepared.train.target.counts_V,
    )
    if start is not None:
        load_bundle(network, start.bundle.weights)
    return network


def _start_bert(network: Network | Tagger, prepared: Prepared) -> None:
    """A BERT that is fine-tuned starts as it lies in its folder."""
    if network.inputs.bert is not None and network.inputs.bert.encoder is not None:
        network.inputs.bert.encoder.load(bert_weights(prepared))


def _read_sparsely(prepared: Prepared) -> bool:
    """Whether a batch touches so few of the token vectors that sparse gradients are faster than dense ones."""
    return prepared.architecture.vocabulary >= min(SPARSE_FROM, ROWS_A_TOKEN * prepared.recipe.train.batch_tokens)


def _vectors(prepared: Prepared, say: Say) -> npt.NDArray[np.floating] | None:
    """Imported vectors by token id, zero where the file has none; None without a file."""
    wanted = prepared.recipe.input
    if wanted.vectors is None:
        return None
    codec = prepared.codec
    width = prepared.recipe.model.embedding
    found = read_vectors(wanted.vectors, codec.vocabulary, width=width, normalise=codec.normalise)
    say(f"{wanted.vectors}: {found.describe()}")
    return found.matrix_VE


def _prepare(task: Task, recipe: Recipe, folder: RunFolder, group: Group, say: Say) -> Prepared:
    """Every process prepares for itself, in a folder of its own: nothing is sent, and all come to the same."""
    own = folder.prepared if group.first else folder.prepared / f"process-{group.rank}"
    own.mkdir(parents=True, exist_ok=True)
    said = say if group.first else silent
    if recipe.train.teacher_targets != "none":
        write_answers(task, recipe, own, said)
    prepared = task.prepare(recipe, own, said)
    group.wait()
    return prepared


def _identity(prepared: Prepared, group: Group) -> dict[str, Any]:
    """What must be as it was for a resumed run to be the same run."""
    entries = prepared.entries()
    digest = hashlib.sha256()
    for name in sorted(entries):
        digest.update(name.encode() + b"\0" + hashlib.sha256(bytes(entries[name])).digest())
    digest.update(np.ascontiguousarray(prepared.train.lengths_N, dtype=np.int64).tobytes())
    return {
        "data": str(prepared.facts.get("sha256", "")),
        "encoding": digest.hexdigest(),
        "architecture": json.loads(json.dumps(prepared.architecture.to_dict())),
        "processes": group.size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _check_identity(checkpoint: Checkpoint, identity: Mapping[str, Any], path: Path) -> None:
    was = checkpoint.state["identity"]
    for key, what in (("data", "the data files"), ("encoding", "the vocabulary"), ("architecture", "the network")):
        if was[key] != identity[key]:
            raise DataError(f"{path}: {what} changed since the run began. Start anew without --resume.")
    if was["processes"] != identity["processes"]:
        raise ConfigError(
            f"{path}: the run began with {was['processes']} processes, now there are {identity['processes']}. "
            "Resume with as many, or start anew without --resume."
        )


def _place_facts(checkpoint: Checkpoint | None) -> dict[str, Any]:
    if checkpoint is None:
        return {}
    return {key: checkpoint.state["course"][key] for key in ("stage", "epoch", "step")}


def _place(checkpoint: Checkpoint) -> str:
    place = _place_facts(checkpoint)
    return f"stage {place['stage']!r}, epoch {place['epoch'] + 1}, step {place['step']}"


def _result(loop: Loop, prepared: Prepared) -> FitResult:
    course: Course = loop.course
    own = [entry for entry in course.history if entry["stage"] == course.stage]
    return FitResult(
        weights={**frozen_weights(prepared), **_under("weights/", loop.best)},
        outputs=_under("dev/", loop.best),
        prepared=prepared,
        metrics=next(entry["dev"] for entry in own if entry["epoch"] == course.best_epoch),
        best_epoch=course.best_epoch,
        history=course.history,
        seconds=course.stage_seconds,
        reason=course.finished,
    )


def _under(prefix: str, arrays: Weights) -> Weights:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


@contextmanager
def own_world(seed: int) -> Iterator[None]:
    """Inside, torch is deterministic and its generator is ours; afterwards all is as the caller had it."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        try:
            torch.manual_seed(seed)
            torch.use_deterministic_algorithms(True)
            # Filling fresh memory costs a tenth of a step and guards against bugs that tests look for.
            memory.fill_uninitialized_memory = False
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            memory.fill_uninitialized_memory = fill
            torch.set_num_threads(threads)
