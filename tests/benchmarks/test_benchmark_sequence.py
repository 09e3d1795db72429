"""The report of sequence to sequence: goals in the right direction, variants beside their recipes."""

import pytest

import seq2seqs
from benchmarks.sequence_models import folded
from benchmarks.sequence_report import reached, render
from benchmarks.sequence_sets import SETS, Figure, choose
from gatework.runtime import load
from gatework.tasks.seq2seq import Settings
from gatework.text.running import RunningCodec

MACHINE = {"cpu": "a", "cores": 2, "system": "Linux", "python": "3.11", "load": 0.1}


def record(**figures):
    own = {"machine": MACHINE, "date": "2026-01-01", "command": "python -m x", "version": "gatework 0", "bytes": 2e6}
    return own | {"parameters": 3_000_000, "train_seconds": 90.0, **figures}


@pytest.mark.parametrize(
    ("value", "more", "want"),
    [(40, True, "target"), (35, True, "floor"), (30, True, "-"), (30, False, "target"), (45, False, "-")],
)
def test_goals(value, more, want):
    floor, target = (33.0, 38.0) if more else (38.0, 33.0)
    assert reached(value, Figure(metric="x", shown="x", more_is_better=more, floor=floor, target=target)) == want


def test_a_figure_within_figures():
    figure = Figure(metric="recall.recall@1", shown="", scale=100.0)
    assert figure.of({"recall": {"recall@1": 0.25}}) == 25.0
    assert figure.of({"recall": None}) is None
    assert figure.of({}) is None


def test_tables():
    lead = {"words": 6, "rouge1": 0.1, "rouge2": 0.02, "rougeL": 0.08}
    rouge = {"rouge1": 0.3, "rouge2": 0.1, "rougeL": 0.25}
    signature = {"bleu": "nrefs:1", "chrf": "nc:6"}
    text = render({
        ("gatework", "mt-multi30k-deen"): record(
            bleu=40.0, bleu_lowercase=41.0, chrf=60.0, signature=signature, interval={"bleu": [39.0, 41.0]}
        ),
        ("gatework-no-attention", "mt-multi30k-deen"): record(bleu=20.0, bleu_lowercase=21.0, chrf=40.0),
        ("gatework", "sum-debian"): record(**rouge, lead=lead),
        ("gatework", "g2p-cmudict"): record(per=0.07, wer=0.3, folded={"per": 0.05, "wer": 0.26}),
    })  # fmt: skip
    assert "| Multi30k de→en | BLEU, lower case | 33.5 RNN, 36.5 Transformer | 33 | 38 | 41.00 | target |" in text
    assert "| Multi30k de→en | without attention | 21.00, 20.00, 40.00 |" in text
    assert "| Debian synopses | the first 6 words | 10.00, 2.00, 8.00 |" in text
    assert "| phoneme errors, % | – | 8 | 5.8 | 7.00 | floor |" in text
    assert "| phoneme errors, stress left out, % | 5.5 | 8 | 5.8 | 5.00 | target |" in text
    assert "| word errors, stress left out, % | 23.6 | 32 | 25 | 26.00 | floor |" in text
    assert "- `nc:6`" in text


def test_letters_that_do_not_count(tmp_path):
    """Of an answer and of all the references of its source."""
    words = RunningCodec(unit="char", tokens=list("ab01"))
    seq2seqs.write_model(
        bundle := tmp_path / "m.gw", words, task="transduce", settings=Settings(beams=2, max_ratio=2.0)
    )
    said = load(bundle).predict("ab").text
    assert set(said) & set("01"), "or nothing is tested"
    other = said.translate(str.maketrans("01", "10"))
    (table := tmp_path / "t.tsv").write_text(f"ab\tbbbb\nab\t{other}\n")
    assert folded(bundle, table, "01") == {"per": 0.0, "wer": 0.0}
    assert folded(bundle, table, "")["wer"] == 1.0


def test_sets_have_recipes():
    from benchmarks.classification import RECIPES

    assert all((RECIPES / f"{one.name}.toml").is_file() for one in choose([]))
    with pytest.raises(SystemExit, match="unknown set 'x'"):
        choose(["x"])
    assert list(SETS) == [one.name for one in choose([])]
