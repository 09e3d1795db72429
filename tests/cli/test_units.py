"""Durations and sizes."""

import pytest

from gatework.cli.units import nbytes, seconds
from gatework.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "want"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), (" 2 M ", 120), ("1d", 86400)],
)
def test_seconds(text, want):
    assert seconds(text, option="--time-budget") == want


@pytest.mark.parametrize("text", ["", "m", "5x", "5m3", "-5m", "0", "0s", "1e3", "five minutes"])
def test_not_seconds(text):
    with pytest.raises(ConfigError, match="--time-budget"):
        seconds(text, option="--time-budget")


@pytest.mark.parametrize(
    ("text", "want"),
    [("500", 500), ("500kB", 500_000), ("1MB", 1_000_000), ("1.5MiB", 1_572_864), ("2 m", 2_000_000), ("1gb", 10**9)],
)
def test_nbytes(text, want):
    assert nbytes(text, option="--max-size") == want


@pytest.mark.parametrize("text", ["", "MB", "1TB", "-1MB", "0", "1 M B", "1i"])
def test_not_nbytes(text):
    with pytest.raises(ConfigError, match="--max-size"):
        nbytes(text, option="--max-size")
