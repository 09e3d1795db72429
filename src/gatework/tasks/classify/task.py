"""Classification as a task: what training, export and the runtime call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatework.tasks.classify.answer import Settings, probabilities
from gatework.tasks.classify.calibration import calibrate, tune_thresholds
from gatework.tasks.classify.codec import ClassifyCodec, open_codec
from gatework.tasks.classify.metrics import NAMES, metrics
from gatework.tasks.classify.report import report
from gatework.tasks.task import Outputs, Say, Task, silent

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.tasks.classify.prepare import PreparedClassify
    from gatework.text import CheckReport, Example


class Classify(Task):
    """Texts get a label, or several."""

    name = "classify"
    summary = "a label for a text: two or many to choose from, or several at once"
    reads = "CSV, TSV, JSON lines or fastText files with a text and a label in each row, plain or gzip"
    head = "per_sequence"
    metrics = NAMES

    def prepare(self, recipe: Recipe, folder: Path, say: Say = silent) -> PreparedClassify:
        """See `prepare.prepare`."""
        from gatework.tasks.classify.prepare import prepare

        return prepare(recipe, folder, say)

    def score(self, prepared: PreparedClassify, outputs: Outputs) -> dict[str, Any]:
        """Metrics at temperature 1, before thresholds are tuned."""
        targets, empty_N = np.asarray(prepared.dev.targets), np.asarray(outputs["empty"], dtype=bool)
        return metrics(outputs["logits"], targets, prepared.labels, settings=prepared.untuned(), empty_N=empty_N)

    def settle(self, prepared: PreparedClassify, outputs: Outputs) -> dict[str, Any]:
        """Temperature and thresholds on dev, as the recipe's `decode` section wants them."""
        untuned, wanted = prepared.untuned(), prepared.recipe.decode
        # Empty texts are answered from the prior, whatever the network says.
        heard_N = ~np.asarray(outputs["empty"], dtype=bool)
        logits, targets = outputs["logits"][heard_N], np.asarray(prepared.dev.targets)[heard_N]
        temperature = calibrate(logits, targets) if wanted.calibrate else 1.0
        calibrated = Settings(multi_label=prepared.multi_label, temperature=temperature)
        thresholds = untuned.thresholds
        if wanted.tune_threshold and len(logits):
            thresholds = tune_thresholds(probabilities(logits, calibrated), targets, prepared.positive)
        settled = Settings(
            multi_label=prepared.multi_label,
            temperature=temperature,
            thresholds=thresholds,
            prior=untuned.prior,
            positive=prepared.positive,
        )
        return settled.to_dict(prepared.labels)

    def open_codec(
        self, config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle"
    ) -> ClassifyCodec:
        """See `codec.open_codec`."""
        return open_codec(config, entries, source=source)

    def read(self, path: Path | str, config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[Example]:
        """See `reading.read_labelled`."""
        from gatework.tasks.classify.reading import read_labelled

        formats = config.get("facts", {}).get("formats", {})
        return read_labelled(path, like=formats.get("train") if isinstance(formats, Mapping) else None, options=options)

    def check(self, parts: Mapping[str, Path], data: Any) -> CheckReport:
        """See `text.check`."""
        from gatework.text import check

        return check(parts, data)

    def evaluate(self, model: Any, examples: Iterable[Example], **options: Any) -> dict[str, Any]:
        """See `evaluate.evaluate`."""
        from gatework.tasks.classify.evaluate import evaluate

        return evaluate(model, examples, **options)

    def report(self, metrics: Mapping[str, Any]) -> str:
        """See `report.report`."""
        return report(metrics)

    def sample(self, folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
        """See `sample.write_sample`."""
        from gatework.tasks.classify.sample import write_sample

        return write_sample(folder, seed=seed)
