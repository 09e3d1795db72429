"""Language models at the command line: train, evaluate with its options, check, init."""

import json

import pytest

from gatework.cli import main
from gatework.runtime import load

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Text files, and a model trained on them."""
    folder = tmp_path_factory.mktemp("lm")
    for part, count in (("train", 120), ("dev", 20), ("test", 20)):
        (folder / f"{part}.txt").write_text("".join(f"the cat sat on mat {n % 7} .\n" for n in range(count)))
    options = ("input.unit=word", "train.epochs=2", "train.threads=1", "model.units=12", "model.embedding=8")
    settings = [part for option in options for part in ("--set", option)]
    assert main(["train", str(folder / "train.txt"), "--task", "lm", "-o", str(folder / "m.gw"), *settings]) == 0
    return folder


def perplexity(gatework, folder, *options):
    done = gatework("evaluate", folder / "m.gw", folder / "test.txt", "--json", *options)
    assert done.status == 0, done.err
    return json.loads(done.out)["metrics"]["perplexity"]


def test_train_measures_dev_and_test(folder):
    info = load(folder / "m.gw").info()
    assert info["metrics"]["test"]["tokens"] == 20 * 8
    assert info["metrics"]["dev"]["n"] == 20


def test_evaluate(folder, gatework):
    plain = perplexity(gatework, folder)
    assert plain == pytest.approx(load(folder / "m.gw").info()["metrics"]["test"]["perplexity"])
    assert f"{plain:.4f}  perplexity a token" in gatework("evaluate", folder / "m.gw", folder / "test.txt").out
    cached = perplexity(gatework, folder, "--cache", "50")
    assert cached == perplexity(gatework, folder, "--cache", "50", "--cache-weight", "0.1", "--cache-flatness", "0.3")
    for name in ("weight", "flatness"):
        assert perplexity(gatework, folder, "--cache", "50", f"--cache-{name}", "0.5") not in (cached, plain)
    assert perplexity(gatework, folder, "--dynamic", "0") == pytest.approx(plain, rel=1e-5)
    assert perplexity(gatework, folder, "--dynamic", "0.5") != pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cache-weight", "0.5"], "need --cache"),
        (["--cache", "5", "--dynamic", "1"], "one after the other"),
        (["--cache", "0"], "at least 1"),
        (["--confusion", "x.png"], "for classifiers"),
        (["--errors", "x.tsv"], "for taggers"),
    ],
)
def test_options_that_do_not_go_together(folder, gatework, options, message):
    done = gatework("evaluate", folder / "m.gw", folder / "test.txt", *options)
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_check_and_init(folder, gatework):
    assert "a document a line" in gatework("check", folder / "train.txt", "--task", "lm").out
    (folder / "bad.txt").write_bytes(b"\xff\n")
    done = gatework("check", folder / "bad.txt", "--task", "lm")
    assert done.status == 2
    assert "bad.txt:1: error" in done.out
    assert 'train = "train.txt"' in gatework("init", "lm").out
