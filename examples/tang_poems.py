"""Tang poems in a requested form, with a title, a first line and rhyme words if wanted.

    python examples/tang_poems.py tang.gw 5x4 --title 春夜 [--first 明月照高楼] [--rhymes 秋流愁] [--count 3] [--seed 1]

The model is one of recipes/lm-tang.toml: its poems stand after a line with their form and one with their title. The
form is a constraint, so every poem keeps to it: 5x4 has four lines of five characters, a comma after each odd one and
a full stop after each even one.
"""

from __future__ import annotations

import argparse
import re

import gatework as gw

FORMS = ("5x4", "7x4", "5x8", "7x8")
CHARACTER = "[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f]"


def pattern(form: str, *, first: str = "", rhymes: str = "") -> str:
    """The regular expression of a form.

    Args:
        form: one of FORMS: characters of a line x lines.
        first: the first line, without its comma.
        rhymes: characters of which one ends each even line; empty for any.
    Raises: ValueError: the form is unknown, or the first line does not fit it.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r} is unknown. Known: {', '.join(FORMS)}.")
    width, lines = map(int, form.split("x"))
    if first and not re.fullmatch(f"{CHARACTER}{{{width}}}", first):
        raise ValueError(f"the first line must have {width} Chinese characters, got {first!r}.")
    odd = f"{CHARACTER}{{{width}}}，"
    even = f"{CHARACTER}{{{width - 1}}}{f'[{re.escape(rhymes)}]' if rhymes else CHARACTER}。"
    return f"{first}，{even}" * bool(first) + (odd + even) * (lines // 2 - bool(first))


def write(
    model: gw.Model, form: str, *, title: str = "", first: str = "", rhymes: str = "", **options: object
) -> list[str]:
    """Poems; options as of `Model.generate`, such as count, seed and temperature."""
    options = {
        "temperature": 0.8,
        "max_tokens": 100,
        **options,
        "constraint": pattern(form, first=first, rhymes=rhymes),
    }
    answers = model.generate([f"{form}\n{title}\n"], **options)[0]
    return [answer.text for answer in (answers if isinstance(answers, list) else [answers])]


def main() -> None:
    """Read the command line, print the poems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("form", choices=FORMS)
    parser.add_argument("--title", default="")
    parser.add_argument("--first", default="", help="the first line")
    parser.add_argument("--rhymes", default="", help="characters of which one ends each even line")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", type=int)
    given = vars(parser.parse_args())
    for poem in write(gw.load(given.pop("model")), given.pop("form"), **given):
        print(re.sub("(?<=。)", "\n", poem))


if __name__ == "__main__":
    main()
