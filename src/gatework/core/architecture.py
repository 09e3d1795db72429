"""The shape of a network, as `nn` builds it for training and `runtime` for answering.

Everything here is plain data: it is written to `config.json` of a bundle and read back without pydantic, so that a
cold start stays short. A recipe says what the user asked for; an architecture says what came of it, with every
size known.

Weights carry these names (shapes beside them; V vocabulary, E embedding, H units, G gates x H, D directions,
R n-gram rows, C outputs, P pooled width):

    embedding.weight                      (V, E)
    characters.embedding.weight           (K, e)
    characters.convolution.weight         (F, e, width)      of the CNN, see `nn.characters` for its padding
    characters.convolution.bias           (F,)
    characters.<forward|backward>.<parameter of the cell lstm>             of the BiLSTM
    encoder.<layer>.<forward|backward>.<parameter of the cell>     as the cell names them: w_GI, r_GH, b_G ...
    attention.w_AP (A, D*H), attention.b_A (A,), attention.v_A (A,)
    ngrams.weight                         (R, C)      one row of logits an n-gram
    head.weight (C, P), head.bias (C,)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from gatework.core.errors import BundleError

Pooling = Literal["last", "mean", "max", "attention"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Characters:
    """Character composition of a word vector: the word's characters, through a CNN or a BiLSTM."""

    kind: Literal["cnn", "bilstm"]
    vocabulary: int
    embedding: int
    units: int
    """Filters of the CNN in all, or units of each direction of the BiLSTM."""
    width: int = 3
    """Characters a CNN filter sees."""

    @property
    def outputs(self) -> int:
        return self.units if self.kind == "cnn" else 2 * self.units


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A stack of recurrent layers."""

    cell: str
    units: int
    layers: int = 1
    bidirectional: bool = True
    residual: bool = False
    projection: int = 0
    """Width of the recurrent projection; 0 for none (cells that have one)."""

    @property
    def outputs(self) -> int:
        return (self.projection or self.units) * (2 if self.bidirectional else 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Tokens in, one vector of logits a sequence out."""

    head: Literal["per_sequence"]
    outputs: int
    vocabulary: int
    embedding: int
    encoder: Encoder
    pooling: tuple[Pooling, ...]
    characters: Characters | None = None
    ngram_rows: int = 0
    """Rows of the n-gram table; 0 turns the side features off."""
    attention: int = 0
    """Width of the additive attention, where `pooling` has it."""
    window: int = 256
    """Tokens the encoder sees at once; longer sequences are read in windows of this length."""

    @property
    def pooled(self) -> int:
        return self.encoder.outputs * len(self.pooling)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, source: str) -> Architecture:
        """Read what `to_dict` wrote. Raises BundleError naming `source` and the offending entry."""
        own = _checked(cls, values, source)
        own["encoder"] = Encoder(**_checked(Encoder, own["encoder"], f"{source}: encoder"))
        if own.get("characters") is not None:
            own["characters"] = Characters(**_checked(Characters, own["characters"], f"{source}: characters"))
        own["pooling"] = tuple(own["pooling"])
        return cls(**own)


def _checked(kind: type, values: Any, source: str) -> dict[str, Any]:
    """`values` as a dictionary whose keys are fields of `kind` and whose sizes are sane."""
    if not isinstance(values, dict):
        raise BundleError(f"{source}: expected an object, got {type(values).__name__}. Export the model again.")
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown:
        raise BundleError(f"{source}: unknown entry {sorted(unknown)[0]!r}. Was it made by a newer gatework?")
    for name, value in values.items():
        if isinstance(value, int) and not isinstance(value, bool) and not 0 <= value < 2**31:
            raise BundleError(f"{source}: {name} is {value}, outside [0, 2^31). Export the model again.")
    return dict(values)
