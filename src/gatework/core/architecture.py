"""The shape of a network, as `nn` builds it for training and `runtime` for answering.

Everything here is plain data: it is written to `config.json` of a bundle and read back without pydantic, so that a
cold start stays short. A recipe says what the user asked for; an architecture says what came of it, with every
size known.

Weights carry these names (shapes beside them; V vocabulary, E embedding, H units, G gates x H, D directions,
R n-gram rows, L width of their vectors, C outputs, P pooled width):

    embedding.weight                      (V, E)
    characters.embedding.weight           (K, e)
    characters.convolution.weight         (F, e, width)      of the CNN, see `nn.characters` for its padding
    characters.convolution.bias           (F,)
    characters.<forward|backward>.<parameter of the cell lstm>             of the BiLSTM
    encoder.<layer>.<forward|backward>.<parameter of the cell>     as the cell names them: w_GI, r_GH, b_G ...
    attention.w_AP (A, D*H), attention.b_A (A,), attention.v_A (A,)
    ngrams.weight                         (R, C)      one row of logits an n-gram
    local.weight                          (R + 1, L)  vectors of n-grams beside the token vectors; row 0 is zero
    head.weight (C, P), head.bias (C,)
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, get_args

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
    ngram_embedding: int = 0
    """Width of the vectors of longer n-grams that join the token vectors; 0 for none."""
    attention: int = 0
    """Width of the additive attention, where `pooling` has it."""
    window: int = 256
    """Tokens the encoder sees at once; longer sequences are read in windows of this length."""

    @property
    def encoder_inputs(self) -> int:
        """Width of what the encoder reads at each token."""
        return self.embedding + self.ngram_embedding + (self.characters.outputs if self.characters else 0)

    @property
    def pooled(self) -> int:
        return self.encoder.outputs * len(self.pooling)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, *, source: str) -> Architecture:
        """Read what `to_dict` wrote. Raises BundleError naming `source` and the offending entry."""
        own = _checked(cls, values, source)
        own["encoder"] = Encoder(**_checked(Encoder, own["encoder"], f"{source}: encoder"))
        if own.get("characters") is not None:
            own["characters"] = Characters(**_checked(Characters, own["characters"], f"{source}: characters"))
        pooling = own["pooling"]
        kinds = get_args(Pooling)
        if not isinstance(pooling, list | tuple) or not pooling or not all(kind in kinds for kind in pooling):
            raise BundleError(f"{source}: pooling must name some of {', '.join(kinds)}. Export the model again.")
        own["pooling"] = tuple(pooling)
        if ("attention" in pooling) != (own.get("attention", 0) > 0) or len(pooling) > len(kinds):
            raise BundleError(f"{source}: attention and pooling do not fit each other. Export the model again.")
        if own.get("ngram_embedding", 0) and not own.get("ngram_rows", 0):
            raise BundleError(f"{source}: ngram_embedding without ngram_rows. Export the model again.")
        return cls(**own)


_CHOICES = {"head": ("per_sequence",), "kind": ("cnn", "bilstm")}
_MAY_BE_ZERO = {"projection", "ngram_rows", "ngram_embedding", "attention"}
_MOST_LAYERS = 1000
_TYPES: dict[str, type] = {"int": int, "bool": bool, "str": str}


def _checked(kind: type, values: Any, source: str) -> dict[str, Any]:
    """`values` as a dictionary whose keys are fields of `kind` and whose plain values have their type and range."""
    if not isinstance(values, dict):
        raise BundleError(f"{source}: expected an object, got {type(values).__name__}. Export the model again.")
    known = {field.name: field for field in fields(kind)}
    if unknown := set(values) - set(known):
        raise BundleError(f"{source}: unknown entry {min(unknown)[:80]!r}. Was it made by a newer gatework?")
    needed = {name for name, field in known.items() if field.default is MISSING}
    if missing := needed - set(values):
        raise BundleError(f"{source}: {min(missing)} is missing. Export the model again.")
    for name, value in values.items():
        wanted = _TYPES.get(str(known[name].type))
        if wanted is not None and type(value) is not wanted:
            raise BundleError(f"{source}: {name} must be of type {wanted.__name__}, got {str(value)[:40]!r}.")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise BundleError(f"{source}: {name} must be one of {', '.join(_CHOICES[name])}. Export the model again.")
        if wanted is int:
            low, high = int(name not in _MAY_BE_ZERO), _MOST_LAYERS if name == "layers" else 2**31 - 1
            if not low <= value <= high:
                raise BundleError(f"{source}: {name} is {str(value)[:40]}, outside [{low}, {high}]. Export it again.")
    return dict(values)
