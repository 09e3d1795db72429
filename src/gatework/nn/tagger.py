"""The network that gives each token an answer: tag layers on the encoder's outputs, each with a CRF or a softmax.

    inputs -> recurrent stack -> linear layer    emissions of each tag layer
    loss = sum over tag layers of  the mean over sequences of -log p(tags)

with p of a whole sequence by `nn.CRF`, or with a softmax the product over its tokens. What is not known of a sequence's
tags (-1) is summed over. A softmax's tags, too, are the best sequence among those that the constraints allow.

Sequences longer than the window are read in windows (`core.windows`); a CRF sees the whole sequence all the same.

B sequences, L tokens of the longest, W windows, T time, P outputs of the encoder, C tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatework.core.architecture import Architecture
from gatework.core.errors import ConfigError, DataError
from gatework.core.tag_scheme import Constraints
from gatework.nn.crf import CRF
from gatework.nn.tensors import TensorBatch
from gatework.nn.trunk import Trunk

UNKNOWN = -1
"""A tag that is not known."""


class TagLayer(nn.Module):
    """Scores of one layer's tags, and what makes a distribution over sequences of them."""

    def __init__(
        self, inputs: int, tags: int, decoder: str, constraints: Constraints | None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, tags)
        self.crf = CRF(tags, constraints=constraints)
        self.softmax, self.label_smoothing = decoder == "softmax", label_smoothing
        if self.softmax:  # the best allowed sequence is that of a CRF that knows nothing else
            for part in self.crf.parameters():
                nn.init.zeros_(part)
                part.requires_grad_(False)

    def loss(self, emissions_BLC: Tensor, tags_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Mean over sequences of -log p(tags), nats."""
        if not self.softmax:
            loss: Tensor = self.crf(emissions_BLC.float(), tags_BL, lengths_B, reduction="mean")
            return loss
        live_BL = torch.arange(tags_BL.shape[1]) < lengths_B[:, None]
        nll = nn.functional.cross_entropy(
            emissions_BLC.float().flatten(0, 1),
            tags_BL.where(live_BL, UNKNOWN).flatten(),
            ignore_index=UNKNOWN,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return nll / len(tags_BL)

    def weights(self, layer: int) -> Iterator[tuple[str, Tensor]]:
        """Parameters under the names of a bundle."""
        head, crf = (f"also.{layer - 1}.",) * 2 if layer else ("head.", "crf.")
        yield f"{head}weight", self.linear.weight
        yield f"{head}bias", self.linear.bias
        if not self.softmax:
            yield f"{crf}transitions", self.crf.transitions
            yield f"{crf}start", self.crf.start_transitions
            yield f"{crf}end", self.crf.end_transitions


class Tagger(Trunk):
    """An architecture with the head per_step, with weights. Further options as in `Trunk`."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        constraints: Sequence[Constraints | None] = (),
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        """
        Args:
            constraints: what each tag layer allows; None, or no entry, for all.
            label_smoothing: of a softmax's loss.
        Raises: ConfigError: constraints of another size, or as `Trunk`.
        """
        super().__init__(architecture, **options)
        a = architecture
        if label_smoothing and a.decoder != "softmax":
            raise ConfigError(
                f"train.label_smoothing {label_smoothing} is for the decoder softmax. Set it to 0 for a CRF."
            )
        allowed = [*constraints, *[None] * len(a.layers)]
        self.layers = nn.ModuleList(
            TagLayer(a.head_inputs, tags, a.decoder, allow, label_smoothing)
            for tags, allow in zip(a.layers, allowed, strict=False)
        )

    def forward(self, batch: TensorBatch, rows_BL: Tensor | None = None) -> list[Tensor]:
        """Emissions of each tag layer, (B, L, C); what lies past a sequence's length means nothing.

        Args:
            batch: of windows; without `rows_BL` each is a sequence.
            rows_BL: which window and token each token of a sequence is, see `core.windows.Pieces`.
        """
        y_WTP = self.encode(batch)
        if rows_BL is not None:
            y_WTP = y_WTP.flatten(0, 1)[rows_BL.clamp(min=0)]
        return [layer.linear(y_WTP) for layer in self._layers()]

    def loss(self, emissions: Sequence[Tensor], tags: Sequence[Tensor], lengths_B: Tensor) -> Tensor:
        """The sum over layers of the mean over sequences of -log p(tags); tags are int64 (B, L) for each layer."""
        losses = [
            layer.loss(emissions_BLC, tags_BL, lengths_B)
            for layer, emissions_BLC, tags_BL in zip(self._layers(), emissions, tags, strict=True)
        ]
        total = losses[0]
        for more in losses[1:]:
            total = total + more
        if torch.isinf(total):
            raise DataError("a sequence of tags is one that the tag scheme forbids. Run gatework check on the data.")
        return total

    @torch.no_grad()
    def decode(self, emissions: Sequence[Tensor], lengths_B: Tensor) -> list[Tensor]:
        """The best allowed tags of each layer, int64 (B, L), 0 past each length."""
        return [
            layer.crf.decode(emissions_BLC.float(), lengths_B)[0]
            for layer, emissions_BLC in zip(self._layers(), emissions, strict=True)
        ]

    def head_weights(self) -> Iterator[tuple[str, Tensor]]:
        for number, layer in enumerate(self._layers()):
            yield from layer.weights(number)

    def _layers(self) -> Iterator[TagLayer]:
        for layer in self.layers:
            assert isinstance(layer, TagLayer)  # the constructor makes nothing else
            yield layer
