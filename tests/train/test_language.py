"""The stage of language models: what each step reads, that its state goes on, that a resumed run is the same run."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from gatework.core.errors import ConfigError, DataError
from gatework.core.recipe import Recipe
from gatework.runtime import load
from gatework.tasks import TASKS
from gatework.train import fit, train
from gatework.train.fitting import build_network, learning_stage
from gatework.train.language import END, document_windows, stream_windows
from gatework.train.parallel import Group

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree"]


def lines(count, seed=1):
    rng = random.Random(seed)
    return "\n".join(" ".join(rng.choices(WORDS, k=rng.randint(0, 9))) for _ in range(count))


def recipe(folder: Path, /, **sections):
    for part, count, seed in (("train", 60, 1), ("dev", 30, 2)):
        (folder / f"{part}.txt").write_text(lines(count, seed))
    values = {
        "task": "lm",
        "data": {"train": str(folder / "train.txt"), "dev": str(folder / "dev.txt"), "documents": "line"},
        "input": {"unit": "word", "min_count": 1},
        "model": {"embedding": 8, "units": 10, "dropout": 0.0},
        "train": {"epochs": 2, "threads": 1, "streams": 3, "bptt": 7},
    }
    for name, options in sections.items():
        values[name] = {**values[name], **options}
    return Recipe.model_validate(values).filled(TASKS["lm"].defaults)


def stage_of(folder, **sections):
    task = TASKS["lm"]
    (folder / "prepared").mkdir()
    prepared = task.prepare(recipe(folder, **sections), folder / "prepared")
    return learning_stage(task, prepared, build_network(prepared))


def walked(stage, direction):
    """For every row of an epoch its tokens: (read, wanted) in order, joined over the steps; and the losses' nats."""
    rows, nats = [], []
    for batch in stage.batches(0):
        windows = stage._windows
        if windows.fresh_W[batch[0]]:
            rows += [[] for _ in batch]
            first = len(rows) - len(batch)
        for place, index in enumerate(batch.tolist()):
            read, wanted = stage._pairs(direction, np.array([index]), int(windows.length_W[index]))
            rows[first + place] += list(zip(read[0].tolist(), wanted[0].tolist(), strict=True))
        typical = windows.length_W.sum() / len(windows.steps)
        with torch.no_grad():
            nats.append(float(stage.loss(batch).value) * typical * len(stage.directions))
    return rows, nats


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("documents", ["line", "file"])
def test_streams_cover_the_text_as_a_ring(tmp_path, direction, documents):
    stage = stage_of(tmp_path, data={"documents": documents}, model={"directions": direction})
    rows, _ = walked(stage, direction)
    ids = stage.ids.tolist()
    assert len(rows) == 3
    order = ids if direction == "forward" else ids[::-1]
    before = {place: order[place - 1] for place in range(len(order))}
    if documents == "file":
        before[0] = END
    wanted = [token for row in rows for _, token in row]
    assert len(wanted) == len(ids) // 3 * 3
    ring = order + order
    assert any(ring[place : place + len(wanted)] == wanted for place in range(len(order)))
    follows = Counter((before[place], order[place]) for place in range(len(order)))
    assert not Counter(pair for row in rows for pair in row) - follows


def test_epochs_begin_elsewhere_and_windows_never_pass_bptt():
    first, second = (stream_windows(100, 3, 7, np.random.default_rng(seed)) for seed in (1, 2))
    assert first.forward_W[0] != second.forward_W[0]
    assert set(first.length_W) == {7, 33 % 7}
    assert [len(step) for step in first.steps] == [3] * 5


@pytest.mark.parametrize(("count", "streams"), [(1, 32), (5, 32), (31, 2)])
def test_short_texts_have_fewer_streams(count, streams):
    windows = stream_windows(count, streams, 64, np.random.default_rng(0))
    assert windows.length_W.sum() == count // min(streams, count) * min(streams, count)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_documents_alone_are_read_whole_each_from_its_start(tmp_path, direction):
    stage = stage_of(tmp_path, data={"carry": False}, model={"directions": direction}, train={"bptt": 3})
    rows, _ = walked(stage, direction)
    have = sorted(tuple(token for _, token in row) for row in rows)
    codec = stage.prepared.codec
    texts = [codec.encode(line.strip()).tolist() for line in (tmp_path / "train.txt").read_text().split("\n")]
    assert have == sorted((*(text if direction == "forward" else text[::-1]), END) for text in texts)
    for row in rows:
        assert [read for read, _ in row] == [END, *(token for _, token in row[:-1])]


def test_rows_of_a_step_end_from_the_last():
    windows = document_windows(np.array([0, 3, 20, 21, 40]), 4, 5, np.random.default_rng(0))
    for step in windows.steps:
        assert (np.diff(windows.length_W[step]) <= 0).all()
        assert len(set(windows.fresh_W[step])) == 1


def test_documents_of_like_length_fill_the_steps():
    lengths = np.random.default_rng(1).integers(1, 200, 400)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    windows = document_windows(starts, 4, 50, np.random.default_rng(0))
    assert windows.length_W.sum() == lengths.sum()
    sizes = np.array([windows.length_W[step].sum() for step in windows.steps])
    assert sizes.max() <= 250
    assert sizes.mean() > 120
    other = document_windows(starts, 4, 50, np.random.default_rng(1))
    assert windows.forward_W[:20].tolist() != other.forward_W[:20].tolist()


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize("directions", ["forward", "both"])
def test_the_state_goes_on_from_step_to_step(tmp_path, carry, directions):
    """With fixed weights an epoch's loss is that of every row read in one go."""
    stage = stage_of(tmp_path, data={"carry": carry}, model={"directions": directions, "layers": 2})
    want = 0.0
    for direction in stage.directions:
        rows, nats = walked(stage, direction)
        for row in rows:
            read, wanted = (torch.tensor([list(part)]) for part in zip(*row, strict=True))
            want += float(stage.network.eval().nats(read, wanted, direction)[0].double().sum())
        stage.network.train()
    assert sum(nats) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("carry", [True, False])
def test_dev_nats_are_those_of_the_runtime(tmp_path, carry, direction):
    from gatework.export import export_bundle

    stage = stage_of(tmp_path, data={"carry": carry}, model={"directions": direction})
    stage.network.eval()
    metrics = stage.evaluate(Group())
    prepared = stage.prepared
    export_bundle(
        tmp_path / "m.gw", prepared, stage.network.to_weights(), prepared.settings.to_dict(), {}, storage="fp32"
    )
    model = load(tmp_path / "m.gw")
    got = TASKS["lm"].evaluate(model, prepared.examples("dev"))
    assert {name: got[name] for name in metrics} == pytest.approx(metrics, rel=1e-6)


def test_dev_streams_are_near_one_reading(tmp_path, monkeypatch):
    from gatework.train import language

    stage = stage_of(tmp_path)
    stage.network.eval()
    one = stage.evaluate(Group())["perplexity"]
    monkeypatch.setattr(language, "WARM", 6)
    many = stage.evaluate(Group())["perplexity"]
    assert many != one
    assert many == pytest.approx(one, rel=1e-3)


KINDS = {
    "carried": {},
    "alone": {"data": {"carry": False}, "train": {"bptt": 4}},
    "sampled softmax": {"model": {"softmax": "sampled", "negatives": 3}, "train": {"streams": 1, "bptt": 2}},
    "bf16": {"train": {"precision": "bf16"}, "model": {"layers": 2, "dropout": 0.2}},
    "both directions": {"model": {"directions": "both", "dropout": 0.2, "weight_drop": 0.2}},
    "NT-ASGD": {"train": {"optimizer": "sgd", "averaging": "triggered", "average_after": 1, "learning_rate": 5.0}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_the_bundle_has_the_same_bytes(tmp_path, kind, monkeypatch):
    from gatework.train import checkpoint, fitting, language

    monkeypatch.setattr(fitting, "multiplies_bfloat16", lambda: True)
    sections = {name: dict(options) for name, options in KINDS[kind].items()}
    sections["train"] = {"checkpoint_seconds": 1e-6, "epochs": 4, **sections.get("train", {})}
    wanted = recipe(tmp_path, **sections)
    (tmp_path / "whole").mkdir()
    train(wanted, tmp_path / "whole" / "m.gw", command="gatework train r.toml")
    monkeypatch.setattr(checkpoint, "OVERHEAD", 1e9)
    rng, left = random.Random(kind), 0

    class Stop(Exception):
        pass

    original = language.Language.loss

    def loss(self, indices):
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        return original(self, indices)

    monkeypatch.setattr(language.Language, "loss", loss)
    (tmp_path / "cut").mkdir()
    out, stops = tmp_path / "cut" / "m.gw", 0
    while not out.exists():
        left = rng.randint(12, 21)
        try:
            train(wanted, out, resume=out.with_suffix(".run") if stops else None, command="gatework train r.toml")
        except Stop:
            stops += 1
    assert stops >= 2
    assert out.read_bytes() == (tmp_path / "whole" / "m.gw").read_bytes()


def test_triggered_averages_begin_when_dev_stops_improving(tmp_path):
    sections = {"train": {"optimizer": "sgd", "averaging": "triggered", "average_after": 1, "learning_rate": 1e-9}}
    scores = iter([5.0, 6.0, 4.0])
    wanted = recipe(tmp_path, **sections).replace(train={"epochs": 3})
    begun = []
    with pytest.MonkeyPatch.context() as patch:
        from gatework.train.averaging import Average
        from gatework.train.language import Language

        original = Average.begin
        patch.setattr(Average, "begin", lambda self: begun.append(original(self)) or begun[-1])
        patch.setattr(Language, "evaluate", lambda self, group: {"perplexity": next(scores)})
        patch.setattr(TASKS["lm"], "score", lambda prepared, outputs: {}, raising=False)
        result = fit(wanted, run_folder=tmp_path / "run")
    assert begun == [True]
    assert result.best_epoch == 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    train(recipe(folder), folder / "m.gw")
    return folder / "m.gw"


def test_dynamic_evaluation_learns_from_what_it_reads(bundle):
    from gatework.text.documents import Piece
    from gatework.train.dynamic import evaluate_dynamic

    model, task = load(bundle), TASKS["lm"]
    pieces = [Piece("cat cat mat tree", True, line) for line in range(1, 60)]
    plain = task.evaluate(model, pieces)
    assert evaluate_dynamic(model, pieces, rate=0.0) == pytest.approx(plain, rel=1e-5)
    assert evaluate_dynamic(model, pieces, rate=0.3)["perplexity"] < 0.6 * plain["perplexity"]
    held = evaluate_dynamic(model, pieces, rate=0.3, decay=1.0)
    assert held["perplexity"] == pytest.approx(plain["perplexity"], rel=1e-5)


def test_dynamic_evaluation_forgets_between_documents_read_alone(tmp_path):
    from gatework.text.documents import Piece
    from gatework.train.dynamic import evaluate_dynamic

    train(recipe(tmp_path, data={"carry": False}), tmp_path / "m.gw")
    model = load(tmp_path / "m.gw")
    one = evaluate_dynamic(model, [Piece("cat cat mat tree", True, 1)], rate=0.3, span=2)
    many = evaluate_dynamic(model, [Piece("cat cat mat tree", True, 1)] * 9, rate=0.3, span=2)
    assert many["perplexity"] == pytest.approx(one["perplexity"], rel=1e-5)
    with pytest.raises(ConfigError, match="dynamic"):
        evaluate_dynamic(model, [], rate=-1.0)
    with pytest.raises(DataError, match="no text"):
        evaluate_dynamic(model, [], rate=1.0)


@pytest.mark.parametrize("text", ["aaaaaaaaaaaaaaaaaaaa", "ab", "a\n" * 3])
def test_texts_of_one_token_or_shorter_than_a_window(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    values = {
        "task": "lm",
        "data": {"train": str(tmp_path / "a.txt"), "dev": str(tmp_path / "a.txt"), "documents": "file"},
        "input": {"min_count": 1},
        "model": {"embedding": 4, "units": 4},
        "train": {"epochs": 2, "threads": 1},
    }
    result = train(Recipe.model_validate(values), tmp_path / "m.gw")
    assert result.metrics["dev"]["tokens"] == len(text)
    assert 1.0 <= result.metrics["dev"]["perplexity"] < 10


def test_the_rate_finder_sweeps_a_language_model(tmp_path):
    from gatework.train import find_learning_rate

    found = find_learning_rate(recipe(tmp_path), lowest=1e-4, highest=10.0, steps=40)
    assert 1e-4 < found.suggestion < 10.0
