"""The hidden layers of a frozen BERT, or the states of a language model, for every training token, computed once and
kept on disk.

    name.hidden.f16     L chosen layers x H each, float16, token after token in the order of the store `name`
    name.hidden.json    what they were computed from; written last, so that layers without it are not whole

They are computed by what will answer, `runtime.bert` or `runtime.states`, from the weights as the bundle will store
them, so that training sees what prediction sees but for the rounding to float16. A resumed run finds them again.

L layers, H width, T tokens of an example.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.bert_folder import BertFolder
from gatework.core.files import output_error
from gatework.core.quantize import dequantize, quantize
from gatework.core.states_bundle import StatesBundle
from gatework.core.tensors import from_bfloat16, to_bfloat16
from gatework.runtime.bert import BertEncoder
from gatework.runtime.states import StateEncoder

if TYPE_CHECKING:
    from gatework.tasks import Prepared
    from gatework.text import ExampleStore
    from gatework.text.contextual import AnyCutter

Float32 = npt.NDArray[np.float32]
Say = Callable[[str], None]
CHUNK_TOKENS = 8192
"""Tokens whose layers are computed at once."""


def attach_hidden_layers(prepared: Prepared, say: Say) -> None:
    """Give every store of `prepared` the hidden layers of its tokens, where the recipe has a frozen model for them.

    Raises: DataError: the folder or bundle is not what it was. OutputError: the disk is full.
    """
    frozen = _frozen(prepared)
    if frozen is None:
        return
    encoder: BertEncoder | StateEncoder | None = None
    stores = {"train": prepared.train, "dev": prepared.dev, "unlabelled": prepared.unlabelled}
    for name, store in stores.items():
        if store is None:
            continue
        key = sha256(frozen.made.encode() + store.pieces_digest()).hexdigest()
        if not store.attach_hidden(frozen.layers, frozen.width, key):
            encoder = encoder or frozen.open()
            say(f"{frozen.name}: hidden layers of the {int(store.lengths_N.sum()):,} tokens of {name}")
            _write(store, encoder, prepared.codec.pieces, key)
            store.attach_hidden(frozen.layers, frozen.width, key)


class _Frozen(NamedTuple):
    """Where hidden layers come from."""

    name: str
    layers: int
    width: int
    made: str
    """All that decides them but the tokens."""
    open: Callable[[], BertEncoder | StateEncoder]


def _frozen(prepared: Prepared) -> _Frozen | None:
    model, bert, states = prepared.recipe.model, prepared.architecture.bert, prepared.architecture.states
    storage = prepared.recipe.export.weights
    if bert is not None and model.bert is not None and not model.bert_trained:
        folder, kept = BertFolder(model.bert), storage if bert.inside else "fp32"
        return _Frozen(
            folder.name,
            len(bert.chosen),
            bert.width,
            json.dumps([folder.sha256, asdict(bert), kept]),
            lambda: BertEncoder.of(bert, as_stored(folder.weights(bert.layers), kept), source=str(folder.path)),
        )
    if states is not None and model.language_model is not None:
        bundle, kept = StatesBundle(model.language_model), storage if states.inside else "fp32"
        return _Frozen(
            bundle.name,
            1,
            states.width,
            json.dumps([bundle.sha256, kept]),
            lambda: StateEncoder.of(states, as_stored(bundle.weights(), kept)),
        )
    return None


def frozen_weights(prepared: Prepared) -> dict[str, Float32]:
    """The weights of what the recipe has and does not train; none where the bundle will not hold them."""
    model, states = prepared.recipe.model, prepared.architecture.states
    if states is not None and states.inside and model.language_model is not None:
        return StatesBundle(model.language_model).weights()
    return {} if model.bert_trained else bert_weights(prepared)


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


def _write(store: ExampleStore, encoder: BertEncoder | StateEncoder, cutter: AnyCutter, key: str) -> None:
    path, head = store.hidden_files()
    try:
        head.unlink(missing_ok=True)
        with open(path, "wb") as file:
            for chunk in _chunks(store.lengths_N):
                sequences = [one for one in (store.encoded(index).pieces for index in chunk) if one is not None]
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
