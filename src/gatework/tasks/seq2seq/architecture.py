"""The network that a recipe asks for, with the sizes that its data have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatework.core.architecture import Architecture, Encoder, encoder_fault
from gatework.core.errors import ConfigError
from gatework.core.writer import Writer, writer_fault
from gatework.tasks.seq2seq.codec import Seq2SeqCodec

if TYPE_CHECKING:
    from gatework.core.recipe import ModelSection, Recipe


def architecture_of(recipe: Recipe, codec: Seq2SeqCodec) -> Architecture:
    """Raises: ConfigError: options that do not fit each other."""
    model = recipe.model
    encoder, writer = _encoder(model), _writer(model, codec)
    sizes: dict[str, Any] = {
        "vocabulary": codec.source.vocabulary,
        "outputs": codec.target.vocabulary,
        "embedding": model.embedding,
    }
    fault = encoder_fault(encoder, embedding=model.embedding)
    if fault := fault or writer_fault(writer, memory=encoder.outputs, **sizes):
        raise ConfigError(f"model: {fault}.")
    if model.projection:
        raise ConfigError("model.projection is not for sequence to sequence. Leave it at 0.")
    return Architecture(head="sequence", encoder=encoder, pooling=(), writer=writer, **sizes)


def _encoder(model: ModelSection) -> Encoder:
    if model.encoder == "recurrent":
        return Encoder(
            cell=model.cell,
            units=model.units,
            layers=model.layers,
            bidirectional=model.bidirectional,
            residual=model.residual,
            projection=model.projection,
        )
    if not model.bidirectional:
        raise ConfigError("model.bidirectional: a transformer reads all of a source at once. Leave it at true.")
    return Encoder(
        network="transformer",
        units=model.units,
        layers=model.layers,
        bidirectional=False,
        heads=model.heads,
        inner=model.feed_forward or 4 * model.units,
    )


def _writer(model: ModelSection, codec: Seq2SeqCodec) -> Writer:
    units = model.writer_units or model.units
    common: dict[str, Any] = {
        "units": units,
        "layers": model.writer_layers or model.layers,
        "embedding": model.embedding,
        "input_feeding": model.input_feeding,
        "coverage": model.coverage,
        "copy": model.copy_source,
        "shared": codec.shared,
        "tied": model.tied,
    }
    if model.writer == "recurrent":
        wide = model.attention if model.attention_kind == "additive" else 0
        return Writer(cell=model.cell, attention=model.attention_kind, attention_units=wide, **common)
    if model.attention_kind == "none":
        raise ConfigError(
            'model.attention_kind: a transformer that writes looks at the source. "none" is for recurrent.'
        )
    inner = model.feed_forward or 4 * units
    return Writer(network="transformer", attention="heads", heads=model.heads, inner=inner, **common)
