"""A Hugging Face encoder folder: what it is, its weights under our names, its tokenizer files, its fingerprint.

    config.json          sizes and kind           tokenizer.json, or the older files (see `text.hugging_face`)
    model.safetensors    the weights; pickled weights are never read

Supported are encoders of the BERT family: post-layer-norm transformers with absolute positions (`model_type` bert,
which MiniLM and most Chinese models are, roberta, electra, distilbert).

Weights under our names (V pieces, e width of their vectors, P positions, H width, I inner width; every norm has .gain
and .shift, every other pair .weight and .bias; i counts layers from 0):

    bert.words.weight (V, e)           bert.positions.weight (P, e)    the vector of token type 0 is added to each
    bert.words.norm (e,)               bert.lift (H, e)                only where e is not H
    bert.<i>.attention (3 H, H)        rows of query, key, value; heads are consecutive rows of each
    bert.<i>.output (H, H)             bert.<i>.output.norm (H,)
    bert.<i>.inner (I, H)              bert.<i>.outer (H, I)           bert.<i>.outer.norm (H,)

Layer 0 of the hidden layers is what the first layer reads; layer i is what layer i - 1 above gives.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gatework.core import strict_json
from gatework.core.architecture import Bert
from gatework.core.errors import BundleError, ConfigError, DataError, nearest
from gatework.core.tensors import TensorFile, load_tensors

Float32 = npt.NDArray[np.float32]
CONFIG, WEIGHTS = "config.json", "model.safetensors"
COUNT = (CONFIG, WEIGHTS, "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt")
"""Files that decide what the model answers."""
PACKAGE = "package:"
"""`package:NAME` is the one model folder inside an installed Python package; none of the package's code is run."""
COPY = "Copy the whole folder of the model."
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}


@dataclass(frozen=True)
class _Family:
    """How one `model_type` names its sizes and weights."""

    prefix: str
    layer: str
    sizes: Mapping[str, str]
    names: Mapping[str, tuple[str, ...]]
    """Ours to theirs, inside a layer; three of theirs are put one below the other."""
    padded: bool = False
    """Positions count from the one after that of padding."""


_BERT_SIZES = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "activation": "hidden_act",
}
_BERT_NAMES = {
    "attention": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "output": ("attention.output.dense",),
    "output.norm": ("attention.output.LayerNorm",),
    "inner": ("intermediate.dense",),
    "outer": ("output.dense",),
    "outer.norm": ("output.LayerNorm",),
}
_DISTILBERT_SIZES = {
    "width": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "inner": "hidden_dim",
    "activation": "activation",
}
_DISTILBERT_NAMES = {
    "attention": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "output": ("attention.out_lin",),
    "output.norm": ("sa_layer_norm",),
    "inner": ("ffn.lin1",),
    "outer": ("ffn.lin2",),
    "outer.norm": ("output_layer_norm",),
}
FAMILIES: Mapping[str, _Family] = {
    "bert": _Family("bert.", "encoder.layer", _BERT_SIZES, _BERT_NAMES),
    "roberta": _Family("roberta.", "encoder.layer", _BERT_SIZES, _BERT_NAMES, padded=True),
    "electra": _Family("electra.", "encoder.layer", _BERT_SIZES, _BERT_NAMES),
    "distilbert": _Family("distilbert.", "transformer.layer", _DISTILBERT_SIZES, _DISTILBERT_NAMES),
}
"""By `model_type` of config.json."""


class BertFolder:
    """An opened folder. Weights are read when they are asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a folder, or `package:NAME`. Raises DataError: a file is missing, or the model is not supported."""
        self.path = resolve(os.fspath(path))
        self.name = os.fspath(path)
        """As it was given."""
        self.config = self.json(CONFIG)
        kind = self.config.get("model_type")
        if kind not in FAMILIES:
            raise DataError(
                f"{self.path / CONFIG}: model_type {str(kind)!r} is not supported. {nearest(str(kind), FAMILIES)} "
                "Use a post-layer-norm encoder of the BERT family."
            )
        self._family = FAMILIES[str(kind)]
        self._file(WEIGHTS)
        self.architecture = self._architecture()

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of the files that count."""
        digest = sha256()
        for name in COUNT:
            if self.has(name):
                digest.update(name.encode() + b"\0" + sha256((self.path / name).read_bytes()).digest())
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        """Whether the folder has a file of this name."""
        return (self.path / name).is_file()

    def lines(self, name: str) -> list[str]:
        """The lines of a text file. Raises DataError: it is not UTF-8."""
        try:
            with open(self._file(name), encoding="utf-8", newline="\n") as file:
                return [line.rstrip("\r\n") for line in file]
        except (OSError, UnicodeError) as error:
            raise DataError(f"{self.path / name}: cannot be read ({error}). {COPY}") from None

    def json(self, name: str) -> dict[str, Any]:
        """The object in a JSON file. Raises DataError."""
        path = self._file(name)
        try:
            values = strict_json.parse(path.read_bytes(), source=str(path))
        except BundleError as error:
            raise DataError(str(error)) from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from None
        if not isinstance(values, dict):
            raise DataError(f"{path}: expected an object. {COPY}")
        return values

    def weights(self, layers: int) -> dict[str, Float32]:
        """The weights that the first `layers` layers need, float32, by our names.

        Raises: DataError: one is missing, or has another shape than config.json says.
        """
        tensors = self._tensors
        own = self.architecture
        words, norm = self._pair("embeddings.LayerNorm", (own.embedding,))
        skipped = self._skipped()
        positions = self._tensor("embeddings.position_embeddings.weight", (skipped + own.positions, own.embedding))
        positions = positions[skipped:]
        kinds = self._find("embeddings.token_type_embeddings.weight")
        if kinds is not None:
            positions = positions + self._as_float(tensors, kinds)[0]
        found = {
            "bert.words.weight": self._tensor("embeddings.word_embeddings.weight", (own.vocabulary, own.embedding)),
            "bert.positions.weight": positions,
            "bert.words.norm.gain": words,
            "bert.words.norm.shift": norm,
        }
        if own.embedding != own.width:
            lift, bias = self._pair("embeddings_project", (own.width, own.embedding))
            found |= {"bert.lift.weight": lift, "bert.lift.bias": bias}
        for layer in range(layers):
            found |= self._layer(layer)
        return found

    def _layer(self, layer: int) -> dict[str, Float32]:
        own = self.architecture
        wide = {"inner": (own.inner, own.width), "outer": (own.width, own.inner)}
        found: dict[str, Float32] = {}
        for name, theirs in self._family.names.items():
            shape = (own.width,) if name.endswith("norm") else wide.get(name, (own.width, own.width))
            pairs = [self._pair(f"{self._family.layer}.{layer}.{one}", shape) for one in theirs]
            ends = ("gain", "shift") if name.endswith("norm") else ("weight", "bias")
            for end, parts in zip(ends, zip(*pairs, strict=True), strict=True):
                found[f"bert.{layer}.{name}.{end}"] = np.concatenate(parts)
        return found

    def _pair(self, name: str, shape: tuple[int, ...]) -> tuple[Float32, Float32]:
        """Weight and bias, whose older names are gamma and beta."""
        if self._find(f"{name}.gamma") is not None:
            return self._tensor(f"{name}.gamma", shape), self._tensor(f"{name}.beta", shape[:1])
        return self._tensor(f"{name}.weight", shape), self._tensor(f"{name}.bias", shape[:1])

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Float32:
        found = self._find(name)
        if found is None:
            raise DataError(f"{self.path / WEIGHTS}: the tensor {name!r} is missing. {COPY}")
        tensor = self._as_float(self._tensors, found)
        if tensor.shape != shape:
            raise DataError(
                f"{self.path / WEIGHTS}: {found} has shape {tensor.shape}, {CONFIG} says {shape}. "
                "The two are of different models: copy the folder again."
            )
        return tensor

    def _find(self, name: str) -> str | None:
        """The name of a tensor in the file, which may stand behind the prefix of a model with a head."""
        return next((one for one in (name, self._family.prefix + name) if one in self._tensors), None)

    @cached_property
    def _tensors(self) -> TensorFile:
        try:
            return load_tensors(self._file(WEIGHTS))
        except BundleError as error:
            raise DataError(str(error)) from None

    def _as_float(self, tensors: TensorFile, name: str) -> Float32:
        if tensors.slots[name].dtype not in ("F32", "F16", "BF16", "F64"):
            raise DataError(
                f"{self.path / WEIGHTS}: {name} is of type {tensors.slots[name].dtype}, no float. Save it as float32."
            )
        values = np.asarray(tensors[name], dtype=np.float32)
        if not np.isfinite(values).all():
            raise DataError(f"{self.path / WEIGHTS}: {name} holds NaN or infinity. {COPY}")
        return values

    def _skipped(self) -> int:
        """Rows of the table of positions before that of the first piece."""
        return int(self.config.get("pad_token_id", 1)) + 1 if self._family.padded else 0

    def _architecture(self) -> Bert:
        """Sizes of the whole model; every layer counted."""
        place = self.path / CONFIG
        config = self.config
        for key, wanted in (("position_embedding_type", "absolute"), ("is_decoder", False)):
            if config.get(key, wanted) != wanted:
                raise DataError(f"{place}: {key} is {config[key]!r}; supported is {wanted!r}. Use another model.")
        sizes: dict[str, Any] = {}
        theirs = {**self._family.sizes, "vocabulary": "vocab_size", "positions": "max_position_embeddings"}
        for name, key in theirs.items():
            if key not in config:
                raise DataError(f"{place}: {key} is missing. {COPY}")
            value = config[key]
            if name == "activation":
                if value not in ACTIVATIONS:
                    raise DataError(f"{place}: {key} {value!r} is not supported. {nearest(str(value), ACTIVATIONS)}")
                sizes[name] = ACTIVATIONS[value]
            elif type(value) is not int or not 1 <= value < 1 << 24:
                raise DataError(f"{place}: {key} must be a whole number from 1, got {str(value)[:40]!r}. {COPY}")
            else:
                sizes[name] = value
        sizes["positions"] -= self._skipped()
        if sizes["width"] % sizes["heads"]:
            raise DataError(f"{place}: {sizes['width']} units do not divide by {sizes['heads']} heads. {COPY}")
        if sizes["positions"] < 3:
            raise DataError(f"{place}: {sizes['positions']} positions are too few for a piece and its two ends. {COPY}")
        return Bert(
            **sizes,
            embedding=int(config.get("embedding_size", sizes["width"])) if self.config["model_type"] == "electra"
            else sizes["width"],
            epsilon=float(config.get("layer_norm_eps", 1e-12)),
            chosen=(sizes["layers"],),
        )  # fmt: skip

    def _file(self, name: str) -> Path:
        path = self.path / name
        if path.is_file():
            return path
        if name == WEIGHTS and (self.path / f"{WEIGHTS}.index.json").is_file():
            raise DataError(f"{path}: the weights are in several files. Save the model as one file.")
        if name == WEIGHTS and (self.path / "pytorch_model.bin").is_file():
            raise DataError(
                f"{path}: there is only pytorch_model.bin, a pickle, which is never read. Save the model as "
                "safetensors: transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)."
            )
        raise DataError(f"{path}: the file is missing. {COPY}")


def choose(whole: Bert, layers: Sequence[int], *, pieces: Literal["first", "mean"], inside: bool) -> Bert:
    """The part of a BERT that a network reads.

    Args:
        whole: the architecture of a folder.
        layers: hidden layers, from the end where negative; none for all but layer 0.
        pieces, inside: see `Bert`.
    Raises: ConfigError: there is no such layer, or one is named twice.
    """
    chosen = sorted(layer + whole.layers + 1 if layer < 0 else layer for layer in layers or range(1, whole.layers + 1))
    if len(set(chosen)) < len(chosen) or chosen[0] < 0 or not 1 <= chosen[-1] <= whole.layers:
        raise ConfigError(
            f"model.bert_layers {', '.join(map(str, layers))}: the model has layers 0 (what the first reads) to "
            f"{whole.layers}, or -1 (the last) to {-whole.layers - 1}. Name each once, and one above 0."
        )
    return replace(whole, layers=chosen[-1], chosen=tuple(chosen), pieces=pieces, inside=inside)


def resolve(name: str) -> Path:
    """The folder that `name` means: a path, or `package:NAME`. Raises DataError: there is none."""
    if not name.startswith(PACKAGE):
        path = Path(name).expanduser()
        if not path.is_dir():
            raise DataError(f"{name}: there is no such folder. Give the folder of a Hugging Face encoder.")
        return path
    package = name.removeprefix(PACKAGE)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    roots = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not roots:
        raise DataError(f"{name}: no such package is installed. Install it, or give the folder of the model.")
    found = sorted({folder for root in roots for folder in _model_folders(Path(root))})
    if len(found) != 1:
        raise DataError(f"{name}: {len(found)} model folders in the package, expected one. Give the folder itself.")
    return found[0]


def _model_folders(root: Path, depth: int = 2) -> Iterator[Path]:
    """Folders at or below `root` that hold a configuration and weights."""
    if (root / CONFIG).is_file() and (root / WEIGHTS).is_file():
        yield root
    if depth:
        for folder in sorted(path for path in root.iterdir() if path.is_dir()):
            yield from _model_folders(folder, depth - 1)
