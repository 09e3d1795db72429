"""A character language model that writes: embedding 64, LSTM 256, 96 characters, one after another, sampled.

Every writer draws by the same noise (the largest logit plus Gumbel noise), so that all of one precision write the same
text; in float32 that is checked. E embedding, H units, V characters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from benchmarks.peers import missing, onnx_session, torch_lstm
from benchmarks.shapes import SEED, Case, Float32, Shape, cases
from benchmarks.step import CHARACTERS, EMBEDDING, UNITS, WRITTEN

Writer = Callable[[], list[int]]


class Model:
    """The weights, and the noise to draw by."""

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        self.case: Case = cases(Shape(1, 1, EMBEDDING, UNITS), "full")[0]
        self.embedding_VE: Float32 = rng.normal(size=(CHARACTERS, EMBEDDING)).astype(np.float32)
        self.out_VH: Float32 = rng.normal(size=(CHARACTERS, UNITS)).astype(np.float32)
        self.noise_NV: Float32 = rng.gumbel(size=(WRITTEN, CHARACTERS)).astype(np.float32)


def gatework(model: Model, precision: str, threads: int) -> Writer:
    """`kernels.Stepper` in a Python loop, the embedding folded into the weights; the output product in NumPy."""
    from gatework import kernels

    packed = kernels.pack("lstm", model.case.weights[0]._asdict(), precision=precision)
    table = kernels.fold(packed, model.embedding_VE)
    out_HV = np.ascontiguousarray(model.out_VH.T)

    def write() -> list[int]:
        stepper, text, character = kernels.Stepper(packed, table=table), [], 0
        step, h_BH = stepper.step_id, np.zeros((1, UNITS), dtype=np.float32)
        for noise_V in model.noise_NV:
            character = int((step(character, h_BH)[0] @ out_HV + noise_V).argmax())
            text.append(character)
        return text

    return write


def torch_layer(model: Model, threads: int, cell: bool) -> Writer:
    """`torch.nn.LSTM` or `LSTMCell` in a Python loop."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    layer = torch_lstm(torch.nn.LSTM, model.case, "float32")
    embedding_VE, out_VH, noise_NV = map(torch.from_numpy, (model.embedding_VE, model.out_VH, model.noise_NV))
    rows = list(embedding_VE[:, None] if cell else embedding_VE[:, None, None])
    if cell:
        whole, layer = layer, torch.nn.LSTMCell(EMBEDDING, UNITS)
        layer.load_state_dict({name.removesuffix("_l0"): part for name, part in whole.state_dict().items()})

    def write() -> list[int]:
        state, text, character = None, [], 0
        for noise_V in noise_NV:
            result = layer(rows[character], state)
            state = result if cell else result[1]
            character = int((state[0].view(UNITS) @ out_VH.T + noise_V).argmax())
            text.append(character)
        return text

    return write


def onnxruntime(model: Model, precision: str, threads: int) -> Writer:
    """One session that embeds, steps and multiplies; sampling in NumPy."""
    import onnx
    from onnx import helper, numpy_helper

    from benchmarks.peers import onnx_model

    layer = onnx.load_from_string(onnx_model(model.case, int8=precision == "int8", lengths=False, state=True))
    graph = layer.graph
    graph.initializer.extend([
        numpy_helper.from_array(model.embedding_VE[:, None], "embedding"),
        numpy_helper.from_array(np.ascontiguousarray(model.out_VH.T), "out"),
    ])  # fmt: skip
    gather = helper.make_node("Gather", ["embedding", "character"], ["X"], axis=0)
    product = helper.make_node("MatMul", ["h", "out"], ["logits"])
    nodes = [gather, *graph.node, product]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.remove(next(one for one in graph.input if one.name == "X"))
    graph.input.append(helper.make_tensor_value_info("character", onnx.TensorProto.INT64, [1]))
    graph.output.append(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 1, CHARACTERS]))
    session = onnx_session(layer.SerializeToString(), threads)

    def write() -> list[int]:
        h = c = np.zeros((1, 1, UNITS), dtype=np.float32)
        text, character = [], np.zeros(1, dtype=np.int64)
        for noise_V in model.noise_NV:
            h, c, logits = session.run(["h", "c", "logits"], {"character": character, "h0": h, "c0": c})
            character[0] = (logits[0, 0] + noise_V).argmax()
            text.append(int(character[0]))
        return text

    return write


def writers(threads: int) -> tuple[dict[str, Writer], dict[str, str]]:
    """Writers by name, checked against one another in float32; and why others are left out."""
    model, made, left_out = Model(), {}, {}
    makers: dict[str, tuple[str, Callable[[], Writer]]] = {
        "torch LSTM float32": ("torch", lambda: torch_layer(model, threads, cell=False)),
        "torch LSTMCell float32": ("torch", lambda: torch_layer(model, threads, cell=True)),
    }
    for precision in ("float32", "bfloat16", "int8"):
        makers[f"gatework {precision}"] = "gatework", functools.partial(gatework, model, precision, threads)
        if precision != "bfloat16":
            makers[f"ONNX Runtime {precision}"] = (
                "onnxruntime",
                functools.partial(onnxruntime, model, precision, threads),
            )
    for name, (framework, make) in makers.items():
        if reason := missing(framework):
            left_out[name] = reason
        else:
            made[name] = make()
    texts = {name: tuple(write()) for name, write in made.items() if name.endswith("float32")}
    if len(set(texts.values())) > 1:  # one rounding may tip a draw: say so, but go on
        left_out["(all)"] = "float32 writers did not all write the same text"
    return made, left_out
