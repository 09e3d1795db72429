"""Everyone who runs an LSTM layer here: Gatework and its peers, one small class each.

A peer turns a case into a call that is timed as it stands; what can be made beforehand (packed sequences, sessions,
compiled programs, inference weights) is made beforehand. Training starts from float32 weights that have just changed.

oneDNN appears through the routes that exist: torch's padded LSTM and OpenVINO's both run its LSTM primitive.
T time, B batch, I inputs, H units, D directions, N tokens.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.shapes import Case, Weights

Answers = Mapping[str, npt.NDArray[Any]]
"""Arrays by name: `y` (T, B, D H); in training also `dx` (T, B, I) and `w0 r0 b0 w1 r1 b1`."""


class Missing(Exception):
    """A peer is not installed, or cannot do this; the message says what is missing."""


class Call(NamedTuple):
    """What is timed, and how its result reads."""

    run: Callable[[], Any]
    read: Callable[[Any], Answers]


class Peer(ABC):
    """One way to run a layer."""

    name: ClassVar[str]
    framework: ClassVar[str]
    """Contestants of one framework share a process."""
    does: ClassVar[frozenset[str]]
    """Kinds of work: `inference float32`, `training bfloat16` and so on."""
    ours: ClassVar[bool] = False
    reads_padding: ClassVar[bool] = False
    """Computes on padding, so that on ragged batches its backward direction gives other answers."""

    def __init__(self, threads: int) -> None:
        """Raises: Missing: something is not installed."""
        self.threads = threads

    @abstractmethod
    def call(self, case: Case, kind: str) -> Call:
        """Raises: Missing: it cannot do this."""


class Gatework(Peer):
    """The kernels, array in and array out; weights packed beforehand in inference, in every call in training."""

    name, framework, ours = "gatework", "gatework", True
    does = frozenset(
        {"inference float32", "inference bfloat16", "inference int8", "training float32", "training bfloat16"}
    )

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from gatework import kernels

        self.kernels: Any = kernels

    def call(self, case: Case, kind: str) -> Call:
        task, precision = kind.split()
        return (self._inference if task == "inference" else self._training)(case, precision)

    def _inference(self, case: Case, precision: str) -> Call:
        kernels, x, lengths_B = self.kernels, case.x_TBI, case.lengths_B
        packed = [kernels.pack("lstm", weights._asdict(), precision=precision) for weights in case.weights]
        layer = kernels.both_ways if len(packed) == 2 else kernels.sequence
        return Call(lambda: layer("lstm", x, lengths_B, *packed)[0], lambda y: {"y": y})

    def _training(self, case: Case, precision: str) -> Call:
        kernels = self.kernels
        from gatework.cells import CELLS

        params = [CELLS["lstm"].params(weights._asdict()) for weights in case.weights]
        x_NI, dy_NH, lengths_B = case.x_TBI[case.live_TB], case.dy_TBH[case.live_TB], case.lengths_B

        def run() -> Any:
            y, _, tape = kernels.recurrent_forward("lstm", x_NI, lengths_B, params, None, precision=precision)
            return y, kernels.recurrent_backward(
                "lstm", tape, x_NI, lengths_B, params, None, dy_NH, None, precision=precision
            )

        def read(result: Any) -> Answers:
            y, (dx, gradients, _) = result
            return {"y": unpacked(case, y), "dx": unpacked(case, dx)} | _named(gradients)

        return Call(run, read)


class _Torch(Peer):
    """What the torch contestants share: the module, and a forward and backward pass."""

    framework = "torch"
    does = frozenset({"inference float32", "inference bfloat16", "training float32", "training bfloat16"})

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.torch = _import("torch")
        self.torch.set_num_threads(threads)

    def module(self, case: Case, precision: str) -> Any:
        """The layer with the case's weights; the second bias of torch is zero."""
        return torch_lstm(self.torch.nn.LSTM, case, precision)

    def tensor(self, array: Any, precision: str) -> Any:
        return self.torch.from_numpy(array).to(getattr(self.torch, precision))

    def trained(self, case: Case, module: Any, x: Any, dy: Any, forward: Callable[[], Any], spread: Any) -> Call:
        """Forward and backward, gradients made anew; `spread` puts rows of data at their places, (T, B, width)."""
        x.requires_grad_()

        def run() -> Any:
            x.grad = None
            module.zero_grad(set_to_none=True)
            y = forward()
            y.backward(dy)
            return y

        def read(y: Any) -> Answers:
            def array(tensor: Any) -> Any:
                return tensor.detach().to(self.torch.float64).numpy()

            g = {name: array(weight.grad) for name, weight in module.named_parameters()}
            named = {f"{part}{d}": g[f"{key}_l0{'_reverse' * d}"] for d in range(case.shape.D)
                     for part, key in (("w", "weight_ih"), ("r", "weight_hh"), ("b", "bias_ih"))}  # fmt: skip
            return {"y": spread(array(y)), "dx": spread(array(x.grad))} | named

        return Call(run, read)


class TorchPacked(_Torch):
    """`torch.nn.LSTM` on a `PackedSequence` made beforehand."""

    name = "torch packed"

    def call(self, case: Case, kind: str) -> Call:
        task, precision = kind.split()
        torch, module = self.torch, self.module(case, precision)
        lengths_B = torch.from_numpy(case.lengths_B)
        x = torch.nn.utils.rnn.pack_padded_sequence(self.tensor(case.x_TBI, precision), lengths_B)

        def spread(rows: Any) -> Any:
            return unpacked(case, rows)

        if task == "inference":
            run = torch.inference_mode()(lambda: module(x)[0].data)
            return Call(run, lambda y: {"y": spread(y.double().numpy())})
        dy = self.tensor(case.dy_TBH[case.live_TB], precision)
        return self.trained(case, module, x.data, dy, lambda: module(x)[0].data, spread)


class TorchPadded(_Torch):
    """`torch.nn.LSTM` on the padded batch: oneDNN."""

    name, reads_padding = "torch padded", True

    def call(self, case: Case, kind: str) -> Call:
        task, precision = kind.split()
        module, x = self.module(case, precision), self.tensor(case.x_TBI, precision)
        live_TB1 = case.live_TB[:, :, None]
        if task == "inference":
            run = self.torch.inference_mode()(lambda: module(x)[0])
            return Call(run, lambda y: {"y": y.double().numpy() * live_TB1})
        dy = self.tensor(case.dy_TBH, precision)
        return self.trained(case, module, x, dy, lambda: module(x)[0], lambda array: array * live_TB1)


class GateworkModule(_Torch):
    """`gatework.nn.LSTM` on a `PackedSequence`, with autograd."""

    name, framework, ours = "gatework.nn", "gatework.nn", True

    call = TorchPacked.call

    def module(self, case: Case, precision: str) -> Any:
        from gatework.nn import LSTM

        return torch_lstm(LSTM, case, precision)


class OnnxRuntime(Peer):
    """ONNX Runtime on the padded batch with sequence lengths; int8 is its DynamicQuantizeLSTM, a scale a channel."""

    name, framework = "ONNX Runtime", "onnxruntime"
    does = frozenset({"inference float32", "inference int8"})

    def call(self, case: Case, kind: str) -> Call:
        session = onnx_session(onnx_model(case, int8=kind.endswith("int8"), lengths=True), self.threads)
        feed = {"X": case.x_TBI, "lengths": case.lengths_B.astype(np.int32)}
        return Call(lambda: session.run(None, feed)[0], _read_onnx)


class OpenVino(Peer):
    """OpenVINO on the padded batch: oneDNN again. (It takes lengths too, and computes on the padding all the same.)"""

    name, framework, reads_padding = "OpenVINO padded", "openvino", True
    does = frozenset({"inference float32", "inference bfloat16"})

    def call(self, case: Case, kind: str) -> Call:
        core = _import("openvino").Core()
        hint = {"float32": "f32", "bfloat16": "bf16"}[kind.split()[1]]
        model = core.read_model(onnx_model(case, int8=False, lengths=False))
        settings = {"INFERENCE_NUM_THREADS": self.threads, "INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1}
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        feed = {"X": case.x_TBI}
        live_TB1 = case.live_TB[:, :, None]
        return Call(
            lambda: request.infer(feed, share_inputs=True, share_outputs=True)[0],
            lambda y: {"y": _read_onnx(y)["y"] * live_TB1},
        )


class Jax(Peer):
    """JAX: a jitted `lax.scan` over the padded batch, steps past a length masked; the input product done in one."""

    name, framework = "JAX", "jax"
    does = frozenset({"inference float32", "training float32"})

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.jax = _import("jax")
        self.jax.config.update("jax_platforms", "cpu")

    def call(self, case: Case, kind: str) -> Call:
        jax, np_ = self.jax, self.jax.numpy
        B, H = case.shape.B, case.shape.H
        live_TB1 = case.live_TB[:, :, None]

        def direction(x_TBI: Any, weights: Any, backward: bool) -> Any:
            w_GI, r_GH, b_G = weights

            def step(state: Any, now: Any) -> Any:
                (h_BH, c_BH), (z_BG, live_B1) = state, now
                i, f, g, o = np_.split(z_BG + h_BH @ r_GH.T, 4, axis=1)
                c_new = jax.nn.sigmoid(f) * c_BH + jax.nn.sigmoid(i) * np_.tanh(g)
                h_new = jax.nn.sigmoid(o) * np_.tanh(c_new)
                return (np_.where(live_B1, h_new, h_BH), np_.where(live_B1, c_new, c_BH)), h_new * live_B1

            zero = np_.zeros((B, H), dtype=np_.float32)
            return jax.lax.scan(step, (zero, zero), (x_TBI @ w_GI.T + b_G, live_TB1), reverse=backward)[1]

        def layer(x_TBI: Any, weights: Any) -> Any:
            return np_.concatenate([direction(x_TBI, one, bool(d)) for d, one in enumerate(weights)], axis=2)

        def training(x_TBI: Any, weights: Any, dy_TBH: Any) -> Any:
            y_TBH, back = jax.vjp(layer, x_TBI, weights)
            return y_TBH, back(dy_TBH)

        given = jax.device_put((case.x_TBI, tuple(tuple(one) for one in case.weights)))
        if kind.startswith("inference"):
            compiled = jax.jit(layer)
            return Call(lambda: compiled(*given).block_until_ready(), lambda y: {"y": np.asarray(y)})
        compiled, dy = jax.jit(training), jax.device_put(case.dy_TBH)

        def read(result: Any) -> Answers:
            y, (dx, gradients) = result
            return {"y": np.asarray(y), "dx": np.asarray(dx)} | _named(gradients)

        return Call(lambda: jax.block_until_ready(compiled(*given, dy)), read)


PEERS: tuple[type[Peer], ...] = (Gatework, GateworkModule, TorchPacked, TorchPadded, OnnxRuntime, OpenVino, Jax)
MODULES = {
    "gatework": ("gatework",), "gatework.nn": ("gatework", "torch"), "torch": ("torch",),
    "onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino"), "jax": ("jax",),
    "ctranslate2": ("ctranslate2",),
}  # fmt: skip
"""What each framework needs installed."""


def oracle(case: Case, kind: str) -> Answers:
    """torch in float64 on the packed sequence."""
    torch = TorchPacked(int(os.environ.get("OMP_NUM_THREADS", "1")))
    call = torch.call(case, f"{kind.split()[0]} float64")
    return {name: np.asarray(array) for name, array in call.read(call.run()).items()}


def errors(got: Answers, want: Answers) -> dict[str, float]:
    """`y`: largest error of an output; `gradient`: norm of the error over the norm, the worst gradient's."""
    found = {"y": float(np.abs(got["y"] - want["y"]).max())}
    gradients = [np.linalg.norm(got[n] - want[n]) / np.linalg.norm(want[n]) for n in want if n != "y"]
    return found | ({"gradient": float(max(gradients))} if gradients else {})


def unpacked(case: Case, rows_N: Any) -> Any:
    """(N, width) rows of a packed sequence at their places, (T, B, width)."""
    spread = np.zeros((*case.live_TB.shape, rows_N.shape[1]), dtype=rows_N.dtype)
    spread[case.live_TB] = rows_N
    return spread


def torch_lstm(kind: Any, case: Case, precision: str) -> Any:
    """A `torch.nn.LSTM`, or ours of the same face, with the case's weights; the second bias of torch is zero."""
    torch = _import("torch")
    shape = case.shape
    module = kind(shape.I, shape.H, bidirectional=shape.D == 2)
    with torch.no_grad():
        for d, one in enumerate(case.weights):
            parts = zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (*one, np.zeros_like(one.b_G)), strict=True)
            for name, array in parts:
                getattr(module, f"{name}_l0{'_reverse' * d}").copy_(torch.from_numpy(array))
    return module.to(getattr(torch, precision))


def onnx_model(case: Case, *, int8: bool, lengths: bool, state: bool = False) -> bytes:
    """The layer as an ONNX model: X (T, B, I) and lengths to Y (T, D, B, H); with `state`, h and c in and out."""
    onnx = _import("onnx")
    helper, numpy_helper, (T, B, I, H, D) = onnx.helper, onnx.numpy_helper, case.shape  # noqa: E741
    order = np.r_[0:H, 3 * H : 4 * H, H : 3 * H]  # ONNX has its gates i o f g
    w, r, b = (np.stack([getattr(one, part)[order] for one in case.weights]) for part in Weights._fields)
    constants = {"B": np.concatenate([b, np.zeros_like(b)], axis=1)}
    for name, array in (("W", w), ("R", r)):
        if int8:
            transposed = array.transpose(0, 2, 1)
            scale = np.abs(transposed).max(axis=1) / 127
            constants[name] = np.rint(transposed / scale[:, None]).astype(np.int8)
            constants[f"{name}_scale"], constants[f"{name}_zero"] = scale, np.zeros(scale.shape, dtype=np.int8)
        else:
            constants[name] = array
    inputs = ["X", "W", "R", "B", "lengths" if lengths else "", "h0" if state else "", "c0" if state else "", ""]
    inputs += ["W_scale", "W_zero", "R_scale", "R_zero"] if int8 else []
    outputs = ["Y", "h", "c"] if state else ["Y"]
    domain = {"domain": "com.microsoft"} if int8 else {}
    node = helper.make_node(
        "DynamicQuantizeLSTM" if int8 else "LSTM", inputs, outputs, hidden_size=H,
        direction="bidirectional" if D == 2 else "forward", **domain,
    )  # fmt: skip
    floats, states = onnx.TensorProto.FLOAT, [("h", [D, B, H]), ("c", [D, B, H])] if state else []
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("X", floats, [T, B, I])]
        + ([helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, [B])] if lengths else [])
        + [helper.make_tensor_value_info(f"{name}0", floats, sizes) for name, sizes in states],
        [helper.make_tensor_value_info("Y", floats, [T, D, B, H])]
        + [helper.make_tensor_value_info(name, floats, sizes) for name, sizes in states],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


def onnx_session(model: bytes, threads: int) -> Any:
    """An ONNX Runtime session held to so many threads."""
    onnxruntime = _import("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def missing(framework: str) -> str:
    """What a framework lacks here; empty where all is installed. Imports nothing."""
    lacking = [name for name in MODULES[framework] if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(lacking)}; pip install -r benchmarks/requirements.txt" if lacking else ""


def _read_onnx(y_TDBH: Any) -> Answers:
    T, D, B, H = y_TDBH.shape
    return {"y": np.asarray(y_TDBH).transpose(0, 2, 1, 3).reshape(T, B, D * H)}


def _named(gradients: Any) -> dict[str, Any]:
    """Gradients of each direction's w, r, b under their names."""
    return {f"{part}{d}": np.asarray(g) for d, one in enumerate(gradients) for part, g in zip("wrb", one, strict=True)}


def _import(name: str) -> Any:
    """Raises: Missing: the package is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"{name} is not installed ({error}); pip install -r benchmarks/requirements.txt") from None
