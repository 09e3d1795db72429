"""One text in one call, against the same network put together from whole layers."""

from __future__ import annotations

import importlib
import threading

import numpy as np
import pytest

from gatework import kernels
from gatework.cells import CELLS

LEVELS = [level for level in kernels.levels() if level != "numpy"]
pytestmark = pytest.mark.skipif(not LEVELS, reason="built without the extension")

sentence_module = importlib.import_module("gatework.kernels.sentence")


class Case:
    """A network with tables in 8 bits: E token vector, L n-gram vector, H units, C outputs."""

    def __init__(self, rng, cell, level, *, H=19, E=12, L=5, C=3, layers=2, ways=2, locals_=True, ngrams=True):
        self.rng, self.cell, self.ways, self.C, self.L = rng, CELLS[cell], ways, C, L if locals_ else 0
        projection = 16 if self.cell.projects else 0
        self.outputs = self.cell.outputs(H, projection)
        self.params, self.recurrent = [], []
        width = E + self.L
        for _ in range(layers):
            for _ in range(ways):
                params = {}
                for name, shape in self.cell.parameters(width, H, projection).items():
                    params[name] = (rng.normal(size=shape) * 0.2 + name.startswith("g")).astype(np.float32)
                r = next(name for name in params if name.startswith("r_"))
                q = rng.integers(-127, 128, size=params[r].shape).astype(np.int8)
                scales = rng.uniform(0.2, 1.0, size=len(q)).astype(np.float32) / float(127 * np.sqrt(H))
                params[r] = q.astype(np.float32) * scales[:, None]
                self.params.append(params)
                self.recurrent.append((q, scales))
            width = ways * self.outputs
        self.packs = [kernels.pack(cell, params, level=level) for params in self.params]
        self.layers = [self.packs[at : at + ways] for at in range(0, len(self.packs), ways)]
        self.tokens = self.table(50, E)
        self.locals = self.table(40, self.L) if locals_ else None
        self.ngrams = self.table(30, C) if ngrams else None
        self.head = rng.normal(size=(C, 3 * ways * self.outputs)).astype(np.float32)
        self.bias = rng.normal(size=C).astype(np.float32)

    def table(self, rows, width):
        scales = self.rng.uniform(0.5, 1, size=rows).astype(np.float32) / 127
        return self.rng.integers(-127, 128, size=(rows, width)).astype(np.int8), scales

    def make(self, wide):
        return kernels.sentence(
            self.cell.name,
            self.layers,
            self.params[: self.ways],
            tokens=self.tokens,
            locals_=self.locals,
            ngrams=self.ngrams,
            head_CP=self.head,
            bias_C=self.bias,
            pooling=("mean", "max", "last"),
            residual=True,
            recurrent=self.recurrent if wide else (),
        )

    def text(self, T, N=9):
        rng = self.rng
        local = rng.integers(0, 40, size=(T, 2)).astype(np.int32)
        return (
            rng.integers(0, 50, size=T).astype(np.int32),
            local,
            np.sort(rng.integers(0, 30, size=N)).astype(np.int32),
        )

    def want(self, tokens, local, rows):
        def read(table, ids):
            return table[0][ids].astype(np.float32) * table[1][ids][..., None]

        x = read(self.tokens, tokens)
        if self.locals is not None:
            x = np.concatenate([x, read(self.locals, local).sum(1)], axis=1)
        lengths = np.array([len(x)])
        for place, ways in enumerate(self.layers):
            ys = [
                kernels.sequence(self.cell.name, x[:, None], lengths, p, reverse=d == 1)[0] for d, p in enumerate(ways)
            ]
            y = np.concatenate(ys, axis=2)[:, 0]
            x = y + x if place else y
        ends = np.concatenate([x[-1, : self.outputs], x[0, self.outputs :]])
        out = self.head @ np.concatenate([x.mean(0), x.max(0), ends]) + self.bias
        if self.ngrams is not None and len(rows):
            out += read(self.ngrams, rows).sum(0) / np.sqrt(len(rows))
        return out

    def got(self, made, text):
        out = np.empty((1, self.C), np.float32)
        assert made.run(*text, out)
        return out[0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("H", [7, 64])
def test_as_by_layers(level, cell, H, rng, monkeypatch):
    monkeypatch.setattr(sentence_module, "WIDE_LEVELS", LEVELS)
    case = Case(rng, cell, level, H=H)
    for wide in (False, True):
        made = case.make(wide)
        for T in (1, 2, 33, 70):
            text = case.text(T, N=0 if T == 2 else 9)
            want = case.want(*text)
            np.testing.assert_allclose(case.got(made, text), want, rtol=0, atol=1e-5 * max(1.0, np.abs(want).max()))


@pytest.mark.parametrize("options", [{"ways": 1}, {"locals_": False}, {"ngrams": False}, {"layers": 1, "H": 16}])
def test_other_shapes(options, rng):
    case = Case(rng, "gru", LEVELS[-1], **options)
    made = case.make(True)
    for T in (1, 5, 40):
        text = case.text(T)
        want = case.want(*text)
        np.testing.assert_allclose(case.got(made, text), want, rtol=0, atol=1e-5 * max(1.0, np.abs(want).max()))


def test_strange_ids_are_left_to_the_caller(rng):
    case = Case(rng, "lstm", LEVELS[-1])
    made, out = case.make(True), np.full((1, 3), 7, np.float32)
    for place, values in ((0, (-1, 50)), (1, (-1, 40)), (2, (-1, 30))):
        for value in values:
            text = case.text(4)
            text[place].flat[-1] = value
            assert not made.run(*text, out)
    assert (out == 7).all()
    tokens, local, rows = case.text(4)
    for odd in ((tokens[:0], local[:0], rows), (tokens, local[:3], rows), (tokens.astype(np.int64), local, rows)):
        with pytest.raises(ValueError, match="array"):
            made.run(*odd, out)


def test_large_and_missing_numbers(rng, monkeypatch):
    """A state of any size in 24 bits, and NaN where there is one."""
    case = Case(rng, "rnn-relu", LEVELS[-1], layers=1)
    for params in case.params:
        params["b_G"][:] = 1e6
    case.packs = [kernels.pack("rnn-relu", params) for params in case.params]
    case.layers = [case.packs]
    text = case.text(6)
    want = case.want(*text)
    np.testing.assert_allclose(case.got(case.make(True), text), want, rtol=2e-5)
    for params in case.params:
        params["b_G"][3] = np.nan
    assert np.isnan(case.got(case.make(True), text)).all()


def test_many_threads(rng):
    case = Case(rng, "lstm", LEVELS[-1], H=64)
    made = case.make(True)
    texts = [case.text(int(T)) for T in rng.integers(1, 60, size=40)]
    alone = case.make(True)
    want = [case.got(alone, text) for text in texts]
    wrong = []

    def ask(order) -> None:
        for at in order:
            if not np.array_equal(case.got(made, texts[at]), want[at]):
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(rng.permutation(40),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
