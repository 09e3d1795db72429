"""A small trained model for every test of a command, and a way to run commands in this process."""

import io
import sys
import warnings
from dataclasses import dataclass

import pytest

from cli.reviews import TINY_SETTINGS, write_reviews
from gatework.cli import main


@dataclass
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def lines(self):
        assert self.out.endswith("\n") or not self.out
        return self.out.split("\n")[:-1]


@pytest.fixture
def gatework():
    """Runs a command line in this process: `gatework("predict", model, stdin=b"...")`."""

    def run(*arguments, stdin=b""):
        streams = [io.TextIOWrapper(io.BytesIO(data), encoding="utf-8") for data in (stdin, b"", b"")]
        before = sys.stdin, sys.stdout, sys.stderr, warnings.showwarning
        sys.stdin, sys.stdout, sys.stderr = streams
        try:
            status = main([str(argument) for argument in arguments])
        finally:
            sys.stdin, sys.stdout, sys.stderr, warnings.showwarning = before
        out, err = (stream.flush() or stream.buffer.getvalue().decode() for stream in streams[1:])
        return Done(status, out, err)

    return run


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """A folder with train.tsv, dev.tsv and test.tsv. Shared: leave it as it is."""
    folder = tmp_path_factory.mktemp("reviews")
    for seed, (part, count) in enumerate({"train": 240, "dev": 60, "test": 60}.items(), start=1):
        write_reviews(folder / f"{part}.tsv", count, seed)
    return folder


@pytest.fixture(scope="session")
def model(reviews, tmp_path_factory):
    """A bundle trained on `reviews`. Shared: leave it as it is."""
    path = tmp_path_factory.mktemp("model") / "reviews.gw"
    assert main(["train", str(reviews / "train.tsv"), "-o", str(path), *TINY_SETTINGS]) == 0
    return path
