"""`gatework demo`: the whole of Gatework in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatework.cli.output import answer, answer_json, say, size
from gatework.cli.train import result_text, train_with_progress
from gatework.core.errors import ConfigError, nearest
from gatework.core.files import check_writable

if TYPE_CHECKING:
    from gatework.core.recipe import Recipe

MESSAGES = (
    "Are we still on for lunch tomorrow? I can be there at one.",
    "WINNER! You have been selected to receive a £500 prize. Call 09061701461 now to claim.",
    "Sorry, I'll call you later, still in a meeting.",
    "FREE entry in our weekly draw! Text WIN to 80086. 18+ only, 150p per msg",
    "",
)
"""Messages of our own, none from the data, and an empty one: every line gets an answer."""


SENTENCES = (
    "The cat didn't like Paris, but she stayed.",
    "Can you can a can?",
    "",
)
"""Sentences of our own for the tagger."""


PROMPT = "ROMEO:\n"
"""Of the language model."""


DAYS = ("the 21st of November, 2026", "Friday, March 13th 1998", "2008年8月8日", "一九七〇年十二月三十一号", "")
"""Of the transducer; the fourth mixes two ways of writing a day that it has seen apart."""


def run(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task with bundled data.")] = "classify",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the model; named after the data otherwise.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
) -> None:
    """Train, evaluate, save and query a small model on data that come with the package."""
    if task not in DEMOS:
        raise ConfigError(f"demo {task!r} is unknown. {nearest(task, DEMOS)}")
    output = output or Path(NAMES[task])
    check_writable(output)
    DEMOS[task](output, seed, json, context.obj)


def _trained(recipe: Recipe, output: Path, json: bool, command: str) -> bool:
    """Train and tell how good it became; as JSON that is all there is to say (False)."""
    result = train_with_progress(recipe, output, command=command)
    if json:
        answer_json(result.to_dict())
        return False
    answer(result_text(result, task=recipe.task))
    answer(f"\nThe file is the whole model ({size(output.stat().st_size)}); it answers without PyTorch:")
    return True


def _classify(output: Path, seed: int, json: bool, command: str) -> None:
    """Spam in text messages: the SMS Spam Collection v.1 (Almeida, Gómez Hidalgo and Yamakami, 2011)."""
    from gatework.core.recipe_io import recipe_for_data

    folder = DATA / "sms_spam"
    recipe = recipe_for_data(
        folder / "train.tsv",
        overrides=[f"train.seed={seed}", "export.max_size=500000"],
        dev=str(folder / "dev.tsv"),
        test=str(folder / "test.tsv"),
        label=0,
        text=1,
    )
    say("SMS Spam Collection v.1 (Almeida, Gómez Hidalgo and Yamakami, 2011): is a text message spam?\n")
    if not _trained(recipe, output, json, command):
        return
    _ask(output, MESSAGES)
    answer(f'\nYour turn:  gatework predict {output} "your message"')
    answer("Your data:  gatework train your.csv -o your.gw")


def _tag(output: Path, seed: int, json: bool, command: str) -> None:
    """Parts of speech: a sample of UD English EWT (Silveira and others, 2014)."""
    from gatework.core.recipe_io import recipe_for_data

    folder = DATA / "ud_ewt"
    recipe = recipe_for_data(
        folder / "train.conll",
        overrides=["task=tag", f"train.seed={seed}", "train.epochs=15", "model.units=64", "model.embedding=64"],
        dev=str(folder / "dev.conll"),
        test=str(folder / "test.conll"),
    )
    say("A sample of UD English EWT (Silveira and others, 2014; CC BY-SA 4.0): which part of speech is each word?\n")
    if not _trained(recipe, output, json, command):
        return
    from gatework.runtime import load

    for given in load(output).predict_batch(list(SENTENCES)):
        answer(f"  {given.to_line() or '(an empty text)'}")
    answer(f'\nYour turn:  gatework predict {output} "your sentence"')
    answer("Your data:  gatework train your.conll -o your.gw")


def _lm(output: Path, seed: int, json: bool, command: str) -> None:
    """What comes next in a play: the beginning of tinyshakespeare."""
    from gatework.core.recipe_io import recipe_for_data

    folder = DATA / "shakespeare"
    options = ("task=lm", "input.unit=char", "input.min_count=1", "model.embedding=64", "train.epochs=8")
    recipe = recipe_for_data(
        folder / "train.txt",
        overrides=[*options, "train.learning_rate=0.005", f"train.seed={seed}"],
        dev=str(folder / "dev.txt"),
        test=str(folder / "test.txt"),
    )
    say("Speeches from plays of Shakespeare: which character comes next?\n")
    if not _trained(recipe, output, json, command):
        return
    from gatework.runtime import load

    written = load(output).generate(PROMPT, max_tokens=300, temperature=0.7, seed=seed)
    answer(f"\n{PROMPT}{written.text}")
    answer(f'\nYour turn:  gatework predict {output} --prompt "My lord,"')
    answer("Your data:  gatework train your.txt --task lm -o your.gw")


def _transduce(output: Path, seed: int, json: bool, command: str) -> None:
    """Days in words to ISO 8601."""
    from gatework.cli import dates
    from gatework.core.recipe_io import recipe_for_data

    tables = dates.write(output.with_suffix(".data"), {"train": 5000, "dev": 300, "test": 300}, seed=1)
    options = (
        "task=transduce", "model.embedding=48", "model.units=96", "model.layers=1", "train.epochs=7",
        "train.batch_tokens=1024", "train.learning_rate=4e-3", f"train.seed={seed}",
    )  # fmt: skip
    recipe = recipe_for_data(tables["train"], overrides=options, dev=str(tables["dev"]), test=str(tables["test"]))
    say(f"Days in words, English and Chinese, made by rule ({tables['train'].parent}): which day is it?\n")
    if not _trained(recipe, output, json, command):
        return
    from gatework.runtime import load

    for said, given in zip(DAYS, load(output).predict_batch(list(DAYS)), strict=True):
        answer(f"  {given.text or '(nothing)':<12} {said or '(an empty text)'}")
    answer(f'\nYour turn:  gatework predict {output} "Dec 24 2030"')
    answer("Your data:  gatework train pairs.tsv --task transduce -o your.gw")


def _ask(path: Path, texts: Any) -> None:
    from gatework.runtime import load

    for text, result in zip(texts, load(path).predict_batch(list(texts)), strict=True):
        answer(f"  {result.label:<5} {result.score:.4f}  {text or '(an empty message)'}")


DATA = Path(__file__).resolve().parent.parent / "data"
DEMOS = {"classify": _classify, "tag": _tag, "lm": _lm, "transduce": _transduce}
NAMES = {"classify": "sms-spam.gw", "tag": "pos.gw", "lm": "shakespeare.gw", "transduce": "dates.gw"}
