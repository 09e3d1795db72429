"""Writing bundles: a trained model, and a bundle's model with its weights stored another way."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import gatework
from gatework.core import strict_json
from gatework.core.architecture import Architecture
from gatework.core.bert_folder import BertFolder
from gatework.core.bundle import CARD, CONFIG, METRICS, WEIGHTS, bundle_size, read_bundle, write_bundle
from gatework.core.errors import ConfigError
from gatework.core.states_bundle import StatesBundle
from gatework.export.card import model_card
from gatework.export.storage import STORAGE, Stored, check_storage, store, stored_again, stored_bytes
from gatework.runtime import load

if TYPE_CHECKING:
    from gatework.tasks import Prepared

Say = Callable[[str], None]
Weights = Mapping[str, npt.NDArray[np.floating]]

NGRAM_KEYS = "tokenizer/ngrams.u32"
"""Keys of the n-grams, one for each row of `ngrams.weight`; see `gatework.text.ngrams`."""
PATH_KEYS = ("train", "dev", "test", "train_target", "dev_target", "test_target", "unlabelled")
NAMED = (
    ("data", PATH_KEYS),
    ("input", ("vectors", "lexicon")),
    ("model", ("bert", "language_model")),
    ("train", ("start", "teacher")),
)
"""Options of a recipe, by section, that name files."""
BULKY = ("confusion", "reliability", "per_class", "interval")
"""Metrics left out, all at once, where a bundle must not grow by them."""


def silent(sentence: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """A bundle that was written."""

    path: str
    nbytes: int
    storage: str
    parameters: int


def export_bundle(
    path: str | os.PathLike[str],
    prepared: Prepared,
    weights: Weights,
    decode: Mapping[str, Any],
    metrics: Mapping[str, Any] | None = None,
    storage: str | None = None,
    *,
    command: str = "",
    say: Say = silent,
) -> BundleInfo:
    """Write a trained model as one file, and open it once to see that it answers.

    Args:
        path: where.
        prepared: what the task made of the data.
        weights: float32, by the names of `core.architecture`.
        decode: how logits are read, from `Task.settle`.
        metrics: what was measured on a bundle of the same arguments, by data set. Where the recipe's size limit leaves
            no room, the long ones (confusion matrix, reliability, scores of each class) are left out.
        storage: fp32, bf16 or int8; None for the recipe's `export.weights`.
        command: that made it, for the record.
        say: told what was done to fit the recipe's `export.max_size`.
    Raises:
        ConfigError: training diverged, or the bundle cannot be made small enough.
        OutputError: the file cannot be written.
    """
    limit = prepared.recipe.export.max_size
    entries = dict(prepared.entries())
    architecture = prepared.architecture
    storage = check_storage(storage or prepared.recipe.export.weights)
    config = build_config(prepared, decode, command)
    if limit:
        room = limit - metrics_reserve(architecture.outputs, limit)
        architecture, weights, entries, storage = _fit(
            config, architecture, dict(weights), entries, storage, room, limit, say
        )
        config["architecture"] = architecture.to_dict()
    stored = store(weights, storage)
    info = _write(path, config, architecture, stored, storage, entries, dict(metrics or {}), limit)
    load(path)
    return info


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    storage: str | None = None,
    more: Mapping[str, bytes] | None = None,
) -> BundleInfo:
    """Write the model of a bundle again with its weights stored another way, or with further entries.

    Args:
        source: a bundle.
        target: the new one; may be the same path.
        storage: fp32, bf16 or int8; None leaves them as they are. From int8, the larger kinds bring back no accuracy.
        more: entries that it has then, in place of any of their names.
    Raises: BundleError, ConfigError, OutputError.
    """
    bundle = read_bundle(source)
    storage = storage or bundle.storage
    config = dict(bundle.config)
    if bundle.metrics:
        config.setdefault("measured_as", bundle.storage)
    stored = stored_again(bundle, storage)
    entries = {**_own_entries(bundle.entries), **(more or {})}
    info = _write(target, config, bundle.architecture, stored, storage, entries, bundle.metrics, 0)
    load(target)
    return info


def build_config(prepared: Prepared, decode: Mapping[str, Any], command: str = "") -> dict[str, Any]:
    """The `config.json` of a model, without `format`."""
    config = {
        "gatework": gatework.__version__,
        "task": prepared.recipe.task,
        "architecture": prepared.architecture.to_dict(),
        "decode": dict(decode),
        "recipe": _without_folders(prepared.recipe.model_dump(mode="json")),
        "facts": prepared.facts,
    }
    bert = prepared.architecture.bert
    if bert is not None and not bert.inside and prepared.recipe.model.bert is not None:
        folder = BertFolder(prepared.recipe.model.bert)
        config["bert"] = {"name": folder.name, "sha256": folder.sha256}
    states = prepared.architecture.states
    if states is not None and not states.inside and prepared.recipe.model.language_model is not None:
        other = StatesBundle(prepared.recipe.model.language_model)
        config["language_model"] = {"name": other.name, "sha256": other.sha256}
    return config | ({"command": command} if command else {})


def metrics_reserve(outputs: int, limit: int) -> int:
    """Bytes kept free for metrics of two data sets, in a bundle of at most `limit` bytes."""
    wanted = 2 * (3000 + 160 * outputs + (6 * outputs**2 if outputs <= 100 else 0))
    return min(wanted, max(2500, limit // 50))


def _write(
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    architecture: Architecture,
    stored: Stored,
    storage: str,
    entries: Mapping[str, bytes | memoryview],
    metrics: dict[str, Any],
    limit: int,
) -> BundleInfo:
    """Write the bundle with metrics and card, leaving out bulky metrics where it would pass `limit` (0 for none)."""
    config = {name: value for name, value in config.items() if name != "format"}
    weights_bytes = stored_bytes(
        {name: array.shape for name, array in stored.tensors.items() if not name.endswith(".scale")}, storage
    )

    def complete(metrics: dict[str, Any]) -> dict[str, bytes | memoryview]:
        card = model_card(Path(path).stem, config, architecture, metrics, storage)
        return {**entries, **({METRICS: strict_json.dump(metrics)} if metrics else {}), CARD: card}

    everything = complete(metrics)
    if limit and bundle_size(config=config, weights_bytes=weights_bytes, entries=everything) > limit:
        everything = complete({part: _brief(values) for part, values in metrics.items()})
    if limit and (size := bundle_size(config=config, weights_bytes=weights_bytes, entries=everything)) > limit:
        raise ConfigError(
            f"{os.fspath(path)}: the bundle takes {size:,} bytes, more than export.max_size {limit:,}. Raise it."
        )
    nbytes = write_bundle(path, config=config, weights=stored.tensors, entries=everything, bfloat16=stored.bfloat16)
    parameters = sum(array.size for name, array in stored.tensors.items() if not name.endswith(".scale"))
    return BundleInfo(path=os.fspath(path), nbytes=nbytes, storage=storage, parameters=parameters)


def _brief(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {name: value for name, value in values.items() if name not in BULKY}


def _own_entries(entries: Mapping[str, memoryview]) -> dict[str, bytes | memoryview]:
    """Entries that are written again as they are, taken out of the mapped file."""
    written = (CONFIG, WEIGHTS, METRICS, CARD)
    return {name: bytes(data) for name, data in entries.items() if name not in written}


def _without_folders(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe without the folders its files lie in: a model is handed on, and they are its maker's business."""

    def name(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [name(one) for one in value]
        return os.path.basename(value) if isinstance(value, str) else value

    for section, keys in NAMED:
        own = recipe.get(section, {})
        own.update({key: name(own[key]) for key in keys if key in own})
    return recipe


def _fit(
    config: Mapping[str, Any],
    architecture: Architecture,
    weights: dict[str, npt.NDArray[np.floating]],
    entries: dict[str, bytes],
    storage: str,
    room: int,
    limit: int,
    say: Say,
) -> tuple[Architecture, dict[str, npt.NDArray[np.floating]], dict[str, bytes], str]:
    """The model made to fit `room` bytes: stored smaller, then without the n-grams that say least."""

    def size() -> int:
        shapes = {name: array.shape for name, array in weights.items()}
        card = model_card("x" * 64, config, architecture, {}, storage)
        return bundle_size(config=config, weights_bytes=stored_bytes(shapes, storage), entries={**entries, CARD: card})

    for smaller in STORAGE[::-1]:
        if size() > room and STORAGE.index(smaller) < STORAGE.index(storage):
            say(f"max size {limit:,} bytes: weights are stored as {smaller}, not {storage}")
            storage = smaller
    full = size()
    if full <= room:
        return architecture, weights, entries, storage
    rows = architecture.ngram_rows
    row_bytes = _row_bytes(architecture, storage)
    kept = rows - -(-(full - room) // row_bytes) - 1 if rows else 0
    if kept < 1 or NGRAM_KEYS not in entries:
        raise ConfigError(
            f"export.max_size {limit:,}: the trained model takes {full + limit - room:,} bytes. "
            "Raise it, or lower model.units, model.embedding or input.max_vocabulary and train again."
        )
    say(f"max size {limit:,} bytes: the {rows - kept:,} n-grams of {rows:,} that say least are left out")
    architecture, weights, entries = drop_ngrams(architecture, weights, entries, kept)
    return architecture, weights, entries, storage


def drop_ngrams(
    architecture: Architecture, weights: Weights, entries: Mapping[str, bytes], keep: int
) -> tuple[Architecture, dict[str, npt.NDArray[np.floating]], dict[str, bytes]]:
    """The model with the `keep` n-grams that say most; ties go by the key.

    They are those whose logits differ most between labels, or, where n-grams have none, whose vectors are longest.
    """
    if "ngrams.weight" in weights:
        table_RC = weights["ngrams.weight"]
        says_R = ((table_RC - table_RC.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    else:
        says_R = (weights["local.weight"][1:] ** 2).sum(axis=1)
    kept_K = np.sort(np.argsort(-says_R, kind="stable")[:keep])
    fewer = dict(weights)
    if "ngrams.weight" in fewer:
        fewer["ngrams.weight"] = fewer["ngrams.weight"][kept_K]
    if "local.weight" in fewer:
        fewer["local.weight"] = fewer["local.weight"][np.append(0, kept_K + 1)]
    keys_R = np.frombuffer(entries[NGRAM_KEYS], dtype="<u4")
    values = architecture.to_dict() | {"ngram_rows": len(kept_K)}
    return (
        Architecture.from_dict(values, source="export"),
        fewer,
        {**entries, NGRAM_KEYS: keys_R[kept_K].tobytes()},
    )


def _row_bytes(a: Architecture, storage: str) -> int:
    """Bytes an n-gram takes: its key, its logits, its vector."""
    width, scale = {"int8": (1, 2), "bf16": (2, 0), "fp32": (4, 0)}[storage]
    return 4 + sum(values * width + scale for values in (a.wide_outputs, a.ngram_embedding) if values)
