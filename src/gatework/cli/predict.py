"""`gatework predict`: one line in, one answer out."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatework.cli.examples import FORMATS, Example, constraints, examples, named, sentences
from gatework.cli.lines import characters, file_batches, line_batches, opened_file
from gatework.cli.output import answer, answer_json, say
from gatework.core.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from gatework.runtime.model import Model

FILE_SUFFIXES = (".txt", ".tsv", ".csv", ".jsonl", ".json", ".conll", ".conllu", ".gz")
LONG_LINE = 1 << 16
"""Characters of a line from which on a tagger answers it piece by piece."""


def run(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, made by `gatework train`.")],
    source: Annotated[
        str | None,
        typer.Argument(metavar="TEXT|-|FILE", help="A text, a file of texts (one a line), or - for standard input."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="The argument is a text, even if a file has that name.")] = False,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", min=1, help="Labels to give for each text, best first; 1, or all in JSON."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0.0,
            max=1.0,
            help="Several labels: give each from this score on. One label: mark answers below it `uncertain`.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="What lines are: text, tokens (split by blanks), jsonl (text or tokens), conll, conllu.",
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Tagging: the input is one running text; one answer a sentence.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="PLACE=TAG", help="Tagging: fix or forbid tags of one text; repeatable."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="Language models: go on after this text.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            "--score",
            metavar="FILE|-",
            help="Language models: how likely each line of a file is. Translation and the like: lines of source, tab, "
            "target.",
        ),
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(
            "--fill", metavar="TEXT|-|FILE", help="Language models: fill the gaps (___) of a text, or of lines."
        ),
    ] = None,
    rewrite: Annotated[
        str | None,
        typer.Option(
            "--rewrite", metavar="TEXT|-|FILE", help="Language models: alternatives to the marked [[part]] of a text."
        ),
    ] = None,
    backward: Annotated[
        Path | None,
        typer.Option("--backward", metavar="MODEL", help="With --fill or --rewrite: a model that reads backward."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="With --prompt, --fill, --rewrite, and for translation and the like: an option such as beams=5, "
            "length=3 or constraint.must=cat; repeatable.",
        ),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="MODEL",
            help="Translation and the like: another model that answers together with it; repeatable.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Translation and the like: draw where each token looked."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Answer texts with a trained model: one line in, one answer out.

    Classifiers: label, tab, score; with --top-k more pairs follow. Taggers: text, label and score of each span, tabs
    between them, or word/TAG where tags mark no spans. No line is ever dropped or merged, an empty one is answered too.

    Language models: --prompt gives the prompt and what follows it; --score gives log probability, perplexity and tokens
    of each line; --fill gives the filled text and its log probability, --rewrite an alternative and what it gains.

    Translation and the like: the text on a line; with --top-k the best ones, each and its score, tabs between all.
    """
    from gatework.runtime import load

    opened = load([model, *(beside or ())])
    if opened.bundle.architecture.head == "sequence":
        given: dict[str, object] = {
            "--format": form,
            "--stream": stream,
            "--allow": allow,
            "--threshold": threshold,
            "--prompt": prompt,
        }
        given |= {"--fill": fill, "--rewrite": rewrite, "--backward": backward}
        _refuse(opened, [name for name, value in given.items() if value])
        _sequence(opened, source, score, settings or [], is_text=text, top_k=top_k, plot=plot, json=json)
        return
    if plot is not None:
        raise ConfigError(f"--plot draws where a translation looked; this model is of the task {opened.task}.")
    asked = {"--prompt": prompt, "--score": score, "--fill": fill, "--rewrite": rewrite}
    chosen = [(name, value) for name, value in asked.items() if value is not None]
    if opened.task == "lm" or chosen or settings or backward:
        others: dict[str, Any] = {"--format": form, "--stream": stream, "--allow": allow, "--threshold": threshold}
        own: dict[str, Any] = {"--top-k": top_k, "--backward": backward, "--text": text}
        if len(chosen) == 1 and chosen[0][0] not in ("--fill", "--rewrite"):
            others |= own
        _check_language(opened, source, list(asked), chosen, [name for name, given in others.items() if given])
        _language(opened, *chosen[0], settings or [], json, is_text=text, top_k=top_k, backward=backward)
        return
    _check_fit(opened, form=form, stream=stream, allow=allow)
    options: dict[str, Any] = {"top_k": top_k if json else top_k or 1, "threshold": threshold}
    if allow:
        options["allow"] = constraints(allow)
    if stream:
        for results in _streamed(opened, source, text, top_k, threshold):
            _write(results, top_k, json)
        return
    kind, batches = _examples(opened, source, text, form)
    columns = kind in ("conll", "conllu") and not json
    for batch in batches:
        long = opened.task == "tag" and not json and not allow and (top_k or 1) == 1
        if long and max(map(len, batch), default=0) > LONG_LINE and all(isinstance(one, str) for one in batch):
            for one in batch:
                _line_by_pieces(opened, str(one), threshold)
        else:
            _write(opened.predict_batch(batch, **options), top_k, json, columns=columns)
        sys.stdout.flush()


def _refuse(opened: Model, names: list[str]) -> None:
    """Raise ConfigError for options of other tasks."""
    if names:
        raise ConfigError(
            f"{names[0]} is not for the task {opened.task}; options are given with --set, such as --set beams=5."
        )


def _sequence(
    opened: Model,
    source: str | None,
    scored: str | None,
    settings: list[str],
    *,
    is_text: bool,
    top_k: int | None,
    plot: Path | None,
    json: bool,
) -> None:
    """Answers of a model that writes texts from sources. Raises ConfigError: options that do not go together."""
    from gatework.cli.translating import score_pairs, translate

    if scored is None:
        translate(opened, _texts(source, is_text), settings, top_k=top_k, json=json, plot=plot)
        return
    if source is not None or settings or top_k is not None or plot is not None:
        raise ConfigError("--score FILE goes alone, or with --json: scores have no options.")
    name = "standard input" if scored == "-" else scored
    batches = line_batches(sys.stdin.buffer, name) if scored == "-" else file_batches(Path(scored))
    score_pairs(opened, batches, name, json)


def _check_language(
    opened: Model, source: str | None, known: list[str], chosen: list[tuple[str, str]], others: list[str]
) -> None:
    """Raise ConfigError for options of other tasks, and unless one thing is asked of a language model."""
    if opened.task != "lm":
        raise ConfigError(
            f"{', '.join(known)}, --backward and --set are for language models; this one is of the task {opened.task}."
        )
    if source is not None or len(chosen) != 1:
        raise ConfigError(
            "a language model takes --prompt TEXT, to go on after it, --score FILE, --fill TEXT or --rewrite TEXT. "
            "Give one of them."
        )
    if others and others[0] in ("--top-k", "--backward", "--text"):
        raise ConfigError(f"{others[0]} goes with --fill and --rewrite; other options are given with --set.")
    if others:
        raise ConfigError(f"{others[0]} is not for language models; there is --set, such as --set temperature=0.8.")


def _language(
    opened: Model,
    asked: str,
    value: str,
    settings: list[str],
    json: bool,
    *,
    is_text: bool,
    top_k: int | None,
    backward: Path | None,
) -> None:
    """Answers of a language model. Raises ConfigError: an option goes with something else."""
    from gatework.cli.writing import fill, score, write
    from gatework.runtime import load

    if asked == "--prompt":
        write(opened, value, settings, json)
    elif asked == "--score":
        if settings:
            raise ConfigError("--set does not go with --score: scores have no options.")
        score(
            opened,
            line_batches(sys.stdin.buffer, "standard input") if value == "-" else file_batches(Path(value)),
            json,
        )
    else:
        other = None if backward is None else load(backward)
        name = _name(value, is_text)
        fill(opened, asked, _texts(value, is_text), name, settings, json=json, top_k=top_k, backward=other)


def _write(results: Iterable[Any], top_k: int | None, json: bool, *, columns: bool = False) -> None:
    for result in results:
        if json:
            answer_json(result.to_dict())
        else:
            answer(result.to_columns() if columns else result.to_line(top_k))
    sys.stdout.flush()


def _line_by_pieces(opened: Model, text: str, threshold: float | None) -> None:
    """One line of answers for a long text, in memory that does not grow with it."""
    if len(text) <= LONG_LINE:
        _write(opened.predict_batch([text], top_k=1, threshold=threshold), 1, False)
        return
    between = ""
    with opened.stream(threshold=threshold) as stream:
        for at in range(0, len(text) + LONG_LINE, LONG_LINE):
            for result in stream.feed(text[at : at + LONG_LINE]) if at < len(text) else stream.end():
                if line := result.to_line():
                    sys.stdout.write(between + line)
                    between = "\t" if result.spans is not None else " "
    answer("")


def _check_fit(opened: Model, *, form: str | None, stream: bool, allow: list[str] | None) -> None:
    """Raise ConfigError for options that do not go together, or not with the model's task."""
    if form is not None and form not in FORMATS:
        raise ConfigError(f"--format {form!r} is unknown. {nearest(form, FORMATS)}")
    if opened.task != "tag":
        for option, given in (("--stream", stream), ("--allow", bool(allow))):
            if given:
                raise ConfigError(f"{option} is for taggers; this model is of the task {opened.task}.")
        if form not in (None, "text"):
            raise ConfigError(f"--format {form} is for taggers; other models read a text a line.")
    if stream and (allow or form not in (None, "text")):
        raise ConfigError("--stream reads running text: leave out --allow and --format.")


def _streamed(
    opened: Model, source: str | None, is_text: bool, top_k: int | None, threshold: float | None
) -> Iterator[list[Any]]:
    """Answers to all of the input as one running text, as they are due."""
    options: dict[str, Any] = {"threshold": threshold} | ({"top_k": top_k} if (top_k or 1) > 1 else {})
    with opened.stream(**options) as stream:
        for piece in _pieces(source, is_text):
            yield stream.feed(piece)
        yield stream.end()


def _pieces(source: str | None, is_text: bool) -> Iterator[str]:
    """The input as pieces of text, cut anywhere."""
    if (path := _file(source, is_text)) is not None:
        with opened_file(path) as file:
            yield from characters(file, str(path))
    elif source is None or (source == "-" and not is_text):
        yield from characters(_standard_input(source), "standard input")
    else:
        yield _utf8(source)


def _examples(
    opened: Model, source: str | None, is_text: bool, form: str | None
) -> tuple[str, Iterable[list[Example]]]:
    """What lines are, and batches of examples."""
    path = _file(source, is_text)
    kind = form or "text"
    if form is None and path is not None and opened.task == "tag" and (kind := named(path)) != "text":
        say(f"{path}: read as {kind}, by its name (`--format text` reads a text a line)")
    if kind not in ("conll", "conllu"):
        return kind, examples(_texts(source, is_text), kind, _name(source, is_text))
    if path is None:
        raise ConfigError(f"--format {kind} reads a file. Give its path, or tokens a line with --format tokens.")
    return kind, sentences(path, kind, opened)


def _texts(source: str | None, is_text: bool) -> Iterator[list[str]]:
    """Batches of texts of the command line's argument, or of standard input."""
    if (path := _file(source, is_text)) is not None:
        return file_batches(path)
    if source is None or (source == "-" and not is_text):
        return line_batches(_standard_input(source), "standard input")
    return iter([[_utf8(source)]])


def _name(source: str | None, is_text: bool) -> str:
    """What messages call the input."""
    if (path := _file(source, is_text)) is not None:
        return str(path)
    return "standard input" if source is None or (source == "-" and not is_text) else "the text"


def _standard_input(source: str | None) -> io.BufferedIOBase:
    if source is None and sys.stdin.isatty():
        raise ConfigError("predict: nothing to label. Give a text, a file, or - for standard input.")
    return sys.stdin.buffer  # type: ignore[return-value]


def _file(source: str | None, is_text: bool) -> Path | None:
    """The file that the argument names; None where it is a text, or standard input is to be read."""
    if source is None or is_text or source == "-":
        return None
    path = Path(source)
    if source and _exists(path):  # Path("") is the current folder
        if path.is_dir():
            raise DataError(f"{path}: is a folder. Give a file of texts, or --text to label the word itself.")
        return path
    if path.suffix in FILE_SUFFIXES and len(source.split()) == 1:
        raise DataError(f"{path}: no such file. Check the path, or give --text to label the word itself.")
    return None


def _utf8(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError("predict: the text is not UTF-8. Set a UTF-8 locale, or put the text in a file.") from None
    return text


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text too long for a path
        return False
