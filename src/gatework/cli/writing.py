"""What `gatework predict` does with a language model: go on after a prompt, score texts, fill gaps, rewrite."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gatework.cli.output import answer, answer_json, say
from gatework.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from gatework.runtime import Model

TEXTS = ("pattern", "lines", "gap", "prefix", "dictionary", "split")
"""Options whose values are text, even if they look like numbers or lists."""
SEVERAL = ("stop", "choices", "must", "must_not", "marks")
"""Options that are texts, one or several."""
ADDING = ("must", "must_not")
"""Of these, set one after another, each counts: a word left out in silence would be missed in the text alone."""


def write(opened: Model, prompt: str, settings: Sequence[str], json: bool) -> None:
    """What follows a prompt, as it is written; with several texts or beams, all at once."""
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError("--prompt: the text is not UTF-8. Set a UTF-8 locale.") from None
    options, between = writing_options(settings), opened.between
    if json or options.get("count", 1) != 1 or options.get("beams", 1) != 1:
        found = opened.generate(prompt, **options)
        for one in found if isinstance(found, list) else [found]:
            if json:
                answer_json({"prompt": prompt} | one.to_dict())
            else:
                answer(prompt + between(prompt, one.text) + one.text)
    else:
        stream, before = opened.stream(prompt, **options), prompt
        sys.stdout.write(prompt)
        for piece in stream:
            sys.stdout.write(between(before, piece) + piece)
            sys.stdout.flush()
            before = ""
        answer("")
        found = stream.result
    first = found[0] if isinstance(found, list) else found
    if first.seed is not None and "seed" not in options:
        say(f"seed {first.seed}: the same again with --set seed={first.seed}")
    if first.unknown:
        tokens = "token" if first.unknown == 1 else "tokens"
        say(f"the model does not know {first.unknown} {tokens} of the prompt")


def score(opened: Model, batches: Iterable[Sequence[str]], json: bool) -> None:
    """A line an input line: log probability in nats, perplexity and tokens, tabs between them."""
    for batch in batches:
        for text, one in zip(batch, opened.score(batch), strict=True):
            if json:
                answer_json({"text": text} | one.to_dict())
            else:
                answer(f"{one.log_p:.4f}\t{one.perplexity:.4f}\t{one.tokens}")
        sys.stdout.flush()


def fill(
    opened: Model,
    asked: str,
    batches: Iterable[Sequence[str]],
    source: str,
    settings: Sequence[str],
    *,
    json: bool,
    top_k: int | None,
    backward: Model | None,
) -> None:
    """A line an input line: filled texts and their log p, or alternatives and what they gain; `asked` says which.

    Raises: DataError naming source and line: a line has no gap.
    """
    options = writing_options(settings)
    if top_k is not None:
        options["count"] = top_k
    elif not json:
        options.setdefault("count", 1)
    ask: Any = opened.fill if asked == "--fill" else opened.rewrite
    number = 0
    for batch in batches:
        for text in batch:
            number += 1
            try:
                found = ask(text, backward=backward, **options)
            except DataError as error:
                raise DataError(f"{source}:{number}: {error}") from None
            _show(text, found, json)
        sys.stdout.flush()


def _show(text: str, found: Any, json: bool) -> None:
    """What fills a text, or what else it may say."""
    if json:
        values = {"filled": [one.to_dict() for one in found]} if isinstance(found, list) else found.to_dict()
        answer_json({"input": text} | values)
        return
    if isinstance(found, list):
        pairs = [(one.text, one.log_p) for one in found]
    else:
        pairs = [(one.text, one.log_p - found.original.log_p) for one in found.alternatives]
    answer("\t".join(f"{filled}\t{value:.4f}".replace("\n", "\\n") for filled, value in pairs))


def writing_options(settings: Sequence[str]) -> dict[str, Any]:
    """`max_tokens=50`, `constraint.must=cat` as keywords of `Model.generate` or `fill`; words that must or must not
    appear add up. Raises ConfigError."""
    options: dict[str, Any] = {}
    for setting in settings:
        name, equals, raw = setting.partition("=")
        keys = [part.strip() for part in name.split(".")]
        nested = len(keys) == 2 and keys[0] == "constraint"
        if not equals or not all(keys) or not (len(keys) == 1 or nested):
            raise ConfigError(f"--set {setting}: expected an option such as max_tokens=50 or constraint.must=cat.")
        if keys == ["constraint"] and raw.lstrip().startswith("{"):
            raise ConfigError(f"--set {setting}: the parts of a constraint are set one by one: constraint.must=cat.")
        if not nested:
            options[keys[0]] = _value(keys[0], raw)
            continue
        parts = options.setdefault("constraint", {})
        if not isinstance(parts, dict):
            raise ConfigError(f"--set {setting}: constraint is a pattern already. Say constraint.pattern=... for it.")
        value = _value(keys[1], raw)
        if keys[1] in ADDING and keys[1] in parts:
            value = [*_listed(parts[keys[1]]), *_listed(value)]
        parts[keys[1]] = value
    return options


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _value(name: str, raw: str) -> Any:
    value: Any = raw
    with suppress(tomllib.TOMLDecodeError):
        value = tomllib.loads(f"value = {raw}")["value"]
    quoted = isinstance(value, str)
    if name in TEXTS or name == "constraint":
        return value if quoted else raw
    if name in SEVERAL:
        texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return value if quoted or texts else raw
    return value if isinstance(value, bool | int | float | str | list) else raw
