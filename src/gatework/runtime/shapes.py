"""Names and shapes of all weights of an architecture, as `core.architecture` lists them."""

from __future__ import annotations

from gatework.cells import CELLS
from gatework.core.architecture import Architecture, Bert, States
from gatework.core.errors import BundleError, ConfigError
from gatework.core.quantize import SCALE
from gatework.core.tensors import TensorFile
from gatework.core.transformer import transformer_shapes
from gatework.core.writer import Writer

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(architecture: Architecture) -> Shapes:
    """Shape of every weight, by name. Raises ConfigError where the cell does not take the sizes."""
    a = architecture
    shapes: Shapes = {"embedding.weight": (a.vocabulary, a.embedding)}
    if a.ngram_embedding:
        shapes["local.weight"] = (a.ngram_rows + 1, a.ngram_embedding)
    if a.characters is not None:
        shapes |= _character_shapes(a)
    if a.bert is not None:
        shapes |= bert_shapes(a.bert) if a.bert.inside else {}
        shapes |= {"bert.mix": (len(a.bert.chosen),), "bert.gamma": (1,)} if a.bert.mixed else {}
    if a.states is not None:
        shapes |= states_shapes(a.states) if a.states.inside else {}
        if a.states.projection:
            shapes |= {
                "states.projection.weight": (a.states.projection, a.states.width),
                "states.projection.bias": (a.states.projection,),
            }
    if a.lexicon_rows:
        shapes["lexicon.weight"] = (a.lexicon_rows + 1, a.lexicon_embedding)
    shapes |= _encoder_shapes(a)
    if a.attention:
        width = a.encoder.outputs
        shapes |= {
            "attention.w_AP": (a.attention, width),
            "attention.b_A": (a.attention,),
            "attention.v_A": (a.attention,),
        }
    if a.wide_outputs:
        shapes["ngrams.weight"] = (a.ngram_rows, a.wide_outputs)
    return shapes | _head_shapes(a)


def bert_shapes(bert: Bert) -> Shapes:
    """Shape of every weight of a BERT itself, by name."""
    shapes: Shapes = {
        "bert.words.weight": (bert.vocabulary, bert.embedding),
        "bert.positions.weight": (bert.positions, bert.embedding),
        "bert.words.norm.gain": (bert.embedding,),
        "bert.words.norm.shift": (bert.embedding,),
    }

    def dense(name: str, rows: int, columns: int) -> None:
        shapes.update({f"bert.{name}.weight": (rows, columns), f"bert.{name}.bias": (rows,)})

    def norm(name: str) -> None:
        shapes.update({f"bert.{name}.norm.gain": (bert.width,), f"bert.{name}.norm.shift": (bert.width,)})

    if bert.embedding != bert.width:
        dense("lift", bert.width, bert.embedding)
    for layer in range(bert.layers):
        dense(f"{layer}.attention", 3 * bert.width, bert.width)
        dense(f"{layer}.output", bert.width, bert.width)
        norm(f"{layer}.output")
        dense(f"{layer}.inner", bert.inner, bert.width)
        dense(f"{layer}.outer", bert.width, bert.inner)
        norm(f"{layer}.outer")
    return shapes


def states_shapes(states: States) -> Shapes:
    """Shape of every weight of a language model whose states are read, by name."""
    encoder, width = states.encoder, states.embedding
    shapes: Shapes = {"states.embedding.weight": (states.vocabulary, width)}
    for layer in range(encoder.layers):
        parameters = CELLS[encoder.cell].parameters(width, encoder.units, encoder.projection)
        for way in states.directions:
            shapes |= {f"states.{layer}.{way}.{name}": shape for name, shape in parameters.items()}
        width = encoder.outputs
    return shapes


def check_shapes(architecture: Architecture, weights: TensorFile, *, source: str) -> None:
    """Raise BundleError unless `weights` hold exactly the weights of the architecture, in their shapes."""
    try:
        wanted = weight_shapes(architecture)
    except ConfigError as error:
        raise BundleError(f"{source}: {error}") from None
    have = {name for name in weights.slots if not name.endswith(SCALE)}
    if odd := sorted(set(wanted) ^ have):
        fault = "missing" if odd[0] in wanted else "not part of the architecture"
        raise BundleError(f"{source}: weight {odd[0][:80]!r} is {fault}. Export the model again.")
    for name, shape in wanted.items():
        if weights.slots[name].shape != shape:
            found = weights.slots[name].shape
            raise BundleError(f"{source}: weight {name!r} has shape {found}, wanted {shape}. Export the model again.")


def layer_names(layer: int) -> tuple[str, str]:
    """What the names of a tag layer's head and of its CRF begin with."""
    return (f"also.{layer - 1}.",) * 2 if layer else ("head.", "crf.")


def _language_head_shapes(architecture: Architecture) -> Shapes:
    a, language = architecture, architecture.language
    assert language is not None  # the caller has looked
    shapes: Shapes = {"head.bias": (a.vocabulary,)}
    width = a.embedding if language.tied else a.head_inputs
    if not language.tied:
        shapes["head.weight"] = (a.vocabulary, width)
    elif a.head_inputs != width:
        shapes |= {f"head.{direction}.projection": (width, a.head_inputs) for direction in language.directions}
    if language.cutoffs:
        clusters = len(language.cutoffs)
        shapes |= {"head.cluster.weight": (clusters, width), "head.cluster.bias": (clusters,)}
    return shapes


def state_parts(cell: str) -> tuple[str, ...]:
    """Names of the parts of a cell's state in names of weights: h, c."""
    return tuple(field.partition("_")[0] for field in CELLS[cell].State._fields)


def writer_shapes(architecture: Architecture, writer: Writer) -> Shapes:
    """Shape of every weight of a head sequence, by name; see `core.writer`."""
    outputs, memory, units, width = architecture.outputs, architecture.encoder.outputs, writer.units, writer.embedding
    shapes: Shapes = {} if writer.shared else {"writer.embedding.weight": (outputs, width)}
    if writer.network == "transformer":
        shapes |= transformer_shapes("writer", layers=writer.layers, units=units, inner=writer.inner, memory=memory)
    else:
        shapes |= _recurrent_writer_shapes(writer, memory)
    if writer.copy:
        shapes |= {"writer.copy.weight": (1, memory + units + width), "writer.copy.bias": (1,)}
    return shapes | ({} if writer.tied else {"head.weight": (outputs, width)}) | {"head.bias": (outputs,)}


def _recurrent_writer_shapes(writer: Writer, memory: int) -> Shapes:
    shapes: Shapes = {}
    units = writer.units
    for layer in range(writer.layers):
        parameters = CELLS[writer.cell].parameters(writer.inputs(layer, memory), units)
        shapes |= {f"writer.{layer}.{name}": shape for name, shape in parameters.items()}
        for part in state_parts(writer.cell):
            name = f"writer.bridge.{layer}.{part}"
            shapes |= {f"{name}.weight": (units, memory), f"{name}.bias": (units,)}
    if writer.attention == "general":
        shapes["writer.attention.w_HP"] = (units, memory)
    if writer.attention == "additive":
        own = writer.attention_units
        shapes |= {"writer.attention.q_AH": (own, units), "writer.attention.m_AP": (own, memory)}
        shapes |= {f"writer.attention.{name}": (own,) for name in ("b_A", "v_A", *(["c_A"] * writer.coverage))}
    width = writer.embedding
    return shapes | {"writer.output.weight": (width, units + memory), "writer.output.bias": (width,)}


def _head_shapes(architecture: Architecture) -> Shapes:
    if architecture.language is not None:
        return _language_head_shapes(architecture)
    if architecture.writer is not None:
        return writer_shapes(architecture, architecture.writer)
    shapes: Shapes = {}
    for layer, outputs in enumerate(architecture.layers):
        head, crf = layer_names(layer)
        shapes |= {f"{head}weight": (outputs, architecture.head_inputs), f"{head}bias": (outputs,)}
        if architecture.decoder == "crf":
            shapes |= {f"{crf}transitions": (outputs, outputs), f"{crf}start": (outputs,), f"{crf}end": (outputs,)}
    return shapes


def _encoder_shapes(architecture: Architecture) -> Shapes:
    encoder = architecture.encoder
    if encoder.network == "transformer":
        return transformer_shapes("encoder", layers=encoder.layers, units=encoder.units, inner=encoder.inner)
    cell, width = CELLS[encoder.cell], architecture.encoder_inputs
    shapes: Shapes = {}
    for layer in range(encoder.layers):
        parameters = cell.parameters(width, encoder.units, encoder.projection)
        for direction in architecture.directions:
            shapes |= {f"encoder.{layer}.{direction}.{name}": shape for name, shape in parameters.items()}
        width = encoder.outputs
    return shapes


def _character_shapes(architecture: Architecture) -> Shapes:
    characters = architecture.characters
    assert characters is not None  # the caller has looked
    shapes: Shapes = {"characters.embedding.weight": (characters.vocabulary, characters.embedding)}
    if characters.kind == "cnn":
        shapes["characters.convolution.weight"] = (characters.units, characters.embedding, characters.width)
        shapes["characters.convolution.bias"] = (characters.units,)
        return shapes
    parameters = CELLS["lstm"].parameters(characters.embedding, characters.units)
    for direction in ("forward", "backward"):
        shapes |= {f"characters.{direction}.{name}": shape for name, shape in parameters.items()}
    return shapes
