"""The shape of a network, as `nn` builds it for training and `runtime` for answering.

Everything here is plain data: it is written to `config.json` of a bundle and read back without pydantic, so that a
cold start stays short. A recipe says what the user asked for; an architecture says what came of it, with every
size known.

Weights carry these names (shapes beside them; V vocabulary, E embedding, H units, G gates x H, D directions,
R n-gram rows, L width of their vectors, C outputs, P width of what the head reads):

    embedding.weight                      (V, E)
    characters.embedding.weight           (K, e)
    characters.convolution.weight         (F, e, width)      of the CNN, see `nn.characters` for its padding
    characters.convolution.bias           (F,)
    characters.<forward|backward>.<parameter of the cell lstm>             of the BiLSTM
    encoder.<layer>.<forward|backward>.<parameter of the cell>     as the cell names them: w_GI, r_GH, b_G ...
    encoder.*                                 of a transformer: see `core.transformer`
    attention.w_AP (A, D*H), attention.b_A (A,), attention.v_A (A,)
    ngrams.weight                         (R, C)      one row of logits an n-gram; with the head per_sequence
    local.weight                          (R + 1, L)  vectors of n-grams beside the token vectors; row 0 is zero
    lexicon.weight                        (lexicon rows + 1, width)  vectors of a lexicon's words; row 0 is zero
    bert.*                                see `core.bert_folder`; only where the bundle holds them
    bert.mix (L,), bert.gamma (1,)        scores of L chosen hidden layers, and their scale; with two layers and more
    states.*                              see `core.states_bundle`; only where the bundle holds them
    states.projection.weight (Q, S), states.projection.bias (Q,)     what states S wide are brought to, where Q is not 0
    head.weight (C, P), head.bias (C,)
    head.<forward|backward>.projection    (E, P)      of a tied head next_token, where P is not E
    head.cluster.weight (K, W), head.cluster.bias (K,)    of a head next_token with K cutoffs
    crf.transitions (C, C) from row to column, crf.start (C,), crf.end (C,)      with the decoder crf
    also.<i>.weight, .bias, and with the decoder crf .transitions, .start, .end  the same of a further tag layer, from 0

A head per_sequence reads what pooling makes of a sequence, P = D*H times the poolings; a head per_step reads the
encoder's outputs at each token, P = D*H.

A head next_token is a language model: C = V, and each direction is a stack of its own, whose layers read only their own
direction, D = 1. All share the embedding and the output table, which is head.weight (V, P), or where `tied`
embedding.weight (V, E), so there is no head.weight then. With o the encoder's output at a token, through the
projection where there is one, W values wide, W = P or (tied) E:

    logit[v] = table[v] . o + head.bias[v];    logit[0] = -inf: padding is never predicted

With cutoffs c1 < ... < cK (adaptive softmax) the ids below c1 share one softmax with K clusters, and the ids from ci up
to the next cutoff have one of their own:

    log p(v) = log softmax([logit[:c1], head.cluster.weight o + head.cluster.bias])[v]                      v < c1
    log p(v) = log softmax(the same)[c1 + i] + log softmax(logit[ci:c(i+1)])[v - ci]                        ci <= v

Tails share the table and its width, so that it can be the embedding (Merity et al., arXiv:1803.08240; Grave et al.,
arXiv:1609.04309, narrow them).

A head sequence reads a source and writes a target, C its tokens: `core.writer` has the equations and the weights. The
encoder's outputs over all of the source, whatever `window`, are its memory, P = D*H.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, get_args

from gatework.core.checked import checked
from gatework.core.errors import BundleError
from gatework.core.transformer import Kind, transformer_fault
from gatework.core.writer import Writer, read_writer

Pooling = Literal["last", "mean", "max", "attention"]
Head = Literal["per_sequence", "per_step", "next_token", "sequence"]
Decoder = Literal["", "crf", "softmax"]


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
class Bert:
    """A post-layer-norm transformer with absolute positions, whose hidden layers are inputs; see `core.bert_folder`."""

    vocabulary: int
    embedding: int
    """Width of the vectors of pieces."""
    width: int
    """Width of every hidden layer."""
    layers: int
    """Layers that are run."""
    heads: int
    inner: int
    """Width between the two products of a layer."""
    positions: int
    """Pieces it sees at once, the special ones counted."""
    activation: Literal["gelu", "gelu_tanh", "relu"]
    epsilon: float
    """Of the layer norms."""
    chosen: tuple[int, ...]
    """Hidden layers that are mixed, rising; 0 is what the first layer reads."""
    pieces: Literal["first", "mean"] = "first"
    """Which pieces a token's vector comes from."""
    inside: bool = True
    """Whether the bundle holds the weights; else `config.json` names a folder."""

    @property
    def mixed(self) -> bool:
        """Whether weights of the chosen layers are learnt."""
        return len(self.chosen) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A stack of layers, recurrent or with the head sequence a transformer."""

    network: Kind = "recurrent"
    cell: str = ""
    """Of recurrent layers."""
    units: int
    layers: int = 1
    bidirectional: bool = True
    residual: bool = False
    projection: int = 0
    """Width of the recurrent projection; 0 for none (cells that have one)."""
    heads: int = 0
    """Of a transformer, which reads all of a source at once and has none of what stands before this but units and
    layers."""
    inner: int = 0
    """Width between the two products of a transformer's layer."""

    @property
    def outputs(self) -> int:
        return (self.projection or self.units) * (2 if self.bidirectional else 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class States:
    """A language model of characters whose states at each token are inputs; see `core.states_bundle`."""

    vocabulary: int
    embedding: int
    """Width of the vectors of characters."""
    encoder: Encoder
    """Of each direction, a stack of its own."""
    directions: tuple[str, ...]
    """As in `LanguageModel`."""
    projection: int = 0
    """Width that the states are brought to; 0 for as they are."""
    inside: bool = True
    """Whether the bundle holds the weights; else `config.json` names another bundle."""

    @property
    def width(self) -> int:
        """Of the states of all directions."""
        return self.encoder.outputs * len(self.directions)

    @property
    def outputs(self) -> int:
        """Width of what joins the token vectors."""
        return self.projection or self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModel:
    """What predicts the next token, or the one before."""

    directions: tuple[str, ...]
    """("forward",), ("backward",) or ("forward", "backward"): stacks of their own, see the head of this file."""
    tied: bool = True
    """Whether the embedding is the output table too."""
    cutoffs: tuple[int, ...] = ()
    """First id of each tail cluster, rising; ids go by falling frequency. Empty for one softmax over all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """Tokens in; out comes one vector of logits a sequence, or one a token."""

    head: Head
    outputs: int
    vocabulary: int
    embedding: int
    encoder: Encoder
    pooling: tuple[Pooling, ...]
    """How the outputs over time become one vector a sequence; empty with the head per_step."""
    decoder: Decoder = ""
    """What makes tags of the logits of a head per_step; empty with the head per_sequence."""
    also: tuple[int, ...] = ()
    """Outputs of further tag layers on the same encoder."""
    characters: Characters | None = None
    ngram_rows: int = 0
    """Rows of the n-gram table; 0 turns the side features off."""
    ngram_embedding: int = 0
    """Width of the vectors of longer n-grams that join the token vectors; 0 for none."""
    lexicon_rows: int = 0
    """Words of the lexicon; 0 for none."""
    lexicon_embedding: int = 0
    """Width of a lexicon word's vector; four of them, for begin, middle, end and single, join the token vectors."""
    bert: Bert | None = None
    """Hidden layers of a BERT, which join the token vectors."""
    states: States | None = None
    """States of a language model, which do."""
    language: LanguageModel | None = None
    """With the head next_token alone."""
    writer: Writer | None = None
    """With the head sequence alone."""
    attention: int = 0
    """Width of the additive attention, where `pooling` has it."""
    window: int = 256
    """Tokens the encoder sees at once; longer sequences are read in windows of this length."""

    @property
    def encoder_inputs(self) -> int:
        """Width of what the encoder reads at each token."""
        beside = self.ngram_embedding + (self.characters.outputs if self.characters else 0)
        beside += (self.bert.width if self.bert else 0) + (self.states.outputs if self.states else 0)
        return self.embedding + beside + LEXICON_SETS * self.lexicon_embedding

    @property
    def directions(self) -> tuple[str, ...]:
        """Names of the directions each layer has weights for."""
        if self.language is not None:
            return self.language.directions
        return ("forward", "backward") if self.encoder.bidirectional else ("forward",)

    @property
    def head_inputs(self) -> int:
        """Width of what the head reads."""
        if self.writer is not None:
            return self.writer.embedding
        return self.encoder.outputs * (len(self.pooling) if self.head == "per_sequence" else 1)

    @property
    def wide_outputs(self) -> int:
        """Width of an n-gram's row of logits; 0 where n-grams have none."""
        return self.outputs if self.head == "per_sequence" and self.ngram_rows else 0

    @property
    def layers(self) -> tuple[int, ...]:
        """Outputs of every tag layer, the main one first; with the head per_sequence, of the one there is."""
        return (self.outputs, *self.also)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, *, source: str) -> Architecture:
        """Read what `to_dict` wrote. Raises BundleError naming `source` and the offending entry."""
        own = _checked(cls, values, source)
        own["encoder"] = _encoder(own["encoder"], f"{source}: encoder")
        if own["encoder"].network == "transformer" and own["head"] != "sequence":
            raise BundleError(f"{source}: a head {own['head']} has no transformer. Export the model again.")
        if own.get("characters") is not None:
            own["characters"] = Characters(**_checked(Characters, own["characters"], f"{source}: characters"))
        if own.get("bert") is not None:
            own["bert"] = _bert(own["bert"], f"{source}: bert")
        if own.get("states") is not None:
            own["states"] = _states(own["states"], f"{source}: states")
        own["pooling"] = _pooling(own, source)
        own["also"] = _also(own, source)
        own["language"] = _language(own, source)
        own["writer"] = _writer(own, source)
        per_step = own["head"] == "per_step"
        if per_step != (own.get("decoder", "") != ""):
            raise BundleError(f"{source}: a head per_step and a decoder need each other. Export the model again.")
        if own.get("ngram_embedding", 0) and not own.get("ngram_rows", 0):
            raise BundleError(f"{source}: ngram_embedding without ngram_rows. Export the model again.")
        if per_step and own.get("ngram_rows", 0) and not own.get("ngram_embedding", 0):
            raise BundleError(f"{source}: ngram_rows that a head per_step does not read. Export the model again.")
        if (own.get("lexicon_rows", 0) > 0) != (own.get("lexicon_embedding", 0) > 0):
            raise BundleError(f"{source}: lexicon_rows and lexicon_embedding need each other. Export the model again.")
        return cls(**own)


LEXICON_SETS = 4
"""Sets of lexicon words at a token: it begins them, lies in their middle, ends them, or is one."""
MOST_TAG_LAYERS = 16
FIRST_CUTOFF = 3
"""Padding, unknown and the end of a text are always among the ids below the first cutoff."""
_MOST_CUTOFFS = 64
_DIRECTIONS = (("forward",), ("backward",), ("forward", "backward"))
_BESIDE_TOKENS = (
    *("characters", "ngram_rows", "ngram_embedding", "lexicon_rows", "lexicon_embedding", "bert", "states"),
)
_CHOICES = {
    "head": get_args(Head),
    "decoder": get_args(Decoder),
    "kind": ("cnn", "bilstm"),
    "activation": ("gelu", "gelu_tanh", "relu"),
    "pieces": ("first", "mean"),
    "network": get_args(Kind),
}
_MAY_BE_ZERO = {
    *("projection", "ngram_rows", "ngram_embedding", "lexicon_rows", "lexicon_embedding", "attention"),
    *("heads", "inner"),
}
_MOST = 2**31 - 1
_checked = partial(checked, choices=_CHOICES, may_be_zero=_MAY_BE_ZERO)


def _pooling(own: dict[str, Any], source: str) -> tuple[Pooling, ...]:
    pooling, kinds = own["pooling"], get_args(Pooling)
    good = isinstance(pooling, list | tuple) and all(kind in kinds for kind in pooling)
    if own["head"] != "per_sequence":
        if pooling or not good or own.get("attention", 0):
            raise BundleError(f"{source}: a head {own['head']} has no pooling. Export the model again.")
        return ()
    if not good or not pooling:
        raise BundleError(f"{source}: pooling must name some of {', '.join(kinds)}. Export the model again.")
    if ("attention" in pooling) != (own.get("attention", 0) > 0) or len(pooling) > len(kinds):
        raise BundleError(f"{source}: attention and pooling do not fit each other. Export the model again.")
    return tuple(pooling)


def _also(own: dict[str, Any], source: str) -> tuple[int, ...]:
    also = own.get("also", ())
    good = isinstance(also, list | tuple) and len(also) < MOST_TAG_LAYERS
    if not good or not all(type(outputs) is int and 1 <= outputs <= _MOST for outputs in also):
        raise BundleError(f"{source}: also must hold the outputs of further tag layers. Export the model again.")
    if also and own["head"] != "per_step":
        raise BundleError(f"{source}: a head {own['head']} has no further tag layers. Export the model again.")
    return tuple(also)


def _language(own: dict[str, Any], source: str) -> LanguageModel | None:
    """What a head next_token has, and that nothing else is there that it would not read."""
    values = own.get("language")
    if (values is not None) != (own["head"] == "next_token"):
        raise BundleError(f"{source}: a head next_token and `language` need each other. Export the model again.")
    if values is None:
        return None
    language = _checked(LanguageModel, values, f"{source}: language")
    directions, cutoffs = language["directions"], language.get("cutoffs", ())
    if not isinstance(directions, list | tuple) or tuple(directions) not in _DIRECTIONS:
        raise BundleError(f"{source}: language: directions must be forward, backward or both. Export the model again.")
    good = isinstance(cutoffs, list | tuple) and all(type(cutoff) is int for cutoff in cutoffs)
    if not good or len(cutoffs) > _MOST_CUTOFFS or sorted(set(cutoffs)) != list(cutoffs):
        raise BundleError(f"{source}: language: cutoffs must be rising numbers. Export the model again.")
    if cutoffs and not FIRST_CUTOFF <= cutoffs[0] <= cutoffs[-1] < own["vocabulary"]:
        raise BundleError(f"{source}: language: cutoffs lie outside the vocabulary. Export the model again.")
    if own["outputs"] != own["vocabulary"] or own["vocabulary"] < FIRST_CUTOFF or own["encoder"].bidirectional:
        raise BundleError(f"{source}: a language model has an output for each token, and one direction a stack.")
    beside = [name for name in _BESIDE_TOKENS if own.get(name)]
    if beside:
        raise BundleError(f"{source}: a language model does not read {beside[0]}. Export the model again.")
    return LanguageModel(**{**language, "directions": tuple(directions), "cutoffs": tuple(cutoffs)})


def _writer(own: dict[str, Any], source: str) -> Writer | None:
    """What a head sequence has, and that nothing else is there that it would not read."""
    values = own.get("writer")
    if (values is not None) != (own["head"] == "sequence"):
        raise BundleError(f"{source}: a head sequence and `writer` need each other. Export the model again.")
    if values is None:
        return None
    beside = [name for name in _BESIDE_TOKENS if own.get(name)]
    if beside:
        raise BundleError(f"{source}: a head sequence does not read {beside[0]}. Export the model again.")
    if fault := encoder_fault(own["encoder"], embedding=own["embedding"]):
        raise BundleError(f"{source}: encoder: {fault}. Export the model again.")
    return read_writer(values, own, own["encoder"].outputs, f"{source}: writer")


def encoder_fault(encoder: Encoder, *, embedding: int) -> str:
    """What does not fit in the encoder of a head sequence, over vectors of a width; empty where all does."""
    if encoder.network == "recurrent":
        return ""
    if encoder.cell or encoder.bidirectional or encoder.residual or encoder.projection:
        return "a transformer has no cell, direction, residual or projection"
    return transformer_fault(units=encoder.units, embedding=embedding, heads=encoder.heads, inner=encoder.inner)


def _encoder(values: Any, source: str) -> Encoder:
    encoder = Encoder(**_checked(Encoder, values, source))
    if encoder.network == "recurrent" and (not encoder.cell or encoder.heads or encoder.inner):
        raise BundleError(f"{source}: recurrent layers have a cell, and no heads. Export the model again.")
    return encoder


def _bert(values: Any, source: str) -> Bert:
    own = _checked(Bert, values, source)
    chosen, layers = own["chosen"], own["layers"]
    good = isinstance(chosen, list | tuple) and all(type(layer) is int for layer in chosen)
    if not good or not chosen or sorted(set(chosen)) != list(chosen) or chosen[0] < 0 or chosen[-1] != layers:
        raise BundleError(f"{source}: chosen must rise to the number of layers. Export the model again.")
    if own["width"] % own["heads"] or own["positions"] < 3 or not 0.0 < own["epsilon"] < 1.0:
        raise BundleError(f"{source}: heads, positions or epsilon do not fit. Export the model again.")
    return Bert(**{**own, "chosen": tuple(chosen)})


def _states(values: Any, source: str) -> States:
    own = _checked(States, values, source)
    encoder = _encoder(own["encoder"], f"{source}: encoder")
    if encoder.network == "transformer":
        raise BundleError(f"{source}: states are those of recurrent layers. Export the model again.")
    directions = own["directions"]
    if not isinstance(directions, list | tuple) or tuple(directions) not in _DIRECTIONS or encoder.bidirectional:
        raise BundleError(f"{source}: directions must be forward, backward or both. Export the model again.")
    return States(**{**own, "encoder": encoder, "directions": tuple(directions)})
