"""The example of Tang poems: every poem keeps to its form, whatever the model."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import tang_poems

from gatework.core.automaton import Constraint
from gatework.core.bundle import write_bundle
from gatework.core.recipe import InputSection
from gatework.runtime import load
from gatework.tasks.lm.codec import Settings
from gatework.text.running import RunningCodec
from language_models import language_architecture, language_weights

POEM = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("tang") / "m.gw"
    settings = InputSection(unit="char", min_count=1, lowercase=False, fold_width=False)
    codec = RunningCodec.fit(lambda: [f"5x4\n静夜思\n{POEM}", "7x8？！；"], settings)
    architecture = language_architecture(vocabulary=codec.vocabulary)
    decode = Settings(documents="rows", carry=False, template="{0}\n{2}\n{3}").to_dict()
    config = {"gatework": "0", "task": "lm", "architecture": architecture.to_dict(), "decode": decode}
    write_bundle(path, config=config, weights=language_weights(architecture, seed=4), entries=codec.to_entries())
    return load(path)


@pytest.mark.parametrize("form", tang_poems.FORMS)
@pytest.mark.parametrize("given", [{}, {"first": "明"}, {"rhymes": "光霜乡"}, {"first": "月", "rhymes": "乡"}])
def test_every_poem_is_in_form(model, form, given):
    width, lines = map(int, form.split("x"))
    options = {name: value * width if name == "first" else value for name, value in given.items()}
    poems = tang_poems.write(model, form, title="静夜思", count=200, seed=1, **options)
    assert len(poems) == 200
    for poem in poems:
        cut = re.split("([，。])", poem)
        assert cut.pop() == ""
        assert cut[1::2] == ["，", "。"] * (lines // 2)
        assert all(re.fullmatch(rf"[^\W\d_a-zA-Z]{{{width}}}", line) for line in cut[::2])
        assert cut[0] == options.get("first", cut[0])
        assert all(line[-1] in options.get("rhymes", line) for line in cut[2::4])


def test_real_poems_match_their_form():
    assert Constraint(pattern=tang_poems.pattern("5x4")).dfa.matches(POEM)
    assert Constraint(pattern=tang_poems.pattern("5x4", first="床前明月光", rhymes="霜乡")).dfa.matches(POEM)
    assert not Constraint(pattern=tang_poems.pattern("5x4", rhymes="霜")).dfa.matches(POEM)
    assert not Constraint(pattern=tang_poems.pattern("7x4")).dfa.matches(POEM)


def test_what_does_not_fit_a_form():
    for bad in ({"form": "6x4"}, {"form": "5x4", "first": "床前明月"}, {"form": "5x4", "first": "abcde"}):
        with pytest.raises(ValueError, match=r"form|first line"):
            tang_poems.pattern(**bad)


def test_the_command(model, capsys, monkeypatch):
    words = ["tang_poems.py", model.bundle.source, "5x4", "--title", "月", "--count", "2", "--seed", "3"]
    monkeypatch.setattr(sys, "argv", words)
    tang_poems.main()
    poems = tang_poems.write(model, "5x4", title="月", count=2, seed=3)
    assert capsys.readouterr().out.replace("\n", "") == "".join(poems)
    assert np.unique(poems).size == 2
