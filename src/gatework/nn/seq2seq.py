"""Sequence to sequence: an encoder, and a writer that looks at what the encoder made; each recurrent or a transformer.

    source vectors -> encoder -> memory
    target vectors -> writer, which looks at the memory -> output -> softmax, perhaps mixed with copies of the source

`core.writer` has the equations of what comes of the output, and of a recurrent writer, `core.transformer` those of
transformers.

Regularisers, all of them in training alone: `embedding_dropout` (locked) and `word_dropout` on the vectors of both
sides, `dropout` between recurrent layers and on what the halves of transformer layers add, `output_dropout` on what the
output table reads, those of `variants` on the recurrence.

B pairs, S places of a source, T steps of a target (the end counted), N steps of all targets, P memory, H units, E
embedding, V outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.architecture import Architecture
from gatework.core.errors import ConfigError
from gatework.nn.dropout import check_chance, dropout, locked_dropout, word_dropout
from gatework.nn.embedding import Embedding
from gatework.nn.next_token import log_shares
from gatework.nn.pairs import Pairs, Seen, wide
from gatework.nn.recurrent import RecurrentStack
from gatework.nn.recurrent_writer import RecurrentWriter
from gatework.nn.softmax import nats_each, softmax_nats
from gatework.nn.transformer import TransformerEncoder, TransformerWriter
from gatework.nn.weights import load_arrays, to_arrays

LEAST = 1e-20
"""Added to the probability of a copy before its logarithm."""


class Seq2Seq(nn.Module):
    """An architecture with the head sequence, with weights."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        dropout: float = 0.0,
        output_dropout: float | None = None,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        forget_bias: float = 1.0,
        label_smoothing: float = 0.0,
        uncopied_weight: float = 0.0,
        counts_V: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """
        Args:
            dropout, output_dropout, embedding_dropout, word_dropout: see the module; where None, `output_dropout` is
                `dropout`, and of a transformer 0.
            variational_dropout, weight_drop, zoneout, forget_bias: of all recurrent layers, see `RecurrentStack`.
            label_smoothing: see `softmax`; with copying, of the table's part alone.
            uncopied_weight: with copying, the part of the loss in which the table has to say every token by itself.
            counts_V: how often each token occurs in targets; the head's bias begins at their logarithms.
        Raises: ConfigError: a chance outside [0, 1), a regulariser that cannot go step by step or has no layer.
        """
        super().__init__()
        writer = architecture.writer
        if writer is None:
            raise ConfigError("the architecture has no head sequence.")
        self.architecture, self.writer = architecture, writer
        self.dropout = check_chance("model.dropout", dropout)
        transformer = writer.network == "transformer"
        if output_dropout is None:
            output_dropout = 0.0 if transformer else dropout
        self.output_dropout = check_chance("model.output_dropout", output_dropout)
        self.embedding_dropout = check_chance("model.embedding_dropout", embedding_dropout)
        self.word_dropout = check_chance("input.word_dropout", word_dropout)
        self.label_smoothing = check_chance("train.label_smoothing", label_smoothing)
        self.uncopied_weight = check_chance("train.uncopied_weight", uncopied_weight)
        a, encoder = architecture, architecture.encoder
        recurrence: dict[str, Any] = {
            "variational_dropout": variational_dropout,
            "weight_drop": weight_drop,
            "zoneout": zoneout,
            "forget_bias": forget_bias,
        }
        start: dict[str, Any] = {"sparse": False}
        if transformer:  # or what it reads, times sqrt(d), would be what its table says first
            start["deviation"] = writer.embedding**-0.5
        self.embedding = Embedding(a.vocabulary, a.embedding, **start)
        self.encoder: RecurrentStack | TransformerEncoder
        if encoder.network == "transformer":
            self.encoder = TransformerEncoder(encoder, dropout=dropout)
            if transformer and (variational_dropout or weight_drop or zoneout):
                raise ConfigError(
                    "model.variational_dropout, weight_drop and zoneout are of recurrent layers. Set them to 0."
                )
        else:
            self.encoder = RecurrentStack(
                encoder.cell,
                a.embedding,
                encoder.units,
                layers=encoder.layers,
                bidirectional=encoder.bidirectional,
                residual=encoder.residual,
                projection=encoder.projection,
                dropout=dropout,
                **recurrence,
            )
        memory = self.encoder.outputs
        self.target = self.embedding if writer.shared else Embedding(a.outputs, writer.embedding, **start)
        chances = {"dropout": dropout, "output_dropout": output_dropout}
        self.writing: RecurrentWriter | TransformerWriter
        if transformer:
            self.writing = TransformerWriter(writer, memory, **chances)
        else:
            self.writing = RecurrentWriter(writer, memory, recurrence=recurrence, **chances)
        self.copy = nn.Linear(memory + writer.units + writer.embedding, 1) if writer.copy else None
        self.table = None if writer.tied else Embedding(a.outputs, writer.embedding, **start)
        self.bias = nn.Parameter(log_shares(a.outputs, counts_V))

    @property
    def table_VE(self) -> nn.Parameter:
        """The output table."""
        return self.target.weight if self.table is None else self.table.weight

    def forward(self, pairs: Pairs) -> Seen:
        """What the writer makes of known targets."""
        source_BS, lengths_B, same_B = pairs.source_BS, pairs.source_lengths_B, pairs.same_B
        if same_B is not None:
            first_B = torch.searchsorted(same_B, torch.arange(int(same_B[-1]) + 1))
            source_BS, lengths_B = source_BS[first_B], lengths_B[first_B]
        real_BS = torch.arange(source_BS.shape[1]) < lengths_B[:, None]
        m_BSP = self._encode(source_BS, lengths_B, real_BS)
        e_BP = _summary(m_BSP, lengths_B, both=self.architecture.encoder.bidirectional)
        if same_B is not None:
            m_BSP, e_BP, real_BS = m_BSP[same_B], e_BP[same_B], real_BS[same_B]
        x_BTE = self._vectors(self.target, pairs.read_BT)
        seen: Seen = self.writing(x_BTE, m_BSP, e_BP, real_BS, pairs.lengths_B)
        return seen

    def loss(self, pairs: Pairs) -> Tensor:
        """Sum over the tokens of -log p, smoothed, with gradients."""
        seen = self(pairs)
        live_BT = torch.arange(seen.o_BTE.shape[1]) < pairs.lengths_B[:, None]
        o_NE, wanted_N = seen.o_BTE[live_BT], pairs.wanted_BT[live_BT]
        smoothing = self.label_smoothing if self.training else 0.0
        if self.copy is None:
            return softmax_nats(o_NE, self.table_VE, self.bias, wanted_N, smoothing=smoothing, first=1)
        log_p_NV = self._log_p(o_NE)
        nats = self._mixed(log_p_NV, seen, pairs, live_BT).sum()
        return self._in_training(nats, log_p_NV, wanted_N)

    def _in_training(self, nats: Tensor, table_NV: Tensor, wanted_N: Tensor) -> Tensor:
        """-log of what all is given, or in training what is learnt from: with the table alone, and smoothed, in it."""
        if not self.training:
            return nats
        if self.copy is not None and self.uncopied_weight:
            # What is easily copied teaches the table nothing: it learns by heart what is left, and falls behind.
            alone = -table_NV.gather(1, wanted_N[:, None]).sum()
            nats = (1.0 - self.uncopied_weight) * nats + self.uncopied_weight * alone
        if not self.label_smoothing:
            return nats
        spread = -table_NV[:, 1:].mean(1).sum()
        return (1.0 - self.label_smoothing) * nats + self.label_smoothing * spread

    @torch.no_grad()
    def nats(self, pairs: Pairs) -> Tensor:
        """-log p of each token of the targets and of their ends, (B, T), 0 past each length."""
        seen = self(pairs)
        live_BT = torch.arange(seen.o_BTE.shape[1]) < pairs.lengths_B[:, None]
        o_NE = wide(seen.o_BTE[live_BT])
        if self.copy is None:
            nats_N = nats_each(o_NE, self.table_VE, self.bias, pairs.wanted_BT[live_BT], first=1)
        else:
            nats_N = self._mixed(self._log_p(o_NE), seen, pairs, live_BT)
        nats_BT = nats_N.new_zeros(live_BT.shape)
        nats_BT[live_BT] = nats_N
        return nats_BT

    def log_p(self, pairs: Pairs) -> Tensor:
        """log p of each target, its end counted, (B,), with gradients. The logits of all steps are held at once."""
        seen = self(pairs)
        live_BT = torch.arange(seen.o_BTE.shape[1]) < pairs.lengths_B[:, None]
        log_p_NV = self._log_p(seen.o_BTE[live_BT])
        if self.copy is None:
            nats_N = -log_p_NV.gather(1, pairs.wanted_BT[live_BT][:, None])[:, 0]
        else:
            nats_N = self._mixed(log_p_NV, seen, pairs, live_BT)
        return -nats_N.new_zeros(live_BT.shape).masked_scatter(live_BT, nats_N).sum(1)

    def log_p_each(self, pairs: Pairs) -> Tensor:
        """log p of every token at each step of the targets, copies counted, (N, V), with gradients; -inf of padding."""
        return self._table_and_mixed(pairs)[1]

    def _table_and_mixed(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """What the table says of every token, and with copies what is said in all; both as `log_p_each`."""
        seen = self(pairs)
        live_BT = torch.arange(seen.o_BTE.shape[1]) < pairs.lengths_B[:, None]
        log_p_NV = self._log_p(seen.o_BTE[live_BT])
        if self.copy is None or seen.a_BTS is None:
            return log_p_NV, log_p_NV
        gate_N1 = self._gate(seen, live_BT)[:, None]
        source_NS = pairs.source_BS[:, None].expand(seen.a_BTS.shape)[live_BT]
        copied_NV = torch.zeros_like(log_p_NV).scatter_add(1, source_NS, wide(seen.a_BTS[live_BT]))
        log = nn.functional.logsigmoid
        mixed_NV = torch.logaddexp(log(gate_N1) + log_p_NV[:, 1:], log(-gate_N1) + torch.log(copied_NV[:, 1:] + LEAST))
        return log_p_NV, torch.cat([log_p_NV[:, :1], mixed_NV], 1)

    def taught_loss(self, pairs: Pairs, p_NV: Tensor, *, weight: float) -> Tensor:
        """`loss`, of which the part `weight` is the cross-entropy with what a teacher gives every token, (N, V)."""
        live_BT = torch.arange(pairs.wanted_BT.shape[1]) < pairs.lengths_B[:, None]
        table_NV, log_p_NV = self._table_and_mixed(pairs)
        wanted_N = pairs.wanted_BT[live_BT]
        nats = self._in_training(-log_p_NV.gather(1, wanted_N[:, None]).sum(), table_NV, wanted_N)
        return (1.0 - weight) * nats - weight * (p_NV[:, 1:] * log_p_NV[:, 1:]).sum()

    @torch.no_grad()
    def with_own(self, pairs: Pairs, chance: float) -> Pairs:
        """The pairs, but that the writer reads what itself finds likeliest in place of given tokens, by chance."""
        if not chance:
            return pairs
        live_BT = torch.arange(pairs.wanted_BT.shape[1]) < pairs.lengths_B[:, None]
        likeliest_BT = torch.zeros_like(pairs.wanted_BT)
        likeliest_BT[live_BT] = self.log_p_each(pairs).argmax(1)
        drawn_BT = (torch.rand(pairs.wanted_BT.shape) < chance)[:, 1:] & live_BT[:, 1:]
        read_BT = pairs.read_BT.clone()
        read_BT[:, 1:] = torch.where(drawn_BT, likeliest_BT[:, :-1], read_BT[:, 1:])
        return pairs._replace(read_BT=read_BT)

    def _encode(self, source_BS: Tensor, lengths_B: Tensor, real_BS: Tensor) -> Tensor:
        x_BSE = self._vectors(self.embedding, source_BS)
        if isinstance(self.encoder, TransformerEncoder):
            m_BSP: Tensor = self.encoder(x_BSE, real_BS)
            return m_BSP
        m_BSP, _ = self.encoder(x_BSE, lengths_B=lengths_B)
        return dropout(m_BSP, self.dropout, self.training)

    def _vectors(self, table: nn.Module, ids_BT: Tensor) -> Tensor:
        x_BTE: Tensor = table(word_dropout(ids_BT, self.word_dropout, self.training))
        return locked_dropout(x_BTE, self.embedding_dropout, self.training)

    def _log_p(self, o_NE: Tensor) -> Tensor:
        """What the table says, (N, V)."""
        logits_NV = wide(nn.functional.linear(o_NE, self.table_VE, self.bias))
        return torch.log_softmax(torch.cat([torch.full_like(logits_NV[:, :1], -torch.inf), logits_NV[:, 1:]], 1), 1)

    def _mixed(self, log_p_NV: Tensor, seen: Seen, pairs: Pairs, live_BT: Tensor) -> Tensor:
        """-log of what table and copies give the wanted tokens, (N,)."""
        assert seen.a_BTS is not None
        gate_N = self._gate(seen, live_BT)
        same_BTS = pairs.wanted_BT[:, :, None] == pairs.source_BS[:, None]
        copied_N = (seen.a_BTS * same_BTS).sum(2)[live_BT]
        said_N = log_p_NV.gather(1, pairs.wanted_BT[live_BT][:, None])[:, 0]
        log = nn.functional.logsigmoid
        return -torch.logaddexp(log(gate_N) + said_N, log(-gate_N) + torch.log(copied_N + LEAST))

    def _gate(self, seen: Seen, live_BT: Tensor) -> Tensor:
        """How much of p is the table's, before the sigmoid, (N,)."""
        assert self.copy is not None
        assert seen.copies_BTX is not None
        return wide(self.copy(seen.copies_BTX[live_BT])[:, 0])

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle (see `core.architecture`)."""
        yield "embedding.weight", self.embedding.weight
        for name, parameter in self.encoder.weights():
            yield f"encoder.{name}", parameter
        if not self.writer.shared:
            yield "writer.embedding.weight", self.target.weight
        for name, weight in self.writing.named_weights():
            yield f"writer.{name}", weight
        if self.copy is not None:
            yield "writer.copy.weight", self.copy.weight
            yield "writer.copy.bias", self.copy.bias
        if self.table is not None:
            yield "head.weight", self.table.weight
        yield "head.bias", self.bias

    def to_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """See `weights.to_arrays`."""
        return to_arrays(self.named_weights())

    def load_weights(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """See `weights.load_arrays`."""
        load_arrays(self.named_weights(), weights)


def _summary(m_BSP: Tensor, lengths_B: Tensor, *, both: bool) -> Tensor:
    """e: the last output forward, and with both directions the first one backward, (B, P)."""
    last_BP = m_BSP[torch.arange(len(m_BSP)), lengths_B - 1]
    if not both:
        return last_BP
    ahead = m_BSP.shape[2] // 2
    return torch.cat([last_BP[:, :ahead], m_BSP[:, 0, ahead:]], 1)
