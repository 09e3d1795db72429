"""The number of passes chosen by the amount of text."""

from __future__ import annotations

import pytest

from gatework.core.recipe import epochs_for


@pytest.mark.parametrize(("tokens", "epochs"), [(0, 12), (50_000, 12), (400_000, 6), (1_200_000, 4), (10**9, 3)])
def test_falls_with_the_cube_root(tokens, epochs):
    assert epochs_for(tokens) == epochs
