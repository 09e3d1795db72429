"""The operator: the kernels' numbers and gradients against the definition in float64, and torch's machinery."""

from __future__ import annotations

import io
import multiprocessing
import warnings

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.library import opcheck
from torch.utils.checkpoint import checkpoint

from gatework.cells import CELLS
from gatework.core.errors import DataError
from gatework.nn import LSTM, RecurrentStack
from gatework.nn.definition import by_steps
from gatework.nn.ops import recurrent, zero_state
from gatework.nn.variants import PLAIN, Masks, draw

EVERY_CELL = pytest.mark.parametrize("name", CELLS)
EPS = 2.0**-23
T, B, I, H, P = 9, 5, 4, 7, 3


class Case:
    """Random weights, states and masks of a layer; a ragged batch, padded or packed."""

    def __init__(self, name: str, *, directions: int = 2, packed: bool = False, varied: bool = False, seed: int = 0):
        torch.manual_seed(seed)
        self.cell, self.directions = CELLS[name], directions
        projection = P if self.cell.projects else 0
        shapes = self.cell.parameters(I, H, projection)
        self.lengths = torch.tensor([9, 7, 4, 4, 1] if packed else [4, 9, 1, 7, 4])
        self.x = torch.randn(int(self.lengths.sum()), I) if packed else torch.randn(T, B, I)
        self.weights = [
            torch.randn(shape) * (0.4 if len(shape) == 2 else 0.5) + (1.0 if key.startswith("g") else 0.0)
            for _ in range(directions)
            for key, shape in shapes.items()
        ]
        outputs = self.cell.outputs(H, projection)
        widths = [outputs, H][: len(self.cell.State._fields)]
        self.state = [0.7 * torch.randn(directions, B, width) for width in widths]
        self.masks = PLAIN
        if varied:
            self.masks = draw(self.cell, self.x, B, directions, outputs, H, variational=0.4, zoneout=0.3)

    def run(self, x, weights, state, masks, *, exact: bool):
        fields = len(self.cell.Params._fields)
        params = [self.cell.Params(*weights[at : at + fields]) for at in range(0, len(weights), fields)]
        if exact:
            return by_steps(self.cell, x, self.lengths, params, state, masks)
        return recurrent(self.cell, x, self.lengths, params, state, masks)

    def everything(self, *, exact: bool) -> list[torch.Tensor]:
        """Outputs, last state and the gradients of a weighted sum of both with regard to all inputs."""
        kind = torch.float64 if exact else torch.float32
        x, *rest = (t.to(kind).requires_grad_() for t in (self.x, *self.weights, *self.state))
        weights, state = rest[: len(self.weights)], rest[len(self.weights) :]
        recurrent_DBH = self.masks.recurrent_DBH
        masks = self.masks._replace(recurrent_DBH=None if recurrent_DBH is None else recurrent_DBH.to(kind))
        y, last = self.run(x, weights, state, masks, exact=exact)
        torch.manual_seed(99)
        loss = sum((out * torch.randn(out.shape).to(kind)).sum() for out in (y, *last))
        return [y, *last, *torch.autograd.grad(loss, [x, *weights, *state])]


def assert_near(got, want, factor: float = 64.0) -> None:
    """Within `factor` float32 epsilons of the largest entry."""
    for place, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.shape == b.shape, place
        allowed = factor * EPS * max(1.0, float(b.detach().abs().max()))
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=allowed, msg=lambda m, p=place: f"{p}: {m}")


@EVERY_CELL
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("varied", [False, True], ids=["plain", "masks"])
def test_outputs_and_every_gradient_equal_the_definition(name, directions, packed, varied):
    case = Case(name, directions=directions, packed=packed, varied=varied)
    assert_near(case.everything(exact=False), case.everything(exact=True))


@EVERY_CELL
def test_operator_equals_function(name):
    """What compiled programs call is what eager ones do, to the bit."""
    case = Case(name, varied=True)
    x, *rest = (t.clone().requires_grad_() for t in (case.x, *case.weights, *case.state))
    weights, state = rest[: len(case.weights)], rest[len(case.weights) :]
    y, last, _ = torch.ops.gatework.recurrent(name, x, case.lengths, weights, state, *case.masks, True, False)
    torch.manual_seed(99)
    loss = sum((out * torch.randn(out.shape)).sum() for out in (y, *last))
    got = [y, *last, *torch.autograd.grad(loss, [x, *weights, *state])]
    torch.testing.assert_close(got, case.everything(exact=False), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm-projection"])
def test_opcheck(name):
    """torch's own check of a custom operator. Ahead-of-time tracing is left to the tests of the compiler below: run
    twice, a tape differs where nothing is written."""
    kinds = ("test_schema", "test_autograd_registration", "test_faketensor")
    case = Case(name)
    x, *rest = (t.clone().requires_grad_() for t in (case.x, *case.weights, *case.state))
    weights, state = rest[: len(case.weights)], rest[len(case.weights) :]
    arguments = (name, x, case.lengths, weights, state, None, None, None, True, False)
    assert set(opcheck(torch.ops.gatework.recurrent.default, arguments, test_utils=kinds).values()) == {"SUCCESS"}


@pytest.mark.parametrize("through", ["eager", "operator"])
def test_a_graph_can_be_walked_twice(through):
    case = Case("lstm")
    weights = [w.clone().requires_grad_() for w in case.weights]
    if through == "eager":
        y, _ = case.run(case.x, weights, case.state, PLAIN, exact=False)
    else:
        options = (None, None, None, True, False)
        y, _, _ = torch.ops.gatework.recurrent("lstm", case.x, case.lengths, weights, case.state, *options)
    loss = (y * torch.randn_like(y)).sum()
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    again = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="a second time"):
        torch.autograd.grad(loss, weights)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(reentrant):
    module = LSTM(I, H, num_layers=2)
    x = torch.randn(T, B, I, requires_grad=True)
    module(x)[0].square().sum().backward()
    want, module.weight_hh_l0.grad = module.weight_hh_l0.grad, None
    y = checkpoint(lambda t: module(t)[0], x, use_reentrant=reentrant)
    y.square().sum().backward()
    torch.testing.assert_close(module.weight_hh_l0.grad, want, rtol=0, atol=0)


@EVERY_CELL
def test_second_derivatives(name):
    """Of the norm of a gradient, as a penalty on it takes them."""
    if name == "rnn-relu":
        pytest.skip("its second derivatives are zero but for the outer function's")

    def penalty(exact: bool) -> list[torch.Tensor]:
        case = Case(name, varied=True)
        kind = torch.float64 if exact else torch.float32
        x, *weights = (t.to(kind).requires_grad_() for t in (case.x, *case.weights))
        state = [part.to(kind) for part in case.state]
        masks = case.masks._replace(recurrent_DBH=case.masks.recurrent_DBH.to(kind))
        y, _ = case.run(x, weights, state, masks, exact=exact)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return [gradient, *torch.autograd.grad(gradient.square().sum(), [x, *weights])]

    assert_near(penalty(False), penalty(True), factor=512)


def test_second_derivative_of_the_operator_is_an_error():
    case = Case("lstm")
    x = case.x.clone().requires_grad_()
    y, _, _ = torch.ops.gatework.recurrent(
        "lstm", x, case.lengths, case.weights, case.state, None, None, None, True, False
    )
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        gradient.sum().backward()


def test_no_graph_where_none_is_wanted():
    case = Case("lstm")
    y, _ = case.run(case.x, case.weights, case.state, PLAIN, exact=False)
    assert not y.requires_grad
    weights = [w.clone().requires_grad_() for w in case.weights]
    with torch.no_grad():
        assert not case.run(case.x, weights, case.state, PLAIN, exact=False)[0].requires_grad
    with torch.inference_mode():
        again, _ = case.run(case.x, weights, case.state, PLAIN, exact=False)
    torch.testing.assert_close(again.clone(), y, rtol=0, atol=0)


@pytest.mark.parametrize("axes", ["batch-first", "every-other", "expanded"])
def test_strides_of_inputs_and_gradients(axes):
    case = Case("lstm")
    views = {
        "batch-first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
        "every-other": lambda x: x.repeat_interleave(2, 2)[:, :, ::2],
        "expanded": lambda x: x[:, :1].expand(-1, B, -1),
    }
    view = views[axes]
    plain = view(case.x).contiguous()
    want, _ = case.run(plain, case.weights, case.state, PLAIN, exact=False)
    x = case.x.clone().requires_grad_()
    got, _ = case.run(view(x), case.weights, case.state, PLAIN, exact=False)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    got.sum().backward()  # whose gradient is one number, expanded
    copy = plain.clone().requires_grad_()
    ones, _ = case.run(copy, case.weights, case.state, PLAIN, exact=False)
    ones.backward(torch.ones_like(ones))
    if axes == "batch-first":
        torch.testing.assert_close(x.grad, copy.grad, rtol=0, atol=0)


def test_one_input_and_one_unit_of_odd_strides():
    cell = CELLS["gru"]
    params = [cell.Params(torch.randn(3, 1), torch.randn(3, 1), torch.randn(3), torch.randn(3))]
    x = torch.randn(6, 4, 5)[:, :, :1]
    got, _ = recurrent(cell, x, None, params)
    want, _ = recurrent(cell, x.contiguous().view(6, 4, 1), None, params)
    torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("lengths", [[10, 1, 1, 1, 1], [-1, 1, 1, 1, 1], [1, 2, 3]])
def test_wrong_lengths_are_an_error(lengths):
    case = Case("lstm")
    case.lengths = torch.tensor(lengths)
    with pytest.raises(DataError):
        case.run(case.x, case.weights, None, PLAIN, exact=False)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_bfloat16_input_and_autocast(name):
    """Products in bfloat16: near the float32 result, gradients in the weights' own dtype."""
    case = Case(name)
    want = case.run(case.x, case.weights, case.state, PLAIN, exact=False)
    low = [w.bfloat16().requires_grad_() for w in case.weights]
    y, last = case.run(case.x.bfloat16(), low, [part.bfloat16() for part in case.state], PLAIN, exact=False)
    y.float().sum().backward()
    assert all(w.grad is not None and w.grad.dtype == torch.bfloat16 for w in low)
    whole = [w.clone().requires_grad_() for w in case.weights]
    with torch.autocast("cpu", torch.bfloat16):
        cast_y, cast_last = case.run(case.x, whole, case.state, PLAIN, exact=False)
    cast_y.float().sum().backward()
    assert all(w.grad is not None and w.grad.dtype == torch.float32 for w in whole)
    for got in ((y, *last), (cast_y, *cast_last)):
        for a, b in zip(got, (want[0], *want[1]), strict=True):
            assert a.dtype == torch.bfloat16
            torch.testing.assert_close(a.float(), b, rtol=0, atol=0.06)


def test_zero_state_is_the_default():
    case = Case("lstm-projection")
    params = case.cell.Params(*case.weights[:4])
    zeros = zero_state(case.cell, case.x, case.lengths, params, 2)
    with_zeros = case.run(case.x, case.weights, zeros, PLAIN, exact=False)
    without = case.run(case.x, case.weights, None, PLAIN, exact=False)
    torch.testing.assert_close(without, with_zeros, rtol=0, atol=0)


def test_empty_batch():
    cell = CELLS["lstm"]
    params = [cell.Params(torch.randn(8, 3), torch.randn(8, 2), torch.randn(8))]
    y, (h, c) = recurrent(cell, torch.zeros(4, 0, 3), torch.zeros(0, dtype=torch.int64), params)
    assert y.shape == (4, 0, 2)
    assert h.shape == c.shape == (1, 0, 2)


def test_functional_transforms_take_the_definition():
    case = Case("lstm", directions=1)

    def loss(weights):
        return case.run(case.x, weights, None, PLAIN, exact=False)[0].square().sum()

    weights = [w.clone().requires_grad_() for w in case.weights]
    want = torch.autograd.grad(loss(weights), weights)
    got = torch.func.grad(loss)(case.weights)
    torch.testing.assert_close(list(got), list(want), rtol=1e-4, atol=1e-5)


class TestCompiler:
    @pytest.fixture(autouse=True)
    def forget(self) -> None:
        torch.compiler.reset()

    def module(self) -> LSTM:
        torch.manual_seed(4)
        return LSTM(I, H, num_layers=2, bidirectional=True, batch_first=True)

    def results(self, module, call, **options) -> list[torch.Tensor]:
        module.zero_grad()
        torch.manual_seed(5)
        x = torch.randn(B, T, I, requires_grad=True)
        y, (h, c) = call(x, **options)
        (y.sin().sum() + h.square().sum()).backward()
        return [y, h, c, x.grad, *(p.grad for p in module.parameters())]

    @pytest.mark.parametrize("options", [{}, {"lengths": torch.tensor([9, 2, 4, 1, 9])}], ids=["full", "ragged"])
    def test_compiles_whole(self, options):
        module = self.module()
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        got, want = self.results(module, compiled, **options), self.results(module, module, **options)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)

    def test_other_lengths_and_shapes_compile_once_more_at_most(self):
        module, counter = self.module(), CompileCounterWithBackend("aot_eager")
        compiled = torch.compile(module, fullgraph=True, backend=counter)
        for time, batch in ((9, 5), (8, 4), (7, 3), (12, 9)):
            compiled(torch.randn(batch, time, I), lengths=torch.randint(1, time + 1, (batch,)))[0].sum().backward()
        assert counter.frame_count <= 2

    @pytest.mark.slow
    def test_compiles_whole_by_inductor(self):
        module = self.module()
        lengths = torch.tensor([9, 2, 4, 1, 9])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = self.results(module, torch.compile(module, fullgraph=True), lengths=lengths)
        torch.testing.assert_close(got, self.results(module, module, lengths=lengths), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", ["gru", "lstm-peephole", "lstm-projection"])
    def test_stack_compiles_whole_with_every_regulariser(self, name):
        options = {"dropout": 0.2, "variational_dropout": 0.2, "weight_drop": 0.2, "zoneout": 0.1, "residual": True}
        projection = P if CELLS[name].projects else 0
        stack = RecurrentStack(name, I, H, layers=2, bidirectional=True, projection=projection, **options)
        compiled = torch.compile(stack, fullgraph=True, backend="aot_eager")
        x, lengths = torch.randn(B, T, I), torch.tensor([9, 2, 4, 1, 9])
        y, _ = compiled(x, lengths_B=lengths)
        y.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in stack.parameters())
        stack.eval()
        torch.testing.assert_close(compiled(x, lengths_B=lengths)[0], stack(x, lengths_B=lengths)[0])

    def test_exports_with_lengths_and_any_shape(self):
        module = self.module().eval()
        example, lengths = torch.randn(B, T, I), torch.tensor([9, 2, 4, 1, 9])
        batch, time = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("time", min=2, max=99)
        shapes = {"input": {0: batch, 1: time}, "lengths": {0: batch}}
        program = torch.export.export(module, (example,), {"lengths": lengths}, dynamic_shapes=shapes)
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        again = torch.export.load(file).module()
        x, lengths = torch.randn(3, 12, I), torch.tensor([12, 5, 1])
        torch.testing.assert_close(again(x, lengths=lengths), module(x, lengths=lengths))
        assert any("gatework.recurrent" in str(node.target) for node in program.graph.nodes)


def _child(module, x, want, queue) -> None:
    y, _ = module(x)
    y.sum().backward()
    queue.put(bool(torch.equal(y, want)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this platform")
def test_works_after_a_fork():
    module, x = LSTM(I, H, bidirectional=True), torch.randn(T, B, I)
    want, _ = module(x)
    want.sum().backward()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads, from 3.12 on
        child = context.Process(target=_child, args=(module, x, want.detach(), queue))
        child.start()
    assert queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0


def test_masks_name_what_is_drawn():
    assert not PLAIN.any
    case = Case("gru", varied=True)
    assert case.masks.any
    assert case.masks.keep_c is None
    assert isinstance(case.masks, Masks)
    assert 0.15 < case.masks.keep_h.float().mean() < 0.45
