"""Tagging as a task: what training, export and the runtime call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gatework.tasks.tag.answer import Settings
from gatework.tasks.tag.codec import TagCodec, open_codec
from gatework.tasks.tag.labels import first_of
from gatework.tasks.tag.metrics import NAMES, measure
from gatework.tasks.tag.report import report
from gatework.tasks.task import Outputs, Say, Task, silent

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.tasks.tag.prepare import PreparedTag
    from gatework.text import CheckReport, Sentence


class Tag(Task):
    """Every token gets a tag; tags mark spans, or do not."""

    name = "tag"
    summary = "a tag for every token: names and other spans, parts of speech, chunks, Chinese words"
    reads = "CoNLL columns, CoNLL-U, or JSON lines with spans or tags, plain or gzip"
    head = "per_step"
    metrics = NAMES
    defaults: ClassVar = {
        "input": {
            "ngrams": 2,
            "affixes": 3,
            "shape": True,
            "window": 1024,
            "word_dropout": 0.05,
            "feature_dropout": 0.2,
        },
        "model": {"embedding_dropout": 0.5},
        "train": {
            "metric": "f1",
            "epochs": 20,
            "batch_tokens": 1024,
            "max_batch": 32,
            "averaging": "ema",
        },
    }

    def prepare(self, recipe: Recipe, folder: Path, say: Say = silent) -> PreparedTag:
        """See `prepare.prepare`."""
        from gatework.tasks.tag.prepare import prepare

        return prepare(recipe, folder, say)

    def score(self, prepared: PreparedTag, outputs: Outputs) -> dict[str, Any]:
        """Metrics of the main layer, and under "layers" of each further one."""
        first_N = first_of(prepared.dev.lengths_N)
        tags = [outputs["tags" if index == 0 else f"tags.{index}"] for index in range(len(prepared.layers))]
        return measure(prepared.layers, prepared.tables, tags, prepared.gold, first_N, segment=prepared.segment)

    def settle(self, prepared: PreparedTag, outputs: Outputs) -> dict[str, Any]:
        """Names and schemes of the layers; `tune` adds what an open bundle tells."""
        return Settings(
            layers=tuple(layer.name for layer in prepared.layers),
            schemes=tuple(layer.scheme for layer in prepared.layers),
            segment=prepared.segment,
            cut=prepared.cut,
            space=prepared.space,
        ).to_dict()

    def tune(self, model: Any, examples: Iterable[Sentence]) -> dict[str, Any]:
        """See `evaluate.tune`."""
        from gatework.tasks.tag.evaluate import tune

        return tune(model, examples)

    def open_codec(self, config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle") -> TagCodec:
        """See `codec.open_codec`."""
        return open_codec(config, entries, source=source)

    def read(self, path: Path | str, config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[Sentence]:
        """See `reading.read_labelled`."""
        from gatework.tasks.tag.reading import read_labelled

        return read_labelled(path, config, options)

    def check(self, parts: Mapping[str, Path], data: Any) -> CheckReport:
        """See `text.tagged_checks.check_tagged`."""
        from gatework.text.tagged_checks import check_tagged

        return check_tagged(parts, data)

    def evaluate(self, model: Any, examples: Iterable[Sentence], **options: Any) -> dict[str, Any]:
        """See `evaluate.evaluate`."""
        from gatework.tasks.tag.evaluate import evaluate

        return evaluate(model, examples, **options)

    def report(self, metrics: Mapping[str, Any]) -> str:
        """See `report.report`."""
        return report(metrics)

    def sample(self, folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
        """See `sample.write_sample`."""
        from gatework.tasks.tag.sample import write_sample

        return write_sample(folder, seed=seed)
