"""The writer of a head `sequence`: a network that reads what it has written and looks at the source. Recurrent, it is:

The encoder's outputs are the memory m_s of source place s; e is its summary, the last forward output and the first
backward output of the top layer, one after the other. y are ids of the target; before the first stands END.

    state part p of layer l before the first step = tanh(B_lp e + b_lp)
    x_t = E[y_(t-1)]
    layer 0 reads x_t, with input feeding (x_t, o_(t-1)), o_0 = 0, and gives q_t

    score(q, m_s) = q . m_s                                        dot: both have one width
                  = q' W m_s                                       general
                  = v . tanh(W_q q + W_m m_s + b + w_c cov_s)      additive; with coverage alone the last term
    cov_s = sum over earlier steps of the weight of place s
    a_t = softmax over the places of the source;   c_t = sum over s of a_ts m_s;   without attention c_t = e

    layer l > 0 reads (output of the layer below, c_t);   h_t = output of the last layer
    o_t = tanh(W_o (h_t, c_t) + b_o)
    logit_t = table o_t + bias;   of padding -inf;   p_t = softmax(logit_t)

    copy: g_t = sigmoid(w (c_t, h_t, x_t) + b);   p_t = g_t softmax(logit_t) + (1 - g_t) sum over s of a_ts [source_s]

Only layer 0 is asked where to look, so that without input feeding and coverage each layer runs over a whole known
target at once. A transformer makes o_t, c_t and a_t as `core.transformer` says; what comes of them is the same.

Weights (E `embedding`, H `units`, G gates x H, P width of the memory and of e, A `attention_units`, V outputs); of a
transformer the first and the last three lines, and its own:

    writer.embedding.weight (V, E)                       unless `shared`: then the table is embedding.weight
    writer.<layer>.<parameter of the cell>               inputs E (with input feeding 2 E); of layers above 0, H + P
    writer.bridge.<layer>.<part>.weight (width of the part, P), .bias       parts of the cell's state: h, c
    writer.attention.w_HP                                general
    writer.attention.q_AH, m_AP, b_A, v_A, c_A           additive; c_A with coverage
    writer.output.weight (E, H + P), writer.output.bias (E,)
    writer.copy.weight (1, P + H + E), writer.copy.bias (1,)       with copy
    head.weight (V, E) unless `tied`: then the table is that of the embedding; head.bias (V,)

Sources: Sutskever, Vinyals and Le, arXiv:1409.3215; Cho et al., arXiv:1406.1078; Bahdanau, Cho and Bengio,
arXiv:1409.0473; Luong, Pham and Manning, arXiv:1508.04025; See, Liu and Manning, arXiv:1704.04368 (coverage, copy);
Wu et al., arXiv:1609.08144 (the lowest layer is asked where to look).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from gatework.core.checked import checked
from gatework.core.errors import BundleError
from gatework.core.transformer import Kind, transformer_fault

AttentionKind = Literal["none", "dot", "general", "additive", "heads"]
FIRST_WORD = 3
"""Padding, unknown and the end are ids below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """See the module."""

    network: Kind = "recurrent"
    cell: str = ""
    """Of a recurrent one."""
    units: int
    layers: int = 1
    embedding: int
    """Width of the vectors of target tokens, and of what the output table is multiplied with."""
    attention: AttentionKind = "general"
    """`heads` of a transformer, and of nothing else."""
    attention_units: int = 0
    """Width of additive attention; 0 for the other kinds."""
    input_feeding: bool = False
    """Layer 0 also reads what the output table was last multiplied with."""
    coverage: bool = False
    """Additive attention also reads how much of each place was looked at."""
    copy: bool = False
    """Tokens of the source can be written where the table does not say them; needs a shared vocabulary."""
    shared: bool = True
    """Source and target have one vocabulary and one embedding, embedding.weight."""
    tied: bool = True
    """The embedding of the target is the output table too."""
    heads: int = 0
    """Of a transformer."""
    inner: int = 0
    """Width between the two products of a transformer's layer."""

    @property
    def stepwise(self) -> bool:
        """Whether a step reads what the step before made of the source: a known target cannot be read at once."""
        return self.input_feeding or self.coverage

    def inputs(self, layer: int, memory: int) -> int:
        """Width of what a layer reads, over a memory of a width."""
        if layer:
            return self.units + memory
        return self.embedding * (2 if self.input_feeding else 1)


def read_writer(values: Any, own: dict[str, Any], memory: int, source: str) -> Writer:
    """Read a writer of a bundle.

    Args:
        values: what `dataclasses.asdict` made of it.
        own: the entries of the architecture around it, checked.
        memory: width of the encoder's outputs.
    Raises: BundleError naming `source` and the offending entry.
    """
    writer = Writer(
        **checked(
            Writer,
            values,
            source,
            choices={"attention": get_args(AttentionKind), "network": get_args(Kind)},
            may_be_zero={"attention_units", "heads", "inner"},
        )
    )
    if fault := writer_fault(
        writer, vocabulary=own["vocabulary"], outputs=own["outputs"], embedding=own["embedding"], memory=memory
    ):
        raise BundleError(f"{source}: {fault}. Export the model again.")
    return writer


def writer_fault(writer: Writer, *, vocabulary: int, outputs: int, embedding: int, memory: int) -> str:
    """What does not fit in a writer for an encoder with these sizes; empty where all does."""
    transformer = writer.network == "transformer"
    if transformer != (writer.attention == "heads"):
        return "attention by heads is a transformer's, which has no other"
    if transformer and (
        fault := transformer_fault(
            units=writer.units, embedding=writer.embedding, heads=writer.heads, inner=writer.inner
        )
    ):
        return fault
    if transformer and (writer.input_feeding or writer.coverage or writer.cell):
        return "cell, input_feeding and coverage are of a recurrent writer"
    if not transformer and (writer.heads or writer.inner or not writer.cell):
        return "a recurrent writer has a cell, and neither heads nor an inner width"
    if (writer.attention == "additive") != (writer.attention_units > 0):
        return "attention_units are of additive attention, which needs them"
    if writer.attention == "dot" and writer.units != memory:
        return f"dot attention needs units of the encoder's width: {writer.units} against {memory}"
    if writer.coverage and writer.attention != "additive":
        return "coverage needs additive attention"
    if writer.copy and (writer.attention == "none" or not writer.shared):
        return "copy needs attention and a vocabulary that source and target share"
    if writer.shared and (outputs != vocabulary or writer.embedding != embedding):
        return "a shared embedding needs one vocabulary and one width"
    if outputs <= FIRST_WORD - 1:
        return f"{outputs} outputs leave no token beside padding, unknown and the end"
    return ""
