"""`LSTM`, `GRU` and `RNN` against those of `torch.nn`."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatework import nn
from gatework.core.errors import ConfigError, DataError

KINDS = {"LSTM": {}, "GRU": {}, "RNN": {}, "RNN-relu": {"nonlinearity": "relu"}, "LSTM-projection": {"proj_size": 3}}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
SHAPES = pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True},
        {"batch_first": True, "num_layers": 2},
        {"bidirectional": True, "bias": False, "batch_first": True},
    ],
    ids=["plain", "deep-bidirectional", "batch-first", "no-bias"],
)
VARIANTS = [{"variational_dropout": 0.5}, {"weight_drop": 0.5}, {"zoneout": 0.5}]
EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: next(iter(v)))


def pair(kind: str, options: dict, **variant):
    """Ours and torch's, with the same weights."""
    torch.manual_seed(3)
    name, options = kind.split("-")[0], {**KINDS[kind], **options}
    ours = getattr(nn, name)(4, 5, **options, **variant)
    theirs = getattr(torch.nn, name)(4, 5, **options)
    theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double()


def random_state(module, batch: int):
    count = module.num_layers * (2 if module.bidirectional else 1)
    h = torch.randn(count, batch, module.proj_size or module.hidden_size, dtype=torch.float64)
    if module.mode != "LSTM":
        return h
    return h, torch.randn(count, batch, module.hidden_size, dtype=torch.float64)


def flat(result) -> list[torch.Tensor]:
    y, state = result
    y = y.data if hasattr(y, "batch_sizes") else y
    return [y, *(state if isinstance(state, tuple) else [state])]


def assert_same(ours, theirs, *, atol: float = 0.0) -> None:
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


@EVERY_KIND
@SHAPES
def test_equals_torch(kind, options):
    ours, theirs = pair(kind, options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    batch = 6 if options.get("batch_first") else 3
    state = random_state(ours, batch)
    assert_same(ours(x), theirs(x))
    assert_same(ours(x, state), theirs(x, state))
    assert_same(ours(x[0]), theirs(x[0]))


@EVERY_KIND
@SHAPES
def test_equals_torch_packed(kind, options):
    ours, theirs = pair(kind, options)
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([4, 6, 1]), batch_first=True, enforce_sorted=False)
    assert_same(ours(packed, random := random_state(ours, 3)), theirs(packed, random))


@EVERY_KIND
@EVERY_VARIANT
def test_each_variant_acts_in_training_alone(kind, variant):
    ours, theirs = pair(kind, {"num_layers": 2, "bidirectional": True}, **variant)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    whole = flat(theirs(x))[0]
    once, again = flat(ours(x))[0], flat(ours(x))[0]
    assert not torch.allclose(once, whole)
    assert not torch.allclose(once, again)
    packed = pack_padded_sequence(x, torch.tensor([6, 4, 2]))
    assert not torch.allclose(ours(packed)[0].data, theirs(packed)[0].data)
    ours.eval()
    assert_same(ours(x), theirs(x))


@EVERY_VARIANT
def test_seed_decides_the_masks(variant):
    ours, _ = pair("LSTM", {}, **variant)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    torch.manual_seed(1)
    first = ours(x)
    torch.manual_seed(1)
    assert_same(ours(x), first)


@EVERY_VARIANT
def test_weights_learn_through_a_variant_and_stay_whole(variant):
    ours, _ = pair("GRU", {}, **variant)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ours(torch.randn(6, 3, 4, dtype=torch.float64))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in ours.parameters())
    torch.testing.assert_close(dict(ours.state_dict()), before, rtol=0, atol=0)


def test_bad_chance():
    with pytest.raises(ConfigError, match=r"zoneout must be in \[0, 1\), got 1\.0"):
        nn.LSTM(2, 3, zoneout=1.0)


class TestOnKernels:
    """float32, which our kernels compute, against torch's modules in float64: outputs, states and every gradient."""

    @EVERY_KIND
    @SHAPES
    @pytest.mark.parametrize("form", ["full", "lengths", "sorted", "unsorted", "alone"])
    @pytest.mark.parametrize("given", [False, True], ids=["zeros", "state"])
    def test_equals_torch_in_float64(self, kind, options, form, given):
        ours, theirs = pair(kind, options)
        ours = ours.float()
        first = ours.batch_first
        x = torch.randn(5, 7, 4) if first else torch.randn(7, 5, 4)
        lengths = torch.tensor([7, 5, 5, 3, 1] if form == "sorted" else [3, 7, 1, 5, 5])
        state = random_state(ours, 1 if form == "alone" else 5) if given else None
        got = self.run(ours, x, lengths, state, form, torch.float32)
        want = self.run(theirs, x, lengths, state, form, torch.float64)
        for place, (a, b) in enumerate(zip(got, want, strict=True)):
            atol = 64 * 2.0**-23 * max(1.0, float(b.abs().max()))
            torch.testing.assert_close(a.double(), b, rtol=0, atol=atol, msg=lambda m, p=place: f"{p}: {m}")

    def run(self, module, x, lengths, state, form, kind) -> list[torch.Tensor]:
        x = x.to(kind).requires_grad_()
        parts = [] if state is None else [p.to(kind).requires_grad_() for p in self.parts(state)]
        hx = None if state is None else (tuple(parts) if len(parts) > 1 else parts[0])
        call, first = x, module.batch_first
        if form == "alone":
            call = x[0] if first else x[:, 0]
            hx = None if hx is None else tuple(p[:, 0] for p in parts) if len(parts) > 1 else parts[0][:, 0]
        elif form != "full" and not (form == "lengths" and kind == torch.float32):
            call = pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=form == "sorted")
        y, last = module(call, hx, **({"lengths": lengths} if call is x and form == "lengths" else {}))
        if not isinstance(y, torch.Tensor):
            y = pad_packed_sequence(y, batch_first=first)[0]
        last = self.parts(last)
        torch.manual_seed(8)
        loss = sum((out * torch.randn(out.shape, dtype=torch.float64).to(kind)).sum() for out in (y, *last))
        weights = list(module.parameters())
        return [t.detach() for t in (y, *last, *torch.autograd.grad(loss, [x, *parts, *weights]))]

    def parts(self, state) -> list[torch.Tensor]:
        return list(state) if isinstance(state, tuple) else [state]

    def test_computed_by_the_kernels(self):
        module = nn.LSTM(4, 5, num_layers=2, bidirectional=True)
        packed = pack_padded_sequence(torch.randn(6, 3, 4), torch.tensor([4, 6, 1]), enforce_sorted=False)
        assert "Recurrent" in module(packed)[0].data.grad_fn.name()
        assert "Recurrent" in module(torch.randn(6, 3, 4))[0].grad_fn.name()

    def test_without_the_extension_the_definition_computes(self, monkeypatch):
        module, x = nn.LSTM(4, 5, bidirectional=True, zoneout=0.1).eval(), torch.randn(6, 3, 4)
        want = module(x, lengths=[2, 6, 4])
        monkeypatch.setenv("GATEWORK_LEVEL", "numpy")
        torch.testing.assert_close(module(x, lengths=[2, 6, 4]), want)
        module.train()(x)[0].sum().backward()

    def test_nothing_is_read_past_a_length_and_zero_comes_out(self):
        module = nn.GRU(4, 5, bidirectional=True, batch_first=True)
        x, lengths = torch.randn(3, 6, 4), [4, 6, 1]
        dirty = x.clone()
        for row, length in zip(dirty, lengths, strict=True):
            row[length:] = torch.nan
        y, h = module(dirty, lengths=lengths)
        want_y, want_h = module(x, lengths=torch.tensor(lengths, dtype=torch.int32))
        torch.testing.assert_close((y, h), (want_y, want_h), rtol=0, atol=0)
        assert not y[0, 4:].any()
        assert not y[2, 1:].any()

    @pytest.mark.parametrize("lengths", [[0, 6, 1], [7, 6, 1], [6, 6]])
    def test_bad_lengths(self, lengths):
        with pytest.raises(DataError, match="lengths must be 3 lengths from 1 to 6"):
            nn.LSTM(4, 5)(torch.randn(6, 3, 4), lengths=lengths)

    def test_lengths_need_a_padded_batch(self):
        module = nn.LSTM(4, 5)
        with pytest.raises(DataError, match="Cut the sequence"):
            module(torch.randn(6, 4), lengths=[6])
        with pytest.raises(DataError, match="carries its own lengths"):
            module(pack_padded_sequence(torch.randn(6, 1, 4), [6]), lengths=[6])

    def test_dropout_between_layers(self):
        module = nn.LSTM(4, 50, num_layers=2, dropout=0.5)
        x = torch.randn(6, 3, 4)
        first, second = module(x)[0], module(x)[0]
        assert not torch.equal(first, second)
        module.eval()
        torch.testing.assert_close(module(x)[0], module(x)[0], rtol=0, atol=0)


class TestModuleMachinery:
    """What programs do with a `torch.nn.LSTM` beside calling it."""

    @EVERY_KIND
    def test_state_dict_both_ways(self, kind):
        ours, theirs = pair(kind, {"num_layers": 2, "bidirectional": True})
        ours.load_state_dict(theirs.state_dict())
        theirs.load_state_dict(ours.state_dict())
        assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
        assert repr(ours) == repr(theirs)
        assert [[w.shape for w in layer] for layer in ours.all_weights] == [
            [w.shape for w in layer] for layer in theirs.all_weights
        ]

    @pytest.mark.parametrize("way", ["deepcopy", "pickle", "save"])
    def test_copies(self, way):
        module = nn.LSTM(4, 5, num_layers=2, zoneout=0.1)
        if way == "save":
            file = io.BytesIO()
            torch.save(module, file)
            file.seek(0)
            copied = torch.load(file, weights_only=False)
        else:
            copied = copy.deepcopy(module) if way == "deepcopy" else pickle.loads(pickle.dumps(module))
        x = torch.randn(6, 3, 4)
        torch.testing.assert_close(copied.eval()(x), module.eval()(x), rtol=0, atol=0)
        with torch.no_grad():
            copied.weight_hh_l0.zero_()
        assert not torch.equal(copied(x)[0], module(x)[0])

    def test_changes_of_dtype_and_of_weights_are_seen(self):
        module = nn.LSTM(4, 5)
        x = torch.randn(6, 3, 4)
        y, _ = module(x)
        assert module.double()(x.double())[0].dtype == torch.float64
        assert module.to(torch.bfloat16)(x.bfloat16())[0].dtype == torch.bfloat16
        module.float()
        with pytest.raises(ValueError, match="does not match weight dtype"):
            module(x.double())
        module.weight_ih_l0 = torch.nn.Parameter(torch.zeros(20, 4))
        again, _ = module(x)
        assert not torch.allclose(again, y)
        torch.testing.assert_close(again[:, 0], again[:, 1])

    def test_functional_call_and_parametrisation(self):
        module = nn.GRU(4, 5)
        x = torch.randn(6, 3, 4)
        zeros = {name: torch.zeros_like(weight) for name, weight in module.named_parameters()}
        assert not torch.func.functional_call(module, zeros, (x,))[0].any()
        assert module(x)[0].any()
        want = module(x)[0]
        torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
        torch.testing.assert_close(module(x)[0], want)
        module(x)[0].sum().backward()
        assert module.parametrizations.weight_hh_l0.original0.grad is not None

    def test_frozen_weights_take_no_gradient(self):
        module = nn.LSTM(4, 5)
        module.weight_hh_l0.requires_grad_(False)
        x = torch.randn(6, 3, 4, requires_grad=True)
        module(x)[0].sum().backward()
        assert module.weight_hh_l0.grad is None
        assert x.grad is not None

    def test_meta_device_and_lazy_materialisation(self):
        module = nn.LSTM(4, 5, device="meta")
        assert module.weight_ih_l0.is_meta
        module = module.to_empty(device="cpu")
        module.reset_parameters()
        assert module(torch.randn(6, 3, 4))[0].isfinite().all()

    def test_hooks_see_inputs_and_outputs(self):
        module, seen = nn.LSTM(4, 5), []
        module.register_forward_hook(lambda _, inputs, outputs: seen.append((inputs, outputs)))
        module(x := torch.randn(6, 3, 4))
        assert seen[0][0][0] is x

    @pytest.mark.parametrize(
        ("shape", "state", "error", "message"),
        [
            ((6,), None, ValueError, "2D or 3D"),
            ((6, 3, 5), None, RuntimeError, "must be equal to input_size"),
            ((6, 3, 4), (1, 2, 5), RuntimeError, "Expected hidden size"),
            ((6, 3, 4), (2, 5), RuntimeError, "should also be 3-D"),
            ((6, 4), (1, 3, 5), RuntimeError, "should also be 2-D"),
        ],
    )
    def test_errors_are_those_of_torch(self, shape, state, error, message):
        x, hx = torch.randn(shape), None if state is None else torch.randn(state)
        for module in (nn.GRU(4, 5), torch.nn.GRU(4, 5)):
            with pytest.raises(error, match=message):
                module(x, hx)

    def test_arguments_are_those_of_torch(self):
        assert nn.RNN(4, 5, 1, "relu").mode == torch.nn.RNN(4, 5, 1, "relu").mode
        for package in (nn, torch.nn):
            with pytest.raises(ValueError, match="Unknown nonlinearity"):
                package.RNN(4, 5, nonlinearity="sine")
            with pytest.raises(ValueError, match="proj_size"):
                package.GRU(4, 5, proj_size=2)
            with pytest.warns(UserWarning, match="dropout option"):
                package.LSTM(4, 5, dropout=0.5)


class TestVariantsOnKernels:
    """The regularisers in float32 equal the definition in float64 under the same masks: the same seed draws them."""

    @EVERY_KIND
    @pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
    def test_every_variant_at_once(self, kind, packed):
        variant = {"variational_dropout": 0.3, "weight_drop": 0.3, "zoneout": 0.2}
        exact, _ = pair(kind, {"num_layers": 2, "bidirectional": True}, **variant)
        ours = copy.deepcopy(exact).float()
        x, lengths = torch.randn(6, 3, 4), torch.tensor([4, 6, 1])
        results = []
        for module, kind_of in ((ours, torch.float32), (exact, torch.float64)):
            torch.manual_seed(11)
            inputs = x.to(kind_of)
            packed_inputs = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
            out = module(packed_inputs) if packed else module(inputs, lengths=lengths)
            sum(part.square().sum() for part in flat(out)).backward()
            results.append([*flat(out), *(p.grad for p in module.parameters())])
        for a, b in zip(*results, strict=True):
            atol = 64 * 2.0**-23 * max(1.0, float(b.detach().abs().max()))
            torch.testing.assert_close(a.double(), b, rtol=0, atol=atol)
