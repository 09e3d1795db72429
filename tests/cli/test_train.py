"""`gatework train`: recipe or data in, one file and an honest report out."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import gatework as package
from cli.reviews import TINY_SETTINGS, write_reviews

RUN = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())", "train"]


def test_data_alone(gatework, reviews, tmp_path):
    out = tmp_path / "m.gw"
    done = gatework("train", reviews / "train.tsv", "-o", out, "--json", "--seed", "3", *TINY_SETTINGS)
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert result["task"] == "classify"
    assert result["bundle"] == {"path": str(out), "bytes": out.stat().st_size}
    assert set(result["metrics"]) == {"dev", "test"}
    assert result["metrics"]["test"]["accuracy"] > 0.9
    assert 0 < result["seconds"]["train"] <= result["seconds"]["total"]
    assert result["seed"] == 3
    assert result["version"] == package.__version__
    for said in ("dev.tsv", "test.tsv", "tsv"):
        assert said in done.err


def test_the_score_is_that_of_the_file(gatework, reviews, tmp_path):
    out = tmp_path / "m.gw"
    trained = json.loads(gatework("train", reviews, "-o", out, "--json", *TINY_SETTINGS).out)
    measured = json.loads(gatework("evaluate", out, reviews / "test.tsv", "--json").out)
    assert trained["metrics"]["test"]["accuracy"] == measured["metrics"]["accuracy"]


def test_a_recipe(gatework, reviews, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'[data]\ntrain = "{reviews}/train.tsv"\ntest = "{reviews}/test.tsv"\n[input]\nngrams = 0\nmin_count = 1\n'
        "[model]\nembedding = 8\nunits = 8\n[train]\nepochs = 1\nthreads = 1\n"
    )
    done = gatework("train", recipe, "-o", tmp_path / "m.gw")
    assert done.status == 0, done.err
    assert "test:" in done.out
    assert f"{tmp_path / 'm.gw'}: " in done.lines[-1]


def test_the_output_is_named_after_the_data(gatework, reviews, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gatework("train", reviews / "train.tsv", *TINY_SETTINGS).status == 0
    assert (tmp_path / f"{reviews.name}.gw").is_file()


def test_same_seed_same_bits(gatework, reviews, tmp_path):
    for name in ("a.gw", "b.gw"):
        assert gatework("train", reviews / "train.tsv", "-o", tmp_path / name, *TINY_SETTINGS).status == 0
    a, b = (package.load(tmp_path / name).logits(["great film", "awful 电影", "x"]) for name in ("a.gw", "b.gw"))
    assert (a == b).all()


def test_max_size(gatework, reviews, tmp_path):
    out = tmp_path / "m.gw"
    done = gatework("train", reviews / "train.tsv", "-o", out, "--max-size", "60kB", "--set", "train.epochs=1")
    assert done.status == 0, done.err
    assert out.stat().st_size <= 60_000


def test_time_budget(gatework, reviews, tmp_path):
    start = time.monotonic()
    done = gatework(
        "train", reviews, "-o", tmp_path / "m.gw", "--time-budget", "5s", "--set", "train.epochs=100000",
        "--set", "train.patience=100000", "--set", "train.threads=1",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert time.monotonic() - start < 8


BAD = [
    ("", r"d\.tsv.*(empty|no examples)"),
    ("".join(f"a\ttext number {i}\n" for i in range(40)), r"d\.tsv.*(one|same|only).*'a'"),
    ("".join(f"{'ab'[i % 2]}\ttext {i}\n" for i in range(20)) + "no tab here\n", r"d\.tsv:21"),
    (b"a\tx\nb\t\xff\xfe\n" * 10, r"d\.tsv:2"),
]


@pytest.mark.parametrize(("data", "message"), BAD)
def test_bad_data_names_the_place_before_training(gatework, tmp_path, data, message):
    import re

    path = tmp_path / "d.tsv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    done = gatework("train", path, "-o", tmp_path / "m.gw", "--set", "data.format=tsv", "--set", "data.header=false")
    assert done.status == 2
    assert re.search(message, done.err.rstrip("\n").split("\n")[-1]), done.err
    assert not (tmp_path / "m.gw").exists()


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a child")
def test_ctrl_c_keeps_a_checkpoint_and_resume_ends_with_the_same_model(gatework, tmp_path):
    write_reviews(tmp_path / "train.tsv", 600, 9)
    settings = [*TINY_SETTINGS, "--set", "train.epochs=12", "--set", "train.patience=12"]
    whole, cut = tmp_path / "whole.gw", tmp_path / "cut.gw"
    train = [str(tmp_path / "train.tsv"), *settings, "-o"]
    assert gatework("train", *train, whole).status == 0
    with subprocess.Popen([*RUN, *train, str(cut)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        while running.poll() is None and not any((tmp_path / "cut.run").glob("checkpoints/*")):
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        err = running.communicate(timeout=60)[1].decode()
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume" in err.rstrip("\n").split("\n")[-1]
    assert not cut.exists()
    assert gatework("train", "--resume", tmp_path / "cut.run").status == 0
    a, b = (package.load(path).logits(["great film", "awful 电影", "x"]) for path in (whole, cut))
    assert (a == b).all()
