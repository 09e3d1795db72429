"""Characters a second of a language model that writes: `model.generate` against the same weights stepped elsewhere.

    python -m benchmarks.generation [--model lm.gw] [--units 256] [--seconds 10] [--quick]     results/generation.json

One thread, one text, greedy, so that all float32 writers write the same characters, which is checked. Without a model
the weights are random, stored in 8 bits as `gatework train` stores them: one layer, embedding 64, 96 characters; all
compute with these same weights. PyTorch embeds, steps `torch.nn.LSTM`, `LSTMCell`
or, through `torch.compile`, the equations, and multiplies; ONNX Runtime does all three in one session. Then what
sampling, constraints, batches and other precisions cost. V vocabulary, E embedding, H units.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.measure import ONE_THREAD, say
from benchmarks.peers import missing, onnx_session
from benchmarks.records import Results
from benchmarks.shapes import SEED, Float32

EMBEDDING, CHARACTERS = 64, 96
WRITTEN = 1000
BATCH = 16
END = 2
PRECISIONS = ("float32", "bfloat16", "int8")

Writer = Callable[[], list[int]]


class Weights:
    """Of a bundle with LSTM layers of one width, no residual links and no clusters."""

    def __init__(self, path: Path) -> None:
        """Raises: ValueError: it has something the peers here have not."""
        import gatework as gw
        from gatework.runtime.tables import dense

        bundle = gw.load(path).bundle
        a, language = bundle.architecture, bundle.architecture.language
        if language is None or a.encoder.cell != "lstm" or a.encoder.residual or language.cutoffs:
            raise ValueError(f"{path}: the peers here step plain LSTM layers under one softmax. Give such a model.")
        read = functools.partial(dense, bundle.weights)
        self.layers = [
            [np.array(read(f"encoder.{n}.forward.{name}")) for name in ("w_GI", "r_GH", "b_G")]
            for n in range(a.encoder.layers)
        ]
        self.units = a.encoder.units
        self.embedding_VE: Float32 = np.array(read("embedding.weight"))
        table = self.embedding_VE if language.tied else read("head.weight")
        projected = "head.forward.projection" in bundle.weights.slots
        self.out_VH: Float32 = np.array(table @ read("head.forward.projection") if projected else table)
        self.bias_V: Float32 = np.array(read("head.bias"))
        self.bias_V[:2] = -1e9  # padding and unknown are never written


def random_model(folder: Path, units: int) -> Path:
    """A bundle of random weights, which never ends a text, stored as a trained one."""
    from gatework.core.architecture import Architecture, Encoder, LanguageModel
    from gatework.core.bundle import write_bundle
    from gatework.core.recipe import InputSection
    from gatework.export.storage import store
    from gatework.runtime.shapes import weight_shapes
    from gatework.tasks.lm.codec import Settings
    from gatework.text.running import RunningCodec

    letters = "".join(map(chr, range(32, 32 + CHARACTERS - 3)))
    settings = InputSection(unit="char", min_count=1, lowercase=False, fold_width=False)
    codec = RunningCodec.fit(lambda: [letters], settings)
    architecture = Architecture(
        head="next_token",
        outputs=codec.vocabulary,
        vocabulary=codec.vocabulary,
        embedding=EMBEDDING,
        encoder=Encoder(cell="lstm", units=units, bidirectional=False),
        pooling=(),
        language=LanguageModel(directions=("forward",), tied=False),
    )
    rng = np.random.default_rng(SEED)
    weights = {}
    for name, shape in weight_shapes(architecture).items():
        scale = 2.0 if name == "embedding.weight" else 1.0 if name.startswith("head") else 2.0 / np.sqrt(units)
        weights[name] = rng.normal(0, scale, shape).astype(np.float32)
    weights["head.bias"][END] = -1e9
    config = {"task": "lm", "architecture": architecture.to_dict(), "decode": Settings().to_dict()}
    stored = store(weights, "int8").tensors
    write_bundle(folder / "random.gw", config=config, weights=stored, entries=codec.to_entries())
    return folder / "random.gw"


def gatework(path: Path, precision: str, **options: Any) -> Writer:
    """`model.generate`, its answer as ids."""
    import gatework as gw

    model = gw.load(path, precision=precision)
    asked = {"max_tokens": WRITTEN, "temperature": 0, "seed": 1, **options}

    def write() -> list[int]:
        found = model.generate("", **asked)
        return [token for one in (found if isinstance(found, list) else [found]) for token in one.tokens]

    return write


def torch_writer(weights: Weights, kind: str) -> Writer:
    """`torch.nn.LSTM`, `LSTMCell` (one layer), or the equations through `torch.compile`, in a Python loop."""
    import torch

    H, E, depth = weights.units, weights.embedding_VE.shape[1], len(weights.layers)
    embedding_VE, out_HV = torch.from_numpy(weights.embedding_VE), torch.from_numpy(weights.out_VH).T.contiguous()
    bias_V = torch.from_numpy(weights.bias_V)
    parts = [[torch.from_numpy(part) for part in layer] for layer in weights.layers]
    names = {}
    for suffix, (w, r, b) in zip([""] if kind == "LSTMCell" else [f"_l{n}" for n in range(depth)], parts, strict=True):
        names |= {f"weight_ih{suffix}": w, f"weight_hh{suffix}": r, f"bias_ih{suffix}": b, f"bias_hh{suffix}": b * 0}
    layer: Any = torch.nn.LSTMCell(E, H) if kind == "LSTMCell" else torch.nn.LSTM(E, H, depth)
    layer.load_state_dict(names)

    def by_layer(x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        if kind == "LSTMCell":
            h, c = layer(x, (h, c))
            return h, h, c
        y, (h, c) = layer(x[None], (h, c))
        return y[0], h, c

    joined = [(torch.cat([w, r], 1), b) for w, r, b in parts]

    def by_equations(x: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        hs, cs = [], []
        for n, (wr, b) in enumerate(joined):
            i, f, g, o = torch.nn.functional.linear(torch.cat([x, h[n]], 1), wr, b).chunk(4, 1)
            cs.append(f.sigmoid() * c[n] + i.sigmoid() * g.tanh())
            x = o.sigmoid() * cs[-1].tanh()
            hs.append(x)
        return x, torch.stack(hs), torch.stack(cs)

    def step(token: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
        y, h, c = (by_equations if kind == "compiled" else by_layer)(embedding_VE.index_select(0, token), h, c)
        return torch.addmm(bias_V, y, out_HV).argmax(1), h, c

    run = torch.compile(step) if kind == "compiled" else step
    shape = (1, H) if kind == "LSTMCell" else (depth, 1, H)

    @torch.no_grad()
    def write() -> list[int]:
        token, text = torch.tensor([END]), []
        h, c = torch.zeros(shape), torch.zeros(shape)
        for _ in range(WRITTEN):
            token, h, c = run(token, h, c)
            text.append(int(token))
        return text

    return write


def onnxruntime(weights: Weights, precision: str) -> Writer:
    """One session that embeds, steps one layer and multiplies."""
    import onnx
    from onnx import helper, numpy_helper

    from benchmarks.peers import onnx_model
    from benchmarks.shapes import Case, Shape
    from benchmarks.shapes import Weights as Layer

    E, H = weights.embedding_VE.shape[1], weights.units
    layer = Layer(*weights.layers[0])
    empty = np.zeros((1, 1, 0), dtype=np.float32)
    case = Case(shape=Shape(1, 1, E, H), lengths_B=np.ones(1, np.int64), x_TBI=empty, dy_TBH=empty, weights=(layer,))
    model = onnx.load_from_string(onnx_model(case, int8=precision == "int8", lengths=False, state=True))
    graph = model.graph
    constants = {"embedding": weights.embedding_VE[:, None], "out": weights.out_VH.T, "bias": weights.bias_V}
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(part), name) for name, part in constants.items()
    )
    nodes = [
        helper.make_node("Gather", ["embedding", "character"], ["X"], axis=0),
        *graph.node,
        helper.make_node("MatMul", ["h", "out"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["next"], axis=2, keepdims=0),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.remove(next(one for one in graph.input if one.name == "X"))
    graph.input.append(helper.make_tensor_value_info("character", onnx.TensorProto.INT64, [1]))
    graph.output.append(helper.make_tensor_value_info("next", onnx.TensorProto.INT64, [1, 1]))
    session = onnx_session(model.SerializeToString(), 1)

    def write() -> list[int]:
        h = c = np.zeros((1, 1, H), dtype=np.float32)
        text, character = [], np.array([END], dtype=np.int64)
        for _ in range(WRITTEN):
            h, c, following = session.run(["h", "c", "next"], {"character": character, "h0": h, "c0": c})
            character = following[0]
            text.append(int(character[0]))
        return text

    return write


def writers(path: Path) -> tuple[dict[str, Writer], dict[str, str]]:
    """Greedy writers by name, and why others are left out; float32 ones write the same text."""
    weights = Weights(path)
    single = len(weights.layers) == 1
    makers: dict[str, tuple[str, Callable[[], Writer]]] = {
        f"gatework {precision}": ("gatework", functools.partial(gatework, path, precision)) for precision in PRECISIONS
    }
    for kind in ("LSTM", "LSTMCell", "compiled") if single else ("LSTM", "compiled"):
        makers[f"torch {kind} float32"] = "torch", functools.partial(torch_writer, weights, kind)
    if single:
        for precision in ("float32", "int8"):
            makers[f"ONNX Runtime {precision}"] = "onnxruntime", functools.partial(onnxruntime, weights, precision)
    made, left_out = {}, {}
    for name, (framework, make) in makers.items():
        if reason := missing(framework):
            left_out[name] = reason
            continue
        try:
            made[name] = make()
            text = made[name]()
        except Exception as error:  # a compiler that is not there, and whatever else a peer lacks here
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
            made.pop(name, None)
            continue
        if name == "gatework float32":
            first = text
        elif name.endswith("float32") and text != first:
            same = next(n for n, (one, other) in enumerate(zip(text, first, strict=True)) if one != other)
            say(f"{name}: another text from character {same + 1} on (a near tie falls to one rounding)")
    return made, left_out


def ways(path: Path) -> dict[str, tuple[int, Writer]]:
    """Ways to write with `model.generate`: characters a call, and the call."""
    asked: dict[str, dict[str, Any]] = {
        "greedy": {},
        "sampled": {"temperature": 1.0},
        "top_k 20, top_p 0.9": {"temperature": 0.8, "top_k": 20, "top_p": 0.9},
        "pattern": {"temperature": 1.0, "constraint": f"[ -y]{{{WRITTEN}}}"},
        "penalty, no_repeat": {"temperature": 1.0, "repetition_penalty": 1.2, "no_repeat": 8},
        f"{BATCH} at once": {"temperature": 1.0, "count": BATCH},
    }
    return {
        f"{name}, {precision}": (WRITTEN * options.get("count", 1), gatework(path, precision, **options))
        for name, options in asked.items()
        for precision in PRECISIONS
    }


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a language model's bundle; default: random weights")
    parser.add_argument("--units", type=int, default=256, help="of the random model (default 256)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each group (default 10)")
    parser.add_argument("--quick", action="store_true", help="short measurements: a look, not a result")
    parser.add_argument("--out", type=Path, help="results file, added to; default results/generation.json")
    arguments = parser.parse_args()
    os.environ |= ONE_THREAD
    seconds, patience = (1.0, 0.0) if arguments.quick else (arguments.seconds, 15.0)
    results = Results(arguments.out or Results.path("quick" if arguments.quick else "generation"))
    quiet = timing.Quiet(1, patience)
    results.peak(1, quiet.best)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or random_model(Path(folder), arguments.units)
        case = arguments.model.name if arguments.model else f"1 x {arguments.units}, {CHARACTERS} characters"
        made, left_out = writers(path)
        for name, reason in left_out.items():
            say(f"skipped: {name}: {reason}")
        groups = [("generation", {name: (WRITTEN, write) for name, write in made.items()}), ("generate", ways(path))]
        for what, contestants in groups:
            share = quiet.wait()
            bursts = {name: functools.partial(timing.burst, write) for name, (_, write) in contestants.items()}
            for name, taken in timing.interleave(bursts, seconds).items():
                count = contestants[name][0]
                each = taken._replace(
                    median=taken.median / count, mean=taken.mean / count, processor=taken.processor / count
                )
                results.add(what, 1, case, name, each, quiet=share)
                print(
                    f"{name:36} {1 / each.median:10,.0f} characters/s   {1 / each.processor:10,.0f} by processor time"
                )
    results.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
