"""Texts of several sentences, dictionaries of unknown words, scripts that training had not, constraints by name."""

from dataclasses import replace

import numpy as np
import pytest

from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.runtime.seq2seq import Seq2Seq
from gatework.runtime.translating import Translator
from gatework.tasks.seq2seq import Seq2SeqCodec, Settings
from gatework.tasks.seq2seq.answer import Translation, joined
from gatework.text.running import RunningCodec
from language_models import tensor_file
from seq2seqs import CASES, seq2seq_architecture, seq2seq_weights

WORDS = RunningCodec(unit="word", tokens=["red", "Green.", "blue", "cat!", "dog.", "runs"])
SETTINGS = Settings(beams=3, max_ratio=1.0, usual=6, scripts=("Latin",))
LONG = "  red dog.  Green. \n blue cat! "


def built(text=WORDS, case="general", unknown=0.0, settings=SETTINGS):
    architecture = seq2seq_architecture(**CASES[case], vocabulary=text.vocabulary)
    weights = seq2seq_weights(architecture)
    weights["head.bias"][1] = unknown
    model = Seq2Seq(architecture, tensor_file(weights), source="small.gw")
    return Translator(model, Seq2SeqCodec(text, text, settings))


def test_sentences_are_answered_one_by_one_and_joined():
    model = built()
    parts = model.answers(["red dog.", "Green.", "blue cat!"], {})
    (whole,) = model.answers([LONG], {"split": "always"})
    a, b, c = (part.text for part in parts)
    assert whole.text == f"  {a}  {b} \n {c} "
    assert whole.sentences == whole.to_dict()["sentences"] == 3
    assert whole.tokens == parts[0].tokens + parts[1].tokens + parts[2].tokens
    assert whole.source_tokens == ("red", "dog.", "", "Green.", "", "blue", "cat!", "")
    assert whole.log_p == pytest.approx(sum(part.log_p for part in parts))
    weights = [len(part.tokens) + 1 for part in parts]
    assert whole.score == pytest.approx(np.average([part.score for part in parts], weights=weights))
    assert whole.reason == ("end" if all(part.reason == "end" for part in parts) else "length")
    assert whole.attention.shape[1] == len(whole.source_tokens)
    looked = [parts[0].alignment, parts[1].alignment, parts[2].alignment]
    assert whole.alignment == (*looked[0], *(3 + at for at in looked[1]), *(5 + at for at in looked[2]))
    assert model.answers(["", " \n"], {"split": "always"})[0].reason == "empty"


def test_only_texts_longer_than_usual_are_cut_unless_told():
    model = built()
    short = "red dog. blue cat! runs"  # with its end as long as is usual
    answers = model.answers([short, LONG + "red", "red " * 9], {})
    assert [one.sentences for one in answers] == [1, 3, 1]
    assert answers[0].text == model.answers([short], {"split": "never"})[0].text
    assert model.answers([LONG + "red"], {"split": "never"})[0].sentences == 1
    assert model.answers([LONG + "red"], {"max_tokens": 3})[0].sentences == 1, "it speaks of the whole text"
    assert built(settings=Settings(beams=3)).answers([LONG * 9], {})[0].sentences == 1
    with pytest.raises(ConfigError, match="split and prefix do not go together"):
        model.answers([LONG], {"split": "always", "prefix": "red"})
    with pytest.raises(ConfigError, match="split 'yes' is unknown"):
        model.answers([LONG], {"split": "yes"})


def test_alternatives_of_several_sentences():
    model = built()
    parts = model.answers(["red dog.", "Green."], {"count": 3})
    (whole,) = model.answers(["red dog. Green."], {"count": 3, "split": "always"})
    for rank, one in enumerate(whole.alternatives):
        assert one.text == " ".join(part.alternatives[rank].text for part in parts)


@pytest.mark.parametrize(
    ("first", "gap", "second", "want"),
    [
        ("你好。", "", "再见。", "你好。再见。"),
        ("你好。", " ", "再见。", "你好。再见。"),
        ("你好。", "\n", "再见。", "你好。\n再见。"),
        ("Hello.", "", "Bye.", "Hello. Bye."),
        ("Hello.", "  ", "Bye.", "Hello.  Bye."),
        ("Hello.", "", "再见。", "Hello. 再见。"),
        ("", "", "Bye.", "Bye."),
        ("Hello.", " ", "", "Hello. "),
    ],
)
def test_blanks_between_sentences_are_those_of_the_answers_script(first, gap, second, want):
    """Chinese sentences stand side by side, others do not, whatever the source has."""
    parts = [
        Translation(text=text, score=0.0, log_p=0.0, reason="end", tokens=(text,), source_tokens=("",), attention=None)
        for text in (first, second)
    ]
    assert joined(parts, ["", gap, ""]).text == want


def test_a_dictionary_says_what_stands_for_unknown_words(tmp_path):
    model = built(unknown=30.0)
    (plain,) = model.answers(["zebra Okapi"], {"max_tokens": 4})
    names = {"zebra": "Zebra", "okapi": "Waldgiraffe"}
    assert len(plain.replaced) == 4
    (told,) = model.answers(["zebra Okapi"], {"max_tokens": 4, "dictionary": names})
    assert told.tokens == tuple({"zebra": "Zebra", "Okapi": "Waldgiraffe"}.get(one, one) for one in plain.tokens)
    assert set(told.tokens) & set(names.values())
    path = tmp_path / "d.tsv"
    path.write_text("zebra\tZebra\n\nokapi\tWaldgiraffe\nzebra\tother\n", encoding="utf-8")
    assert model.answers(["zebra Okapi"], {"max_tokens": 4, "dictionary": str(path)})[0].text == told.text


def test_dictionaries_that_are_none(tmp_path):
    path = tmp_path / "d.tsv"
    for text, says in (("a\tb\nno tab\n", r"d\.tsv:2: expected a word, a tab"), ("\n", r"d\.tsv: an empty dictionary")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=says):
            built().answers(["red"], {"dictionary": path})
    with pytest.raises(ConfigError, match="dictionary must be a file, or words"):
        built().answers(["red"], {"dictionary": ["a"]})
    with pytest.raises(ConfigError, match="Set replace_unknown, or drop it"):
        built().answers(["red"], {"dictionary": {"a": "b"}, "replace_unknown": False})
    with pytest.raises(ConfigError, match="it does not look at the source"):
        built(case="no attention").answers(["red"], {"dictionary": {"a": "b"}})


def test_a_script_that_training_had_not_is_told():
    model = built()
    found = model.answers(["red", "красный", "红猫", "123", "red (красный) cat!"], {})
    assert [one.script for one in found] == ["", "Cyrillic", "Chinese", "", "Cyrillic"]
    assert found[1].to_dict()["script"] == "Cyrillic"
    assert "script" not in found[0].to_dict()
    assert built(settings=replace(SETTINGS, scripts=())).answers(["красный"], {})[0].script == ""


def test_settings_of_older_bundles_and_of_hostile_ones():
    written = SETTINGS.to_dict()
    assert Settings.from_dict(written, source="x") == SETTINGS
    old = {name: value for name, value in written.items() if name not in ("usual", "scripts")}
    assert Settings.from_dict(old, source="x") == Settings(beams=3, max_ratio=1.0)
    for change in ({"scripts": "Latin"}, {"scripts": ["Klingon"]}, {"scripts": [1]}, {"usual": -1}, {"usual": 1.5}):
        with pytest.raises(BundleError, match=r"decode\."):
            Settings.from_dict(written | change, source="x")


def test_the_part_that_cannot_be_written_is_named():
    model = built()
    with pytest.raises(ConfigError, match="no tokens to write any text that satisfies must 'yellow'"):
        model.answers(["red"], {"constraint": {"must": ("red", "yellow"), "must_not": ("blue",)}})
    with pytest.raises(ConfigError, match=r"shortest text that satisfies pattern .* has 3 tokens, but no more than 2"):
        model.answers(["red"], {"constraint": {"pattern": "red red red", "must_not": ("blue",)}, "max_tokens": 2})
