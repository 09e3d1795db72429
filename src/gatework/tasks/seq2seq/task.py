"""Sequence to sequence as tasks: what training, export and the runtime call. They differ in defaults and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gatework.tasks.seq2seq.choosing import recall
from gatework.tasks.seq2seq.codec import Seq2SeqCodec, open_codec
from gatework.tasks.seq2seq.evaluate import evaluate, perplexity
from gatework.tasks.seq2seq.report import report
from gatework.tasks.seq2seq.scores import BLEU, NAMES, ROUGE, Written, scores
from gatework.tasks.task import Outputs, Say, Task, silent

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe
    from gatework.tasks.seq2seq.prepare import PreparedPairs
    from gatework.text import CheckReport
    from gatework.text.pairs import Pair


class Seq2SeqTask(Task):
    """A target written from a source."""

    head = "sequence"
    reads = "pairs of texts: two columns or JSON keys, or two plain-text files side by side; plain or gzip"
    units: ClassVar[tuple[str, str]] = ("unigram", "unigram")
    """Of source and target where the recipe leaves them open; see `prepare.prepare`."""
    dialogue: ClassVar[bool] = False
    """Whether sources may be turns of dialogues."""
    sentences: ClassVar[bool] = False
    """Whether texts that are longer than is usual are cut into their sentences."""
    listed: ClassVar[bool] = False
    """Whether pairs with one source are one example with several right targets."""

    def prepare(self, recipe: Recipe, folder: Path, say: Say = silent) -> PreparedPairs:
        """See `prepare.prepare`."""
        from gatework.tasks.seq2seq.prepare import prepare

        return prepare(
            recipe,
            folder,
            say,
            units=self.units,
            metrics=dict(self.metrics),
            dialogue=self.dialogue,
            sentences=self.sentences,
        )

    def score(self, prepared: PreparedPairs, outputs: Outputs) -> dict[str, Any]:
        """Perplexity of dev; where its sources were answered too, what the answers are worth."""
        found: dict[str, Any] = {"n": len(prepared.dev)}
        found |= perplexity(float(outputs["nats"].sum()), len(prepared.dev.target.tokens))
        if "ids" not in outputs:
            return found
        starts, ids = outputs["starts"], outputs["ids"]
        answers = [prepared.codec.target.decode(ids[at:end]) for at, end in pairwise(starts)]
        grouped: dict[Any, tuple[str, list[str]]] = {}
        for place, (answer, pair) in enumerate(zip(answers, prepared.examples("dev"), strict=True)):
            grouped.setdefault(pair.source if self.listed else place, (answer, []))[1].append(pair.target)
        written = [Written(answer, tuple(dict.fromkeys(targets))) for answer, targets in grouped.values()]
        return found | scores(written, self.metrics)

    def settle(self, prepared: PreparedPairs, outputs: Outputs) -> dict[str, Any]:
        """How targets are looked for."""
        return prepared.settings.to_dict()

    def open_codec(
        self, config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle"
    ) -> Seq2SeqCodec:
        """See `codec.open_codec`."""
        return open_codec(config, entries, source=source)

    def read(self, path: Path | str, config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterable[Pair]:
        """See `reading.read_as_trained`."""
        from gatework.tasks.seq2seq.reading import read_as_trained

        return read_as_trained(path, config, options, dialogue=self.dialogue)

    def check(self, parts: Mapping[str, Path], data: Any) -> CheckReport:
        """See `text.pair_checks.check_pairs`."""
        from gatework.text.pair_checks import check_pairs

        return check_pairs(parts, data, dialogue=self.dialogue, listed=self.listed)

    def evaluate(self, model: Any, examples: Iterable[Pair], **options: Any) -> dict[str, Any]:
        """See `evaluate.evaluate`."""
        return evaluate(model, examples, names=tuple(self.metrics), listed=self.listed, **options)

    def report(self, metrics: Mapping[str, Any]) -> str:
        """See `report.report`."""
        return report(metrics)

    def sample(self, folder: Path, *, seed: int = 1) -> tuple[dict[str, dict[str, Any]], float]:
        """See `sample.write_sample`."""
        from gatework.tasks.seq2seq.sample import write_sample

        return write_sample(folder, seed=seed)


def _named(*names: str) -> dict[str, bool]:
    return {name: NAMES[name] for name in ("perplexity", *names)}


def _defaults(**changes: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What all tasks here share, and what one changes."""
    plain: dict[str, Mapping[str, Any]] = {
        "input": {"lowercase": False, "fold_width": False, "word_dropout": 0.0, "ngrams": 0},
        "model": {"embedding": 256, "units": 256, "attention": 128, "dropout": 0.3, "embedding_dropout": 0.1},
        "train": {
            **{"metric": "perplexity", "weight_decay": 0.0, "warmup": 0.05, "label_smoothing": 0.1},
            **{"averaging": "ema", "max_batch": 256},
        },
        "decode": {},
    }
    return {section: {**plain[section], **changes.get(section, {})} for section in plain}


class Translate(Seq2SeqTask):
    """A sentence in another language."""

    name = "translate"
    summary = "what a sentence is in another language, learnt from pairs of sentences"
    sentences = True
    metrics = _named(*BLEU, "exact_match")
    defaults = _defaults()


class Summarize(Seq2SeqTask):
    """A few words for many."""

    name = "summarize"
    summary = "a summary or headline of a text"
    reads = "texts with summaries (keys or columns text and summary, title or headline); plain or gzip"
    metrics = _named(*ROUGE)
    defaults = _defaults(input={"max_tokens": 300}, model={"copy_source": True})


class Reply(Seq2SeqTask):
    """What is said next in a dialogue."""

    name = "reply"
    summary = "what is said next in a dialogue"
    reads = "dialogues: JSON lines with a list of turns; or pairs of texts"
    dialogue = True
    metrics = _named("distinct1", "distinct2", "exact_match")
    defaults = _defaults(input={"max_tokens": 300}, decode={"max_ratio": 5.0})

    def evaluate(
        self, model: Any, examples: Iterable[Pair], *, candidates: int | None = None, **options: Any
    ) -> dict[str, Any]:
        """See `evaluate.evaluate`, and `choosing.recall` for `candidates`; 0 for none."""
        pairs = list(examples)
        metrics = super().evaluate(model, pairs, **options)
        return metrics if candidates == 0 else metrics | recall(model, pairs, candidates)


class Transduce(Seq2SeqTask):
    """A string turned into another: pronunciations, spellings, normal forms."""

    name = "transduce"
    summary = "a string from a string: its pronunciation, right spelling or normal form"
    units = ("char", "auto")
    listed = True
    metrics = _named("exact_match", "per", "wer")
    defaults = _defaults(
        input={"shared": False, "min_count": 1},
        model={"embedding": 64, "units": 128, "attention": 64},
        train={"max_batch": 512},
    )
