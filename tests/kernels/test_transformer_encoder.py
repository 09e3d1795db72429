"""The memory of sources by a transformer: compiled against the definition, in every precision."""

import numpy as np
import pytest

from gatework import kernels
from gatework.kernels import transformer
from gatework.kernels.transformer import Affine, Encoder, Layer, encode

EPS32 = np.finfo(np.float32).eps
needs_extension = pytest.mark.skipif(kernels.level() == "numpy", reason="there is no compiled encoder")


def network(units, heads, inner, layers, seed=0):
    """Layers and the last norm; weights with rows of norm about 1, so that nothing grows."""
    rng = np.random.default_rng(seed)

    def affine(rows, width):
        return Affine(
            rng.normal(0, width**-0.5, (rows, width)).astype(np.float32), rng.normal(0, 0.3, rows).astype(np.float32)
        )

    def norm():
        return Affine(rng.normal(1, 0.3, units).astype(np.float32), rng.normal(0, 0.3, units).astype(np.float32))

    def layer():
        parts = norm(), affine(3 * units, units), affine(units, units), None, None, None
        return Layer(*parts, norm(), affine(inner, units), affine(units, inner))

    return [layer() for _ in range(layers)], norm(), heads


def rows(units, lengths, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (len(lengths), max(lengths), units)).astype(np.float32), np.array(lengths)


@needs_extension
@pytest.mark.parametrize("lengths", [[1], [7, 3, 1, 12], [300, 2], [5] * 40])
@pytest.mark.parametrize("sizes", [(8, 2, 11, 2), (6, 3, 5, 1), (48, 4, 70, 3)])
def test_as_the_definition_says(sizes, lengths):
    layers, last, heads = network(*sizes)
    x_NTd, lengths_N = rows(sizes[0], lengths)
    want = encode(layers, last, x_NTd, lengths_N, heads)
    have = Encoder(layers, last, heads=heads)(x_NTd, lengths_N)
    for n, length in enumerate(lengths):
        np.testing.assert_allclose(have[n, :length], want[n, :length], atol=60 * EPS32 * sizes[0] ** 0.5)
        assert not have[n, length:].any()


@needs_extension
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_neighbours_and_threads_change_no_bit(precision):
    layers, last, heads = network(16, 2, 24, 2)
    x_NTd, lengths_N = rows(16, [9, 1, 70, 30, 30, 2])
    encoder = Encoder(layers, last, heads=heads, precision=precision)
    together, before = encoder(x_NTd, lengths_N), kernels.threads()
    try:
        kernels.set_threads(3)
        np.testing.assert_array_equal(encoder(x_NTd, lengths_N), together)
    finally:
        kernels.set_threads(before)
    for n, length in enumerate(lengths_N.tolist()):
        alone = encoder(x_NTd[n : n + 1, :length], lengths_N[n : n + 1])
        np.testing.assert_array_equal(alone[0], together[n, :length])


@needs_extension
@pytest.mark.parametrize(("precision", "most"), [("bfloat16", 0.05), ("int8", 0.1)])
def test_smaller_numbers_are_near(precision, most):
    layers, last, heads = network(32, 4, 64, 2)
    x_NTd, lengths_N = rows(32, [20, 11])
    want = encode(layers, last, x_NTd, lengths_N, heads)
    have = Encoder(layers, last, heads=heads, precision=precision)(x_NTd, lengths_N)
    error = np.concatenate([have[n, :length] - want[n, :length] for n, length in enumerate(lengths_N)])
    assert 1e-5 < np.sqrt((error**2).mean()) < most


def test_without_the_extension_the_definition_answers(monkeypatch):
    layers, last, heads = network(8, 2, 11, 2)
    x_NTd, lengths_N = rows(8, [4, 2])
    monkeypatch.setattr(transformer.dispatch, "level", lambda: transformer.dispatch.NUMPY)
    have = Encoder(layers, last, heads=heads)(x_NTd, lengths_N)
    np.testing.assert_array_equal(have, encode(layers, last, x_NTd, lengths_N, heads))


@needs_extension
def test_the_compiled_encoder_refuses_what_does_not_fit():
    layers, last, heads = network(8, 2, 11, 2)
    native = Encoder(layers, last, heads=heads)._native
    x, y, offsets = np.zeros((5, 8), np.float32), np.zeros((5, 8), np.float32), np.array([0, 2, 5])
    native.run(x, offsets, y)
    assert np.isfinite(y).all()
    odd = [(x[:4], offsets, y), (x, offsets, y[:, :7]), (x.astype(np.float64), offsets, y)]
    odd += [(x, np.array(starts, dtype=np.int64), y) for starts in ([], [1, 5], [0, 2, 2, 5], [0, 6], [0, -1, 5])]
    odd.append((x, offsets.astype(np.int32), y))
    for wrong in odd:
        with pytest.raises(ValueError, match=r"array|offset|source"):
            native.run(*wrong)
    y.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        native.run(x, offsets, y)
