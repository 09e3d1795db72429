"""Language modelling as a task: what training, export and the runtime call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gatework.tasks.lm.codec import LmCodec, open_codec
from gatework.tasks.lm.metrics import NAMES, Totals
from gatework.tasks.lm.report import report
from gatework.tasks.task import Outputs, Say, Task, silent

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.tasks.lm.prepare import PreparedLm
    from gatework.text import CheckReport
    from gatework.text.documents import Piece


class Lm(Task):
    """What comes next in a text."""

    name = "lm"
    summary = "what comes next in a text: by character, subword or word; it scores texts and writes them"
    reads = "plain text, one running text or a document a line; or tables through a template; plain or gzip"
    head = "next_token"
    metrics = NAMES
    defaults: ClassVar = {
        "input": {"lowercase": False, "fold_width": False, "word_dropout": 0.0, "ngrams": 0},
        "model": {"embedding": 256, "units": 256, "dropout": 0.2, "embedding_dropout": 0.0},
        "train": {"metric": "perplexity", "weight_decay": 0.0, "warmup": 0.05},
    }

    def prepare(self, recipe: Recipe, folder: Path, say: Say = silent) -> PreparedLm:
        """See `prepare.prepare`."""
        from gatework.tasks.lm.prepare import prepare

        return prepare(recipe, folder, say)

    def score(self, prepared: PreparedLm, outputs: Outputs) -> dict[str, Any]:
        """Metrics of dev; with both directions, "backward" has those of the second."""
        dev = prepared.dev
        counted = {"documents": len(dev), "tokens": len(dev.tokens), "unknown": dev.unknown}
        language = prepared.architecture.language
        assert language is not None  # this task makes no other
        found = [
            Totals(nats=float(nats), characters=dev.characters, bytes=dev.bytes, **counted).metrics()
            for nats in outputs["nats"]
        ]
        return found[0] | dict(zip(language.directions[1:], found[1:], strict=True))

    def settle(self, prepared: PreparedLm, outputs: Outputs) -> dict[str, Any]:
        """How documents were read."""
        return prepared.settings.to_dict()

    def open_codec(self, config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle") -> LmCodec:
        """See `codec.open_codec`."""
        return open_codec(config, entries, source=source)

    def read(self, path: Path | str, config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[Piece]:
        """See `reading.read_as_trained`."""
        from gatework.tasks.lm.reading import read_as_trained

        return read_as_trained(path, config, options)

    def check(self, parts: Mapping[str, Path], data: Any) -> CheckReport:
        """See `text.document_checks.check_documents`."""
        from gatework.text.document_checks import check_documents

        return check_documents(parts, data)

    def evaluate(self, model: Any, examples: Iterable[Piece], **options: Any) -> dict[str, Any]:
        """See `evaluate.evaluate`."""
        from gatework.tasks.lm.evaluate import evaluate

        return evaluate(model, examples, **options)

    def report(self, metrics: Mapping[str, Any]) -> str:
        """See `report.report`."""
        return report(metrics)

    def sample(self, folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
        """See `sample.write_sample`."""
        from gatework.tasks.lm.sample import write_sample

        return write_sample(folder, seed=seed)
