"""A tagger stopped at any step and resumed ends with the bytes of an undisturbed run."""

import random

import pytest

from gatework.core.recipe_io import build_recipe
from gatework.train import checkpoint, tagging, train


class Stop(Exception):
    pass


def write(path, count, seed):
    rng = random.Random(seed)
    names, words = ["Ann Lee", "Smith", "New York"], ["met", "the", "of", "film", "in", "a"]
    lines = []
    for _ in range(count):
        for word in rng.choices(words, k=3):
            lines.append(f"{word}\tX\tO\n")
        for place, part in enumerate(rng.choice(names).split()):
            lines.append(f"{part}\tN\t{'BI'[place > 0]}-NAME\n")
        lines.append("\n")
    path.write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"averaging": "ema"}, "input": {"lexicon": "train"}},
        {
            "data": {"also": [1]},
            "model": {"decoder": "softmax"},
            "input": {"characters": "cnn", "feature_dropout": 0.3},
        },
    ],
    ids=["crf", "softmax"],
)
def test_killed_and_resumed(tmp_path, changes, monkeypatch):
    for seed, part in enumerate(("train", "dev")):
        write(tmp_path / f"{part}.conll", 60, seed)
    sections = {
        "data": {part: str(tmp_path / f"{part}.conll") for part in ("train", "dev")},
        "input": {"min_count": 1, "ngram_min_count": 1},
        "model": {"embedding": 8, "units": 8},
        "train": {"epochs": 2, "threads": 1, "batch_tokens": 16, "checkpoint_seconds": 1e-6},
    }
    wanted = build_recipe({"task": "tag"} | {name: values | changes.get(name, {}) for name, values in sections.items()})
    (tmp_path / "whole").mkdir()
    train(wanted, tmp_path / "whole" / "m.gw", command="gatework train r.toml")
    monkeypatch.setattr(checkpoint, "OVERHEAD", 1e9)  # a checkpoint after every step
    rng, original, left = random.Random(0), tagging.Tagging.loss, 0

    def loss(self, indices):
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        return original(self, indices)

    monkeypatch.setattr(tagging.Tagging, "loss", loss)
    (tmp_path / "cut").mkdir()
    out, stops = tmp_path / "cut" / "m.gw", 0
    while not out.exists():
        left = rng.randint(4, 9)
        try:
            resume = out.with_suffix(".run") if stops else None
            command = f"gatework train {'--resume m.run' if stops else 'r.toml'}"
            train(wanted, out, resume=resume, command=command)
        except Stop:
            stops += 1
            assert not out.exists()
    assert stops >= 2
    assert out.read_bytes() == (tmp_path / "whole" / "m.gw").read_bytes()
