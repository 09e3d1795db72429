"""Source words a second of a translator: `model.predict` against the same network in PyTorch, and a small Transformer.

    python -m benchmarks.translation_speed [--model mt.gw --text test.de] [--threads 2] [--sentences 1000] [--quick]

Batched: all sentences at once, greedy and with 5 beams. Alone: one sentence at a time, median and 99th percentile.
Without a model the weights are random (one BiLSTM layer of 2 x 256, a writer of 512, additive attention, 8,000 tokens)
and every target is cut at the length of its source, so that all contestants write as much.

PyTorch decodes the same weights by a plain batched loop: `torch.nn.LSTM` reads, `LSTMCell` steps, greedy, until all
sentences have ended. CTranslate2 runs a Transformer of random weights and about as many numbers, int8 and float32, to
the same lengths: its speed alone, its words mean nothing. B sentences, S tokens, V vocabulary.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.measure import say
from benchmarks.peers import missing
from benchmarks.records import Results
from benchmarks.shapes import SEED

VOCABULARY, EMBEDDING, UNITS, LOOKS = 8000, 256, 512, 128
LENGTHS = (5, 25)
BEAMS = 5
PRECISIONS = ("float32", "bfloat16", "int8")
ALONE = 200


Run = Callable[[], object]


def random_model(path: Path) -> None:
    """A bundle of random weights, in 8 bits, as `gatework train` stores them."""
    from gatework.core.architecture import Architecture, Encoder
    from gatework.core.bundle import write_bundle
    from gatework.core.writer import Writer
    from gatework.export.storage import store
    from gatework.runtime.shapes import weight_shapes
    from gatework.tasks.seq2seq import Seq2SeqCodec, Settings
    from gatework.text.running import RunningCodec

    text = RunningCodec(unit="word", tokens=[f"w{n}" for n in range(VOCABULARY - 3)])
    writer = Writer(cell="lstm", units=UNITS, embedding=EMBEDDING, attention="additive", attention_units=LOOKS)
    architecture = Architecture(
        head="sequence", outputs=VOCABULARY, vocabulary=VOCABULARY, embedding=EMBEDDING, pooling=(), writer=writer,
        encoder=Encoder(cell="lstm", units=UNITS // 2),
    )  # fmt: skip
    rng = np.random.default_rng(SEED)
    shapes = weight_shapes(architecture)
    weights = {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    weights["head.bias"][text.end] = -100.0
    codec = Seq2SeqCodec(text, text, Settings(beams=BEAMS))
    config = {"gatework": "0", "task": "translate", "architecture": architecture.to_dict()}
    write_bundle(
        path,
        config=config | {"decode": codec.settings.to_dict()},
        weights=store(weights, "int8").tensors,
        entries=codec.to_entries(),
    )


def random_sentences(count: int) -> list[str]:
    """Sentences of the random model."""
    rng = np.random.default_rng(SEED)
    return [" ".join(f"w{n}" for n in rng.integers(0, VOCABULARY - 3, rng.integers(*LENGTHS))) for _ in range(count)]


def torch_greedy(model: Any, sentences: Sequence[str], most: int) -> Callable[[], list[list[int]]]:
    """The same network by a plain batched loop; its call gives the ids of each target.

    Raises: ValueError: the network has something that is not written here.
    """
    import torch

    from gatework.runtime.tables import dense

    a, weights = model.bundle.architecture, model.bundle.weights
    writer = a.writer
    plain = a.encoder.layers == 1 and a.encoder.cell == "lstm" and a.encoder.bidirectional
    simple = writer.layers == 1 and writer.cell == "lstm" and writer.attention == "additive" and writer.shared
    if not (plain and simple and writer.tied) or writer.stepwise or writer.copy:
        raise ValueError("the loop here knows one BiLSTM layer, one writer layer and additive attention")

    def get(name: str) -> Any:
        return torch.from_numpy(np.array(dense(weights, name)))

    table, bias = get("embedding.weight"), get("head.bias")
    bias[0] = -torch.inf
    reader = torch.nn.LSTM(a.embedding, a.encoder.units, bidirectional=True)
    cell = torch.nn.LSTMCell(writer.embedding, writer.units)
    with torch.no_grad():
        for way, end in (("forward", ""), ("backward", "_reverse")):
            for ours, theirs in (("w_GI", "weight_ih"), ("r_GH", "weight_hh"), ("b_G", "bias_ih")):
                getattr(reader, f"{theirs}_l0{end}").copy_(get(f"encoder.0.{way}.{ours}"))
            getattr(reader, f"bias_hh_l0{end}").zero_()
        for ours, theirs in (("w_GI", "weight_ih"), ("r_GH", "weight_hh"), ("b_G", "bias_ih")):
            getattr(cell, theirs).copy_(get(f"writer.0.{ours}"))
        cell.bias_hh.zero_()
    bridges = [(get(f"writer.bridge.0.{part}.weight"), get(f"writer.bridge.0.{part}.bias")) for part in "hc"]
    q_AH, m_AP, b_A, v_A = (get(f"writer.attention.{name}") for name in ("q_AH", "m_AP", "b_A", "v_A"))
    out_EW, out_E = get("writer.output.weight"), get("writer.output.bias")
    ids = [torch.from_numpy(np.array(model.codec.encode(one).tokens, dtype=np.int64)) for one in sentences]
    order = sorted(range(len(ids)), key=lambda n: -len(ids[n]))
    batches = [order[at : at + 64] for at in range(0, len(order), 64)]

    @torch.no_grad()
    def one(batch: list[Any]) -> list[list[int]]:
        lengths = torch.tensor([len(row) for row in batch])
        x = torch.nn.utils.rnn.pack_padded_sequence(table[torch.nn.utils.rnn.pad_sequence(batch)], lengths)
        m, (last, _) = reader(x)
        m = torch.nn.utils.rnn.pad_packed_sequence(m)[0].transpose(0, 1)
        hidden = torch.arange(m.shape[1]) >= lengths[:, None]
        e, keys = torch.cat([last[0], last[1]], 1), m @ m_AP.T + b_A
        h, c = (torch.tanh(e @ w.T + b) for w, b in bridges)
        # The limits of `model.predict`: twice the source and ten more, at most `most`.
        token, limit = torch.full((len(batch),), 2), (2 * lengths + 10).clamp(max=most)
        ended, written = torch.zeros(len(batch), dtype=torch.bool), []
        for step in range(int(limit.max()) + 1):
            h, c = cell(table[token], (h, c))
            scores = torch.tanh((h @ q_AH.T)[:, None] + keys) @ v_A
            looked = torch.softmax(scores.masked_fill(hidden, -torch.inf), 1)
            context = (looked[:, None] @ m)[:, 0]
            o = torch.tanh(torch.cat([h, context], 1) @ out_EW.T + out_E)
            token = (o @ table.T + bias).argmax(1)
            ended |= (token == 2) | (step >= limit)
            if bool(ended.all()):
                break
            written.append(torch.where(ended, 2, token))
        rows = torch.stack(written, 1).tolist() if written else [[]] * len(batch)
        return [row[: row.index(2)] if 2 in row else row for row in rows]

    def run() -> list[list[int]]:
        found: list[list[int]] = [[]] * len(ids)
        for places in batches:
            for place, own in zip(places, one([ids[place] for place in places]), strict=True):
                found[place] = own
        return found

    return run


def ctranslate2_greedy(folder: Path, kind: str, threads: int, beams: int, sentences: Sequence[str]) -> Run:
    """A Transformer of random weights: 3 + 3 layers, 256 wide, one table of 8,000 tokens."""
    import ctranslate2
    from ctranslate2 import specs

    spec = specs.TransformerSpec.from_config((3, 3), 4)
    rng = np.random.default_rng(SEED)
    words = ["<blank>", "<unk>", "<s>", "</s>", *(f"w{n}" for n in range(VOCABULARY - 4))]

    def fill(part: Any, name: str = "") -> None:
        for key, value in vars(part).items():
            path = f"{name}.{key}"
            if isinstance(value, list):
                for place, inner in enumerate(value):
                    fill(inner, f"{path}.{place}")
            elif hasattr(value, "__dict__") and not isinstance(value, np.ndarray):
                fill(value, path)
            elif value is None and (shape := _shape(path)) is not None:
                setattr(part, key, rng.normal(0, 0.05, shape).astype(np.float32))

    def _shape(path: str) -> tuple[int, ...] | None:
        path, last = path.replace(".linear.", ".linear_"), path.split(".")[-1]
        if "layer_norm" in path:
            return (EMBEDDING,) if last in ("gamma", "beta") else None
        if "embeddings" in path or "projection" in path:
            return (VOCABULARY, EMBEDDING) if last == "weight" else (VOCABULARY,) if last == "bias" else None
        rows, columns = EMBEDDING, EMBEDDING
        if "linear_0" in path:
            rows = 4 * EMBEDDING if "ffn" in path else 3 * EMBEDDING if "self_attention" in path else EMBEDDING
        elif "linear_1" in path:
            columns = 4 * EMBEDDING if "ffn" in path else EMBEDDING
            rows = 2 * EMBEDDING if ".attention" in path else EMBEDDING
        return (rows, columns) if last == "weight" else (rows,) if last == "bias" else None

    fill(spec)
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.validate()
    folder.mkdir(parents=True)
    spec.save(str(folder))
    translator = ctranslate2.Translator(
        str(folder), device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads
    )
    split = [one.split() for one in sentences]
    length = round(statistics.fmean(map(len, split)))
    return lambda: translator.translate_batch(
        split, beam_size=beams, max_batch_size=64, min_decoding_length=length, max_decoding_length=length
    )


def contestants(path: Path, sentences: Sequence[str], threads: int, folder: Path, most: int) -> dict[str, Run]:
    """Batched translators by name; others are said to be left out."""
    import gatework as gw

    made: dict[str, Run] = {}
    for precision in PRECISIONS:
        model = gw.load(path, precision=precision)
        for beams in (1, BEAMS):
            asked = functools.partial(model.predict, list(sentences), beams=beams, max_tokens=most)
            made[f"gatework {precision}, {_named(beams)}"] = asked
    others: dict[str, tuple[str, Callable[[], Run]]] = {
        "torch float32, greedy": ("torch", lambda: torch_greedy(gw.load(path), sentences, most)),
    }
    for kind in ("float32", "int8"):
        for beams in (1, BEAMS):
            make = functools.partial(ctranslate2_greedy, folder / f"{kind}{beams}", kind, threads, beams, sentences)
            others[f"CTranslate2 Transformer {kind}, {_named(beams)}"] = "ctranslate2", make
    for name, (framework, start) in others.items():
        if reason := missing(framework):
            say(f"skipped: {name}: {reason}")
            continue
        try:
            made[name] = start()
            made[name]()
        except Exception as error:  # whatever a peer lacks here
            say(f"skipped: {name}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
            made.pop(name, None)
    return made


def _named(beams: int) -> str:
    return "greedy" if beams == 1 else f"{beams} beams"


def alone(path: Path, sentences: Sequence[str], most: int) -> None:
    """Prints latencies of one sentence at a time."""
    import gatework as gw

    for precision in PRECISIONS:
        model = gw.load(path, precision=precision)
        for beams in (1, BEAMS):
            spent = []
            for sentence in [*sentences[:20], *sentences[:ALONE]]:
                start = time.perf_counter()
                model.predict(sentence, beams=beams, max_tokens=most)
                spent.append(1e3 * (time.perf_counter() - start))
            middle, worst = np.percentile(spent[20:], [50, 99])
            print(f"gatework {precision}, {_named(beams)}, one sentence: {middle:8.2f} ms, 99 %: {worst:8.2f} ms")


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a translator's bundle; default: random weights")
    parser.add_argument("--text", type=Path, help="with --model: a file of sources, one a line")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--sentences", type=int, default=1000, help="default 1000")
    parser.add_argument("--seconds", type=float, default=30.0, help="time for the batched ones (default 30)")
    parser.add_argument("--quick", action="store_true", help="short measurements: a look, not a result")
    parser.add_argument("--out", type=Path, help="results file, added to; default results/translation_speed.json")
    arguments = parser.parse_args()
    if (arguments.model is None) != (arguments.text is None):
        parser.error("--model and --text go together")
    os.environ |= {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    seconds, patience = (1.0, 0.0) if arguments.quick else (arguments.seconds, 15.0)
    results = Results(arguments.out or Results.path("quick" if arguments.quick else "translation_speed"))
    quiet = timing.Quiet(arguments.threads, patience)
    results.peak(arguments.threads, quiet.best)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or Path(folder) / "random.gw"
        if arguments.model is None:
            random_model(path)
            sentences, most = random_sentences(arguments.sentences), sum(LENGTHS) // 2
        else:
            lines = arguments.text.read_text(encoding="utf-8").splitlines()
            sentences, most = [line for line in lines if line.strip()][: arguments.sentences], 1 << 20
        words = sum(len(one.split()) for one in sentences)
        case = arguments.model.name if arguments.model else f"random, {len(sentences)} sentences"
        runs = contestants(path, sentences, arguments.threads, Path(folder), most)
        share = quiet.wait()
        bursts = {name: functools.partial(timing.burst, run) for name, run in runs.items()}
        for name, taken in timing.interleave(bursts, seconds, rounds=2 if arguments.quick else 4).items():
            results.add("translation", arguments.threads, case, name, taken, quiet=share)
            print(f"{name:44} {words / taken.median:10,.0f} source words/s")
        alone(path, sentences, most)
    results.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
