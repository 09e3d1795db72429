"""The hidden layers of a frozen BERT for every training token, computed once and kept on disk.

    name.hidden.f16     L chosen layers x H each, float16, token after token in the order of the store `name`
    name.hidden.json    what they were computed from; written last, so that layers without it are not whole

They are computed by what will answer, `runtime.bert`, from the weights as the bundle will store them, so that training
sees what prediction sees but for the rounding to float16. A run that is resumed finds them again.

L layers, H width, T tokens of an example.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gatework.core.bert_folder import BertFolder
from gatework.core.files import output_error
from gatework.core.quantize import dequantize, quantize
from gatework.core.tensors import from_bfloat16, to_bfloat16
from gatework.runtime.bert import BertEncoder

if TYPE_CHECKING:
    from gatework.tasks import Prepared
    from gatework.text import ExampleStore
    from gatework.text.pieces import PieceCutter

Float32 = npt.NDArray[np.float32]
Say = Callable[[str], None]
CHUNK_TOKENS = 8192
"""Tokens whose layers are computed at once."""


def attach_hidden_layers(prepared: Prepared, say: Say) -> None:
    """Give every store of `prepared` the hidden layers of its tokens, where the recipe has a frozen BERT.

    Raises: DataError: the folder is not what it was. OutputError: the disk is full.
    """
    model, bert = prepared.recipe.model, prepared.architecture.bert
    if bert is None or model.bert is None or model.bert_trained:
        return
    folder = BertFolder(model.bert)
    storage = prepared.recipe.export.weights if bert.inside else "fp32"
    made = json.dumps([folder.sha256, asdict(bert), storage])
    encoder: BertEncoder | None = None
    stores = {"train": prepared.train, "dev": prepared.dev, "unlabelled": prepared.unlabelled}
    for name, store in stores.items():
        if store is None:
            continue
        key = sha256(made.encode() + store.pieces_digest()).hexdigest()
        if not store.attach_hidden(len(bert.chosen), bert.width, key):
            if encoder is None:
                encoder = BertEncoder.of(bert, as_stored(folder.weights(bert.layers), storage), source=str(folder.path))
            say(f"{folder.name}: hidden layers of the {int(store.lengths_N.sum()):,} tokens of {name}")
            _write(store, encoder, prepared.codec.bert, key)
            store.attach_hidden(len(bert.chosen), bert.width, key)


def bert_weights(prepared: Prepared) -> dict[str, Float32]:
    """The weights of the recipe's BERT as they lie in its folder; none where the bundle will not hold them."""
    bert, name = prepared.architecture.bert, prepared.recipe.model.bert
    return {} if bert is None or name is None or not bert.inside else BertFolder(name).weights(bert.layers)


def as_stored(weights: Mapping[str, Float32], storage: str) -> dict[str, Float32]:
    """The weights with the rounding of their storage in a bundle: fp32, bf16 or int8."""

    def rounded(array: Float32) -> Float32:
        if array.ndim < 2 or storage == "fp32":
            return array
        return dequantize(*quantize(array)) if storage == "int8" else from_bfloat16(to_bfloat16(array))

    return {name: rounded(array) for name, array in weights.items()}


def _write(store: ExampleStore, encoder: BertEncoder, cutter: PieceCutter, key: str) -> None:
    path, head = store.hidden_files()
    try:
        head.unlink(missing_ok=True)
        with open(path, "wb") as file:
            for chunk in _chunks(store.lengths_N):
                sequences = [one for one in (store.encoded(index).bert for index in chunk) if one is not None]
                hidden_NLH = encoder.hidden(cutter.collate(sequences))
                file.write(np.ascontiguousarray(hidden_NLH, dtype="<f2").data)
        head.write_text(json.dumps({"key": key}), encoding="utf-8")
    except OSError as error:
        raise output_error(path, error) from error


def _chunks(lengths_N: npt.NDArray[np.int64]) -> Iterator[range]:
    """Examples one after the other, at most CHUNK_TOKENS or one example at a time."""
    ends_N = np.cumsum(lengths_N)
    start = 0
    while start < len(ends_N):
        before = int(ends_N[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends_N, before + CHUNK_TOKENS, side="right")))
        yield range(start, stop)
        start = stop
