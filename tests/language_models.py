"""Small language models with random weights, and their definition in float64, for tests of scoring and generation."""

from dataclasses import replace

import numpy as np

from gatework.core.architecture import Architecture, Encoder, LanguageModel
from gatework.core.bundle import write_bundle
from gatework.core.recipe import InputSection
from gatework.core.tensors import parse_tensors, tensor_chunks
from gatework.export.storage import store
from gatework.runtime import language_model
from gatework.runtime.language_state import END
from gatework.runtime.shapes import weight_shapes
from gatework.tasks.lm.codec import Settings
from gatework.text.running import RunningCodec
from oracles import run

CASES = {
    "tied": {},
    "tied and projected": {"embedding": 5},
    "untied": {"language": {"tied": False}},
    "two layers": {"encoder": {"layers": 2}},
    "residual from the start": {"encoder": {"layers": 2, "residual": True}},
    "residual": {"embedding": 5, "encoder": {"layers": 3, "residual": True}},
    "gru": {"encoder": {"cell": "gru"}},
    "projection": {"encoder": {"cell": "lstm-projection", "projection": 6}},
    "clusters": {"language": {"cutoffs": (6, 11)}},
    "clusters, untied": {"embedding": 5, "language": {"tied": False, "cutoffs": (4,)}},
    "both directions": {"embedding": 5, "language": {"directions": ("forward", "backward")}},
    "backward": {"language": {"directions": ("backward",)}},
    "one word": {"vocabulary": 4},
}


def language_architecture(*, language=None, encoder=None, vocabulary=17, embedding=8, **changes):
    """A small architecture; `language`, `encoder` and the rest change fields of it."""
    return replace(
        Architecture(
            head="next_token",
            outputs=vocabulary,
            vocabulary=vocabulary,
            embedding=embedding,
            encoder=replace(Encoder(cell="lstm", units=8, bidirectional=False), **(encoder or {})),
            pooling=(),
            language=replace(LanguageModel(directions=("forward",)), **(language or {})),
        ),
        **changes,
    )


def language_weights(architecture, seed=0, scale=0.7):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in weight_shapes(architecture).items()}


def tensor_file(weights, storage="fp32"):
    """Weights as a bundle holds them."""
    stored = store(weights, storage)
    raw = b"".join(bytes(chunk) for chunk in tensor_chunks(stored.tensors, bfloat16=stored.bfloat16))
    return parse_tensors(memoryview(raw), source="weights", max_header=1 << 20)


def language_model_of(architecture, weights, *, storage="fp32", **options):
    return language_model.LanguageModel(architecture, tensor_file(weights, storage), source="small.gw", **options)


def log_p(architecture, weights, ids, direction="forward"):
    """log p of every token after each of `ids`, by the equations of `core.architecture` in float64, (T, V)."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    encoder, language = architecture.encoder, architecture.language
    x_TBI = w["embedding.weight"][np.asarray(ids, dtype=np.int64)][:, None]
    for layer in range(encoder.layers):
        prefix = f"encoder.{layer}.{direction}."
        p = {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}
        width = encoder.projection or encoder.units
        state = {"h": np.zeros((1, width))}
        if encoder.cell.startswith("lstm"):
            state["c"] = np.zeros((1, encoder.units))
        y_TBP = run(encoder.cell, x_TBI, np.array([len(ids)]), p, state)[0]
        x_TBI = y_TBP + x_TBI if encoder.residual and y_TBP.shape == x_TBI.shape else y_TBP
    o_TW = x_TBI[:, 0] @ w.get(f"head.{direction}.projection", np.eye(x_TBI.shape[2])).T
    table = w["embedding.weight" if language.tied else "head.weight"]
    logits = o_TW @ table.T + w["head.bias"]
    logits[:, 0] = -np.inf
    if not language.cutoffs:
        return log_softmax(logits)
    first = language.cutoffs[0]
    clusters = o_TW @ w["head.cluster.weight"].T + w["head.cluster.bias"]
    top = log_softmax(np.concatenate([logits[:, :first], clusters], axis=1))
    tails = np.split(logits[:, first:], np.subtract(language.cutoffs[1:], first), axis=1)
    parts = [top[:, [first + place]] + log_softmax(tail) for place, tail in enumerate(tails)]
    return np.concatenate([top[:, :first], *parts], axis=1)


def log_softmax(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def nats(architecture, weights, ids, direction="forward"):
    """-log p of each of `ids`, from the end of a document on, in float64."""
    rows = log_p(architecture, weights, [END, *ids[:-1]], direction)
    return -rows[np.arange(len(ids)), ids]


TEXT = "the cat sat on the mat\nthe dog ran to the cat\néa dog, a cat: 一只猫\n"


def write_model(path, *, unit="char", scale=0.7, documents="line", text=TEXT, seed=0, lowercase=False, **changes):
    """A bundle whose codec is fitted to a text; the codec, the architecture and the weights."""
    settings = InputSection(unit=unit, min_count=1, lowercase=lowercase, fold_width=False, subwords=60)
    codec = RunningCodec.fit(lambda: [text] * (1 if unit in ("char", "word") else 40), settings)
    architecture = language_architecture(vocabulary=codec.vocabulary, **changes)
    arrays = language_weights(architecture, seed=seed, scale=scale)
    decode = Settings(documents=documents, carry=documents == "file").to_dict()
    write_bundle(
        path,
        config={"gatework": "0", "task": "lm", "architecture": architecture.to_dict(), "decode": decode},
        weights=store(arrays, "fp32").tensors,
        entries=codec.to_entries(),
    )
    return codec, architecture, arrays
