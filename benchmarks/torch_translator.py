"""A translator's network in PyTorch, decoded greedily by the loop one would write first: `torch.nn.LSTM` reads, an
`LSTMCell` a layer steps, sentences of like length go together until all have ended.

B sentences, S tokens, M memory, A attention, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 64
NAMES = (("w_GI", "weight_ih"), ("r_GH", "weight_hh"), ("b_G", "bias_ih"))


class TorchTranslator:
    """The weights of a bundle. Raises ValueError: the network has something that is not written here."""

    def __init__(self, model: Any) -> None:
        from gatework.runtime.tables import dense

        self.codec, a, weights = model.codec, model.bundle.architecture, model.bundle.weights
        writer, encoder = a.writer, a.encoder
        plain = encoder.cell == writer.cell == "lstm" and encoder.bidirectional and not encoder.residual
        if not (plain and writer.attention in ("general", "additive")) or writer.stepwise or writer.copy:
            raise ValueError("the loop here knows BiLSTM layers under LSTM layers with general or additive attention")

        def get(name: str) -> Tensor:
            return torch.from_numpy(np.array(dense(weights, name)))

        self.source = get("embedding.weight")
        self.target = self.source if writer.shared else get("writer.embedding.weight")
        self.table, self.bias = self.target if writer.tied else get("head.weight"), get("head.bias")
        self.bias[0] = -torch.inf
        self.reader = nn.LSTM(a.embedding, encoder.units, num_layers=encoder.layers, bidirectional=True)
        inputs = [writer.inputs(layer, encoder.outputs) for layer in range(writer.layers)]
        self.cells = [nn.LSTMCell(width, writer.units) for width in inputs]
        with torch.no_grad():
            for layer in range(encoder.layers):
                for way, end in (("forward", ""), ("backward", "_reverse")):
                    for ours, theirs in NAMES:
                        getattr(self.reader, f"{theirs}_l{layer}{end}").copy_(get(f"encoder.{layer}.{way}.{ours}"))
                    getattr(self.reader, f"bias_hh_l{layer}{end}").zero_()
            for layer, cell in enumerate(self.cells):
                for ours, theirs in NAMES:
                    getattr(cell, theirs).copy_(get(f"writer.{layer}.{ours}"))
                cell.bias_hh.zero_()
        self.bridges = [
            [(get(f"writer.bridge.{layer}.{part}.weight"), get(f"writer.bridge.{layer}.{part}.bias")) for part in "hc"]
            for layer in range(writer.layers)
        ]
        self.attention = writer.attention
        if self.attention == "general":
            self.w_HM = get("writer.attention.w_HP")
        else:
            parts = (get(f"writer.attention.{name}") for name in ("q_AH", "m_AP", "b_A", "v_A"))
            self.q_AH, self.m_AM, self.b_A, self.v_A = parts
        self.out_EW, self.out_E = get("writer.output.weight"), get("writer.output.bias")

    def all(self, sentences: Sequence[str], most: int) -> list[list[int]]:
        """Ids of a target for each sentence, batch after batch; see `greedy`."""
        ids = [torch.from_numpy(np.array(self.codec.encode(one).tokens, dtype=np.int64)) for one in sentences]
        order = sorted(range(len(ids)), key=lambda n: -len(ids[n]))
        found: list[list[int]] = [[]] * len(ids)
        for at in range(0, len(order), BATCH):
            places = order[at : at + BATCH]
            for place, own in zip(places, self.greedy([ids[place] for place in places], most), strict=True):
                found[place] = own
        return found

    @torch.no_grad()
    def greedy(self, batch: Sequence[Tensor], most: int) -> list[list[int]]:
        """Ids of each target, at most `most` of them, and at most twice the source and ten more."""
        lengths_B = torch.tensor([len(row) for row in batch])
        padded = self.source[nn.utils.rnn.pad_sequence(list(batch))]
        m, (last, _) = self.reader(nn.utils.rnn.pack_padded_sequence(padded, lengths_B))
        m_BSM = nn.utils.rnn.pad_packed_sequence(m)[0].transpose(0, 1)
        hidden_BS = torch.arange(m_BSM.shape[1]) >= lengths_B[:, None]
        e_BM = torch.cat([last[-2], last[-1]], 1)
        keys = m_BSM @ self.w_HM.T if self.attention == "general" else m_BSM @ self.m_AM.T + self.b_A
        context_BM = e_BM
        states = [tuple(torch.tanh(e_BM @ w.T + b) for w, b in bridge) for bridge in self.bridges]
        token_B, limit_B = torch.full((len(batch),), 2), (2 * lengths_B + 10).clamp(max=most)
        ended_B, written = torch.zeros(len(batch), dtype=torch.bool), []
        for step in range(int(limit_B.max()) + 1):
            y = self.target[token_B]
            for layer, cell in enumerate(self.cells):
                states[layer] = cell(y if not layer else torch.cat([y, context_BM], 1), states[layer])
                y = states[layer][0]
                if not layer:
                    context_BM = self._look(y, keys, m_BSM, hidden_BS)
            o_BE = torch.tanh(torch.cat([y, context_BM], 1) @ self.out_EW.T + self.out_E)
            token_B = (o_BE @ self.table.T + self.bias).argmax(1)
            ended_B |= (token_B == 2) | (step >= limit_B)
            if bool(ended_B.all()):
                break
            written.append(torch.where(ended_B, 2, token_B))
        rows = torch.stack(written, 1).tolist() if written else [[]] * len(batch)
        return [row[: row.index(2)] if 2 in row else row for row in rows]

    def _look(self, q_BH: Tensor, keys: Tensor, m_BSM: Tensor, hidden_BS: Tensor) -> Tensor:
        if self.attention == "general":
            scores_BS = (keys @ q_BH[:, :, None])[:, :, 0]
        else:
            scores_BS = torch.tanh((q_BH @ self.q_AH.T)[:, None] + keys) @ self.v_A
        looked_BS = torch.softmax(scores_BS.masked_fill(hidden_BS, -torch.inf), 1)
        return (looked_BS[:, None] @ m_BSM)[:, 0]
