"""The model card: the `README.md` of a bundle, what someone who is handed the file should know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gatework.core.architecture import Architecture
from gatework.core.writer import Writer

MOST_LABELS = 20
"""Labels named on the card."""
SHOWN = ("accuracy", "precision", "recall", "f1", "f1_macro", "ece", "nll", "perplexity", "bits_per_char")


def model_card(
    name: str, config: Mapping[str, Any], architecture: Architecture, metrics: Mapping[str, Any], storage: str
) -> bytes:
    """The card as UTF-8 Markdown.

    Args:
        name: of the model, such as the file's.
        config: `config.json`.
        architecture: of the network.
        metrics: what was measured, by data set.
        storage: how the weights are stored.
    """
    sections = (
        _head(name, config, storage),
        _data(config.get("facts", {})),
        _scores(metrics, config.get("measured_as", storage), storage),
        _network(architecture, config),
        _limits(config, metrics),
    )
    return ("\n".join(line for section in sections for line in section) + "\n").encode()


def _head(name: str, config: Mapping[str, Any], storage: str) -> Iterator[str]:
    yield f"# {_plain(name)}"
    yield ""
    yield f"A gatework model for the task `{config['task']}`. Weights stored as {storage}; nothing in the file is code."
    yield ""
    yield "```python"
    yield "import gatework"
    yield f'model = gatework.load("{_plain(name)}.gw")'
    yield 'model.generate("...")' if config["task"] == "lm" else 'model.predict("...")'
    yield "```"
    if config.get("command"):
        yield ""
        yield f"Made with gatework {config.get('gatework', '')} by `{_plain(config['command'])}`."


def _data(facts: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "## Data"
    yield ""
    files = facts.get("files", {})
    if files:
        yield "| part | file | examples | SHA-256 |"
        yield "|---|---|---|---|"
    for part, file in files.items():
        yield f"| {part} | {_plain(file.get('file', ''))} | {file.get('examples', '')} | `{file.get('sha256', '')}` |"
    labels = facts.get("labels", {})
    if labels:
        shown = [f"{_plain(label)} ({count})" for label, count in list(labels.items())[:MOST_LABELS]]
        rest = f", and {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else ""
        yield ""
        yield f"Labels, with their training examples: {', '.join(shown)}{rest}."
    yield ""
    yield "The licence of the data is not known here; it may bind users of the model."


def _scores(metrics: Mapping[str, Any], measured_as: str, storage: str) -> Iterator[str]:
    yield ""
    yield "## Scores"
    yield ""
    if not metrics:
        yield "Nothing was measured."
        return
    names = [name for name in SHOWN if any(_number(values, name) is not None for values in metrics.values())]
    yield f"| data | n | {' | '.join(names)} |"
    yield "|---" * (len(names) + 2) + "|"
    for part, values in metrics.items():
        cells = (_number(values, name) for name in names)
        shown = ("" if value is None else f"{value:.4f}" for value in cells)
        yield f"| {part} | {values.get('n', '') if isinstance(values, Mapping) else ''} | {' | '.join(shown)} |"
    if measured_as != storage:
        yield ""
        yield f"Measured with the weights stored as {measured_as}; stored as {storage} they may differ a little."


def _network(a: Architecture, config: Mapping[str, Any]) -> Iterator[str]:
    encoder = a.encoder
    if a.writer is not None:
        yield from _writes(a, a.writer, config)
        return
    ways = "both directions" if encoder.bidirectional else "one direction"
    unit = config.get("recipe", {}).get("input", {}).get("unit", "token")
    yield ""
    yield "## Network"
    yield ""
    yield f"- tokens: {unit}, {a.vocabulary:,} known, vectors of {a.embedding}"
    if a.characters is not None:
        yield f"- characters of each word through a {a.characters.kind}, {a.characters.outputs} values"
    if a.lexicon_rows:
        yield f"- {a.lexicon_rows:,} words of a lexicon, vectors of {a.lexicon_embedding}"
    if a.states is not None:
        inner, place = a.states.encoder, "in this file" if a.states.inside else "in a file of its own"
        yield (
            f"- states of a character language model, {inner.layers} x {inner.cell}, {inner.units} units, reading "
            f"{' and '.join(a.states.directions)}, brought to {a.states.outputs}; {place}"
        )
    layers = f"- {encoder.layers} x {encoder.cell}, {encoder.units} units, {ways}"
    if a.language is not None:
        reading = " and ".join(a.language.directions)
        yield f"- {encoder.layers} x {encoder.cell}, {encoder.units} units, reading {reading}"
        table = "the token vectors" if a.language.tied else "a table of their own"
        clusters = f", in {len(a.language.cutoffs) + 1} clusters by frequency" if a.language.cutoffs else ""
        yield f"- the next token by a softmax over {table}{clusters}"
        return
    if a.head == "per_step":
        if a.ngram_rows:
            yield f"- {a.ngram_rows:,} n-grams and features of tokens, vectors of {a.ngram_embedding}"
        yield layers
        kind = "a linear-chain CRF over the sentence" if a.decoder == "crf" else "a softmax at each token"
        yield f"- {' and '.join(f'{tags} tags' for tags in a.layers)}, by {kind}"
        yield f"- sentences longer than {a.window} tokens are read in windows that overlap"
        return
    yield f"{layers}; pooled by {', '.join(a.pooling)}"
    if a.ngram_rows:
        yield f"- {a.ngram_rows:,} n-grams with logits of their own"
    yield f"- texts longer than {a.window} tokens are read in windows and pooled together"


def _writes(a: Architecture, writer: Writer, config: Mapping[str, Any]) -> Iterator[str]:
    """The network of a head sequence."""
    encoder, inputs = a.encoder, config.get("recipe", {}).get("input", {})
    unit = inputs.get("unit", "token")
    other = inputs.get("target_unit", unit)
    ways = "both directions" if encoder.bidirectional else "one direction"
    kind = f"{encoder.cell}, {encoder.units} units, {ways}"
    reads = kind if encoder.network == "recurrent" else f"transformer, {encoder.units} units, {encoder.heads} heads"
    looks = "without attention" if writer.attention == "none" else f"attention {writer.attention}"
    extras = [name for name in ("input feeding", "coverage", "copy") if getattr(writer, name.replace(" ", "_"))]
    kind = f"{writer.cell}, {writer.units} units, {', '.join([looks, *extras])}"
    yield ""
    yield "## Network"
    yield ""
    if writer.shared:
        yield f"- tokens of both sides: {unit}, {a.vocabulary:,} known, vectors of {a.embedding}"
    else:
        yield f"- tokens of the source: {unit}, {a.vocabulary:,} known, vectors of {a.embedding}"
        yield f"- of the target: {other}, {a.outputs:,} known, vectors of {writer.embedding}"
    yield f"- read by {encoder.layers} x {reads}"
    if writer.network == "transformer":
        kind = f"transformer, {writer.units} units, {', '.join([f'{writer.heads} heads', *extras])}"
    yield f"- written by {writer.layers} x {kind}"


def _limits(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "## Limits"
    yield ""
    if config["task"] == "lm":
        yield "The model knows its training data only: what it writes is like them, may repeat them, and may be untrue."
        yield from _unmeasured(metrics)
        return
    yield "The model knows its training data only. Texts of another kind, language or time get an answer all the same,"
    empty = "" if config["task"] == "tag" else " A text without a token is answered with the label shares of training."
    yield f"and it may be wrong with a high score.{empty}"
    yield from _unmeasured(metrics)
    inferred = config.get("facts", {}).get("inferred")
    if isinstance(inferred, list | tuple) and inferred:
        yield ""
        yield f"Inferred from the data: {'; '.join(_plain(sentence) for sentence in inferred)}."


def _unmeasured(metrics: Mapping[str, Any]) -> Iterator[str]:
    if not any(part.startswith("test") for part in metrics):
        yield "No test data was given, so the scores above, if any, are on data that training has seen or chosen by."


def _number(values: Any, name: str) -> float | None:
    value = values.get(name) if isinstance(values, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _plain(text: Any) -> str:
    """`text` in one line, without what Markdown would take for its own."""
    return " ".join(str(text).replace("`", "'").replace("|", "/").split())
