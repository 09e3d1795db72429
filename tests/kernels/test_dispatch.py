"""Choosing the level, and living without the extension."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.errors import ConfigError
from gatework.kernels import dispatch
from oracles.cases import random_case


@pytest.fixture
def no_extension(monkeypatch):
    monkeypatch.setattr(dispatch, "native", None)
    monkeypatch.setattr(dispatch, "_warned", False)
    monkeypatch.delenv("GATEWORK_LEVEL", raising=False)


def test_levels_run_from_numpy_upwards():
    names = ["numpy", "portable", "simd128", "avx2", "avx512", "avx512bf16"]
    levels = kernels.levels()
    assert levels == [name for name in names if name in levels]
    assert ("portable" in levels) == kernels.available()


@pytest.mark.parametrize("level", kernels.levels())
def test_environment_forces_a_level(level, monkeypatch):
    monkeypatch.setenv("GATEWORK_LEVEL", level)
    assert kernels.level() == level
    assert kernels.multiplies_bfloat16() == (level == "avx512bf16")
    case = random_case("lstm", np.random.default_rng(1), 2, 2, 2, 2)
    assert kernels.pack("lstm", case.params).level == level


def test_environment_with_an_unknown_level_is_an_error(monkeypatch):
    monkeypatch.setenv("GATEWORK_LEVEL", "avx1024")
    with pytest.raises(ConfigError, match=r"GATEWORK_LEVEL 'avx1024' is not available here\. Known: "):
        kernels.level()
    with pytest.raises(ConfigError, match="level 'sse9' is not available"):
        kernels.pack("lstm", {}, level="sse9")


def test_the_fastest_is_the_default(monkeypatch):
    monkeypatch.delenv("GATEWORK_LEVEL", raising=False)
    if kernels.available():
        assert kernels.level() == kernels.levels()[-1]


@pytest.mark.skipif(not kernels.available(), reason="built without the extension")
@pytest.mark.parametrize("name", list(CELLS))
def test_every_cell_has_a_kernel(name):
    case = random_case(name, np.random.default_rng(1), 2, 2, 2, 3)
    assert kernels.pack(name, case.params).level == kernels.level() != "numpy"


def test_without_the_extension_it_warns_once_and_answers(no_extension):
    case = random_case("lstm", np.random.default_rng(1), 4, 3, 2, 5)
    assert not kernels.available()
    assert kernels.levels() == ["numpy"]
    with pytest.warns(RuntimeWarning, match="without its compiled extension") as seen:
        y, state = kernels.sequence("lstm", case.x_TBI, case.lengths, case.params)
    assert len(seen) == 1
    kernels.sequence("lstm", case.x_TBI, case.lengths, case.params)  # a second warning would be an error
    assert y.shape == (4, 3, 5)
    assert y.dtype == np.float32
    assert isinstance(state, CELLS["lstm"].State)


def test_asking_for_numpy_does_not_warn(no_extension, monkeypatch):
    monkeypatch.setenv("GATEWORK_LEVEL", "numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.level() == "numpy"


def test_imports_neither_torch_nor_pydantic():
    code = "import sys, gatework.kernels; assert not {'torch', 'pydantic', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
