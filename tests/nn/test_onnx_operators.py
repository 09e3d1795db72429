"""ONNX's own tests of its operators LSTM, GRU and RNN, with our cells in their place.

The package `onnx` carries the cases: weights, inputs and expected outputs. ONNX packs gates i o f c and z r h, keeps
two biases a direction, peepholes in the order i o f, and the GRU's `linear_before_reset` chooses between our two.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from gatework.cells import CELLS
from gatework.nn.ops import recurrent

pytest.importorskip("onnx", reason="the cases come with the package onnx")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # building the cases of other operators overflows on purpose
    from onnx.backend.test.case.node import collect_testcases
    from onnx.helper import get_attribute_value

    FOUND = [case for case in collect_testcases(None) if case.model.graph.node[0].op_type in ("LSTM", "GRU", "RNN")]

ORDERS = {"LSTM": ("i", "o", "f", "g"), "GRU": ("z", "r", "n"), "RNN": ("h",)}
"""ONNX's gate orders under our names."""


def to_ours(weight: np.ndarray, operator: str, cell) -> torch.Tensor:
    """A packed weight or bias with its gates in our order."""
    gates = dict(zip(ORDERS[operator], np.split(weight, len(cell.gates)), strict=True))
    return torch.from_numpy(np.concatenate([gates[gate] for gate in cell.gates]).astype(np.float32))


def cell_of(operator: str, attributes: dict, inputs: dict):
    if operator == "LSTM":
        return CELLS["lstm-peephole" if "P" in inputs else "lstm"]
    if operator == "GRU":
        return CELLS["gru" if attributes.get("linear_before_reset") else "gru-reset-before"]
    return CELLS["rnn"]


def params_of(operator: str, cell, inputs: dict, place: int):
    units = inputs["R"].shape[2]
    zero = np.zeros((1, 2 * len(cell.gates) * units), np.float32)
    own, recurrent_bias = np.split(inputs.get("B", np.repeat(zero, place + 1, 0))[place], 2)
    weights = {
        "w_GI": to_ours(inputs["W"][place], operator, cell),
        "r_GH": to_ours(inputs["R"][place], operator, cell),
        "b_G": to_ours(own, operator, cell),
    }
    if "rb_G" in cell.Params._fields:
        weights["rb_G"] = to_ours(recurrent_bias, operator, cell)
    else:
        weights["b_G"] += to_ours(recurrent_bias, operator, cell)
    if "P" in inputs:
        i, o, f = np.split(inputs["P"][place], 3)
        weights |= {"pi_H": torch.from_numpy(i), "pf_H": torch.from_numpy(f), "po_H": torch.from_numpy(o)}
    return cell.Params(**weights)


def run(case) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What we compute and what is expected, by ONNX's names of the outputs."""
    node = case.model.graph.node[0]
    attributes = {a.name: get_attribute_value(a) for a in node.attribute}
    (arrays, expected), *_ = case.data_sets
    inputs = dict(zip([name for name in node.input if name], arrays, strict=True))
    direction = attributes.get("direction", b"forward")
    cell = cell_of(node.op_type, attributes, inputs)
    params = [params_of(node.op_type, cell, inputs, place) for place in range(len(inputs["W"]))]
    batch_first = attributes.get("layout", 0) == 1
    x_TBI = torch.from_numpy(inputs["X"])
    x_TBI = x_TBI.transpose(0, 1) if batch_first else x_TBI
    lengths = torch.from_numpy(inputs["sequence_lens"].astype(np.int64)) if "sequence_lens" in inputs else None
    state = None
    if "initial_h" in inputs:
        names = ["initial_h", "initial_c"][: len(cell.State._fields)]
        parts = [torch.from_numpy(inputs[name]) for name in names]
        state = [part.transpose(0, 1) for part in parts] if batch_first else parts
    if direction == b"reverse":  # ours reads backwards second: give it a first that is thrown away
        y, last = recurrent(
            cell, x_TBI, lengths, params * 2, None if state is None else [p.repeat(2, 1, 1) for p in state]
        )
        y, last = y[:, :, y.shape[2] // 2 :], [part[1:] for part in last]
    else:
        y, last = recurrent(cell, x_TBI, lengths, params, state)
    y_TDBH = y.unflatten(2, (len(params), -1)).transpose(1, 2)
    got = {"Y": y_TDBH.permute(2, 0, 1, 3) if batch_first else y_TDBH}
    for name, part in zip(("Y_h", "Y_c"), last, strict=False):
        got[name] = part.transpose(0, 1) if batch_first else part
    names = [name for name in node.output if name]
    return {name: got[name].numpy() for name in names}, dict(zip(names, expected, strict=True))


def test_every_case_is_there():
    assert len(FOUND) >= 18


@pytest.mark.parametrize("case", FOUND, ids=lambda case: case.name)
def test_equals_the_published_outputs(case):
    got, want = run(case)
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=case.rtol, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "case", [c for c in FOUND if "gru" in c.name and "initial_bias" in c.name], ids=lambda c: c.name
)
def test_linear_before_reset(case):
    """No published case sets it: against the operator's formula, on the published weights."""
    node = case.model.graph.node[0]
    (arrays, _), *_ = case.data_sets
    X, W, R, Bias = arrays
    cell = CELLS["gru"]
    params = params_of("GRU", cell, {"W": W, "R": R, "B": Bias}, 0)
    state = torch.randn(1, X.shape[1], R.shape[2])
    y, _ = recurrent(cell, torch.from_numpy(X), None, [params], [state])
    h, (wz, wr, wh), (rz, rr, rh) = state[0].double().numpy(), np.split(W[0], 3), np.split(R[0], 3)
    (bz, br, bh, cz, cr, ch) = np.split(Bias[0], 6)
    assert not any(a.name == "linear_before_reset" for a in node.attribute)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    for t, x in enumerate(X):
        z, r = sigmoid(x @ wz.T + h @ rz.T + bz + cz), sigmoid(x @ wr.T + h @ rr.T + br + cr)
        h = (1 - z) * np.tanh(x @ wh.T + r * (h @ rh.T + ch) + bh) + z * h
        np.testing.assert_allclose(y[t].numpy(), h, rtol=0, atol=1e-6)
