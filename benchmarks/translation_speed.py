"""Source words a second of a translator: `model.predict` against the same network in PyTorch, and a small Transformer.

    python -m benchmarks.translation_speed [--model mt.gw --text test.de] [--threads 2] [--sentences 1000] [--quick]

Batched: all sentences at once, greedy and with 5 beams. Alone: one sentence at a time, median and 99th percentile.
Without a model the weights are random (one BiLSTM layer of 2 x 256, a writer of 512, additive attention, 8,000 tokens)
and every target is cut at the length of its source, so that all contestants write as much.

PyTorch decodes the same weights by a plain batched loop (`torch_translator`), greedily. CTranslate2 runs a Transformer
of random weights and about as many numbers, int8 and float32, to the same lengths: its speed alone, its words mean
nothing.
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
from typing import Any, NamedTuple

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
ALONE, WARM, ROUNDS = 200, 20, 3


class Contestant(NamedTuple):
    """A translator that has its sentences."""

    all: Callable[[], object]
    """Translates all of them."""
    one: Callable[[int], object]
    """Translates one, by its place."""


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


def ctranslate2_random(folder: Path, kind: str, threads: int, beams: int, sentences: Sequence[str]) -> Contestant:
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
    whole = {"beam_size": beams, "max_batch_size": 64, "min_decoding_length": length, "max_decoding_length": length}

    def one(place: int) -> object:
        own = len(split[place])
        return translator.translate_batch(
            [split[place]], **whole | {"min_decoding_length": own, "max_decoding_length": own}
        )

    return Contestant(lambda: translator.translate_batch(split, **whole), one)


def contestants(path: Path, sentences: Sequence[str], threads: int, folder: Path, most: int) -> dict[str, Contestant]:
    """Translators by name; those that are missing are said to be left out."""
    import gatework as gw

    made: dict[str, Contestant] = {}
    for precision in PRECISIONS:
        for beams in (1, BEAMS):
            made[f"gatework {precision}, {_named(beams)}"] = _ours(
                gw.load(path, precision=precision), sentences, beams, most
            )
    others: dict[str, tuple[str, Callable[[], Contestant]]] = {
        "torch float32, greedy": ("torch", lambda: _torch(gw.load(path), sentences, most)),
    }
    for kind in ("float32", "int8"):
        for beams in (1, BEAMS):
            make = functools.partial(ctranslate2_random, folder / f"{kind}{beams}", kind, threads, beams, sentences)
            others[f"CTranslate2 Transformer {kind}, {_named(beams)}"] = "ctranslate2", make
    for name, (framework, start) in others.items():
        if reason := missing(framework):
            say(f"skipped: {name}: {reason}")
            continue
        try:
            made[name] = start()
            made[name].all()
        except Exception as error:  # whatever a peer lacks here
            say(f"skipped: {name}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
            made.pop(name, None)
    return made


def _ours(model: Any, sentences: Sequence[str], beams: int, most: int) -> Contestant:
    def translate(asked: Any) -> object:
        return model.predict(asked, beams=beams, max_tokens=most)

    return Contestant(lambda: translate(list(sentences)), lambda place: translate(sentences[place]))


def _torch(model: Any, sentences: Sequence[str], most: int) -> Contestant:
    from benchmarks.torch_translator import TorchTranslator

    translator = TorchTranslator(model)
    return Contestant(lambda: translator.all(sentences, most), lambda place: translator.all([sentences[place]], most))


def _named(beams: int) -> str:
    return "greedy" if beams == 1 else f"{beams} beams"


def latencies(run: Callable[[int], object], count: int) -> list[float]:
    """Seconds for each of the first sentences alone, once a few have gone before."""
    spent = []
    for place in [*range(min(count, WARM)), *range(count)]:
        start = time.perf_counter()
        run(place)
        spent.append(time.perf_counter() - start)
    return spent[-count:]


def alone(runs: dict[str, Contestant], count: int) -> dict[str, tuple[timing.Timing, float]]:
    """Seconds for one sentence at a time: each contestant's, and the 99th percentile."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            spent[name] += latencies(run.one, count)
    found = {}
    for name, seconds in spent.items():
        found[name] = timing.summary([(one, one) for one in seconds]), float(np.percentile(seconds, 99))
    return found


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
        bursts = {name: functools.partial(timing.burst, run.all) for name, run in runs.items()}
        for name, taken in timing.interleave(bursts, seconds, rounds=2 if arguments.quick else 4).items():
            results.add("translation", arguments.threads, case, name, taken, quiet=share)
            print(f"{name:44} {words / taken.median:10,.0f} source words/s")
        for name, (taken, worst) in alone(runs, min(ALONE, len(sentences))).items():
            results.add("one sentence", arguments.threads, case, name, taken, quiet=share)
            results.add("one sentence, 99 %", arguments.threads, case, name, taken._replace(median=worst), quiet=share)
            print(f"{name:44} {1e3 * taken.median:8.2f} ms a sentence, 99 %: {1e3 * worst:8.2f} ms")
        results.about["words"] = words
    results.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
