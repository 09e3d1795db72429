"""What the gates of a model did over a text: its encoder once more, step by step, by the equations of `cells`.

    x_t = what the encoder reads of token t;   state_t, gates_t = cell.look(x_t, state_(t-1))    layer after layer

Exact, from the weights as the bundle stores them, and slow beside the kernels: for a text that a person looks at.

T tokens, I inputs, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.cells import CELLS
from gatework.core.errors import ConfigError, DataError
from gatework.core.windows import cut
from gatework.runtime.tables import dense

if TYPE_CHECKING:
    from gatework.runtime.model import Model

Float32 = npt.NDArray[np.float32]

MOST_TOKENS = 512
"""Of a text, that are followed."""


@dataclass(frozen=True, kw_only=True)
class Activations:
    """What one direction of one layer did."""

    layer: int
    """From 0, the lowest."""
    direction: str
    """"forward" or "backward"; rows are in the order of the text either way."""
    values: dict[str, Float32]
    """(T, H) by name: each gate as it acted, then `c`, where the cell has one, and its output `h` (T, width of h)."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The gates of all layers over a text."""

    cell: str
    tokens: tuple[str, ...]
    """As they stand in the text."""
    offsets: tuple[tuple[int, int], ...]
    """Where they stand in the caller's string; none where the model's tokens have no place there."""
    layers: tuple[Activations, ...]
    left_out: int
    """Tokens of the text past those that were followed."""

    def to_dict(self, *, most_units: int = 48) -> dict[str, Any]:
        """Plain data for a picture: of each layer the units whose output varies most over the text.

        Args:
            most_units: at most so many units a layer, in their own order.
        """
        return {
            "cell": self.cell,
            "tokens": list(self.tokens),
            "offsets": [list(place) for place in self.offsets],
            "left_out": self.left_out,
            "layers": [_picture(one, most_units) for one in self.layers],
        }


def follows(model: Model) -> bool:
    """Whether the encoder of a model has gates."""
    return model.bundle.architecture.encoder.network == "recurrent"


class _Read:
    """What the encoder reads of a text."""

    def __init__(
        self,
        tokens: Sequence[str],
        offsets: Sequence[tuple[int, int]],
        parts: Sequence[Float32],
        left_out: int,
        edge_1I: Float32 | None = None,
    ) -> None:
        self.tokens, self.offsets, self.left_out = tuple(tokens), tuple(offsets), left_out
        self.parts = parts
        """Vectors (T, I) of stretches of the text that are read apart from one another."""
        self.edge_1I = edge_1I
        """What is read before the first token, in either direction."""


def trace(model: Model, text: str, *, limit: int = MOST_TOKENS) -> Trace:
    """The gates of a model's encoder over a text.

    Args:
        model: of any task.
        text: a string; its first `limit` tokens are followed, as a text of their own.
        limit: at least 1.
    Raises: ConfigError: the limit is below 1, or the encoder is not recurrent. DataError: not a string, or nothing to
        read.
    """
    if not isinstance(text, str):
        raise DataError(f"trace: a text must be a string, got {type(text).__name__}.")
    if limit < 1:
        raise ConfigError(f"trace: limit must be at least 1, got {limit}.")
    if not follows(model):
        raise ConfigError("trace: the encoder is a transformer, which has no gates.")
    read = _READERS[model.bundle.architecture.head](model, text, limit)
    if not read.tokens:
        raise DataError("trace: the text has nothing to read. Give one with words.")
    found: dict[tuple[int, str], list[dict[str, Float32]]] = {}
    for x_TI in read.parts:
        for key, values in _follow(model, x_TI, read.edge_1I).items():
            found.setdefault(key, []).append(values)
    layers = tuple(
        Activations(
            layer=layer,
            direction=way,
            values={name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        )
        for (layer, way), parts in found.items()
    )
    cell = model.bundle.architecture.encoder.cell
    return Trace(cell=cell, tokens=read.tokens, offsets=read.offsets, layers=layers, left_out=read.left_out)


def _follow(model: Model, x_TI: Float32, edge_1I: Float32 | None) -> dict[tuple[int, str], dict[str, Float32]]:
    """Values of all layers and directions over one stretch."""
    a = model.bundle.architecture
    if a.language is None:
        return _stack(model, a.directions, x_TI)
    # The directions of a language model are networks of their own; those of other encoders join after each layer.
    assert edge_1I is not None
    found: dict[tuple[int, str], dict[str, Float32]] = {}
    for way in a.language.directions:
        forward = way == "forward"
        values = _stack(model, (way,), np.concatenate([edge_1I, x_TI] if forward else [x_TI, edge_1I]))
        own = slice(1, None) if forward else slice(None, -1)
        found |= {key: {name: rows[own] for name, rows in one.items()} for key, one in values.items()}
    return found


def _stack(model: Model, ways: Sequence[str], x_TI: Float32) -> dict[tuple[int, str], dict[str, Float32]]:
    """Values of layers whose directions join."""
    encoder = model.bundle.architecture.encoder
    found: dict[tuple[int, str], dict[str, Float32]] = {}
    for layer in range(encoder.layers):
        for way in ways:
            found[layer, way] = _layer(model, layer, way, x_TI)
        y_TP = np.concatenate([found[layer, way]["h"] for way in ways], axis=1)
        x_TI = y_TP + x_TI if encoder.residual and y_TP.shape == x_TI.shape else y_TP
    return found


def _layer(model: Model, layer: int, way: str, x_TI: Float32) -> dict[str, Float32]:
    """Gates and states of one direction of a layer, (T, H) each, by name."""
    encoder, weights = model.bundle.architecture.encoder, model.bundle.weights
    cell = CELLS[encoder.cell]
    p = cell.params({name: dense(weights, f"encoder.{layer}.{way}.{name}") for name in cell.Params._fields})
    state = cell.initial_state(np, 1, encoder.units, encoder.projection, dtype=np.float32)
    names = [field.partition("_")[0] for field in cell.State._fields]
    rows: dict[str, list[Float32]] = {name: [] for name in (*cell.gates, *names[1:], names[0])}
    for x_I in x_TI if way == "forward" else x_TI[::-1]:
        state, acted = cell.look(np, x_I[None], state, p)
        # The one gate of an RNN is its state: one entry.
        for name, value in {
            **dict(zip(cell.gates, acted, strict=True)),
            **dict(zip(names, state, strict=True)),
        }.items():
            rows[name].append(value[0])
    turned = 1 if way == "forward" else -1
    return {name: np.stack(values)[::turned] for name, values in rows.items()}


def _read_sequence(model: Model, text: str, limit: int) -> _Read:
    """Of a classifier."""
    codec = model.codec.text  # type: ignore[attr-defined]
    offsets = codec.offsets(text)
    most = min(limit, model.bundle.architecture.window)
    kept = offsets[:most]
    x_TWI = model.network.vectors(codec.collate([codec.encode(text, most)]))
    return _Read([text[start:end] for start, end in kept], kept, [x_TWI[:, 0]], len(offsets) - len(kept))


def _read_steps(model: Model, text: str, limit: int) -> _Read:
    """Of a tagger, sentence by sentence."""
    codec: Any = model.codec
    example = codec.encode(text)
    tokens: list[str] = []
    offsets: list[tuple[int, int]] = []
    vectors: list[Float32] = []
    limit = min(limit, model.bundle.architecture.window)
    for part, encoded in zip(example.parts, example.encoded, strict=True):
        if count := min(limit - len(tokens), len(part.surfaces)):
            vectors.append(model.network.vectors(codec.collate([cut(encoded, 0, count)]))[:, 0])
            tokens += part.surfaces[:count]
            offsets += part.offsets[:count]
    return _Read(tokens, offsets, vectors, sum(len(part.surfaces) for part in example.parts) - len(tokens))


def _read_language(model: Model, text: str, limit: int) -> _Read:
    """Of a language model: the end of the document before, and then the text."""
    codec: Any = model.codec
    ids_T = codec.encode(text)
    kept_T = ids_T[:limit]
    pieces = [codec.text.raw[one].decode("utf-8", "replace") for one in kept_T.tolist()]
    edge_1I = model.network.vectors(np.array([codec.text.end]))
    return _Read(pieces, (), [model.network.vectors(kept_T)], len(ids_T) - len(kept_T), edge_1I)


def _read_source(model: Model, text: str, limit: int) -> _Read:
    """Of what reads a source, its end included where it is near enough."""
    codec: Any = model.codec
    source = codec.encode(text)
    tokens = codec.source_tokens(source)[:limit] if source.text else ()
    left_out = len(source.tokens) - len(tokens) + source.left_out
    return _Read(tokens, (), [model.network.model.vectors(source.tokens[:limit])], left_out)


_READERS = {
    "per_sequence": _read_sequence,
    "per_step": _read_steps,
    "next_token": _read_language,
    "sequence": _read_source,
}


def _picture(one: Activations, most_units: int) -> dict[str, Any]:
    """The units of a layer that vary most, to three digits."""
    h_TH = one.values["h"]
    units = np.sort(np.argsort(-h_TH.std(axis=0), kind="stable")[:most_units])
    values = {
        name: np.round(value_TH[:, units], 3).T.tolist()
        for name, value_TH in one.values.items()
        if value_TH.shape[1] == h_TH.shape[1]
    }
    means = {name: np.round(value_TH.mean(axis=1), 3).tolist() for name, value_TH in one.values.items()}
    return {
        "layer": one.layer,
        "direction": one.direction,
        "units": units.tolist(),
        "values": values,
        "means": means,
    }
