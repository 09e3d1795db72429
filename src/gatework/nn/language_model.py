"""Pre-training of the embedding and the first recurrent layer as a language model, in both directions.

The forward LSTM's output at a token predicts the next token, the backward one's the token before, each through its own
small projection to the embedding's width; the embedding is the output table too. Deeper layers see both directions,
so what they should predict would be in their input; they start from their initial weights.

The loss is a sampled softmax, see `sampled`.

W windows, T time, N predicted tokens, E embedding, H outputs of a direction, V vocabulary.
Sources: Peters et al., arXiv:1802.05365; Press and Wolf, arXiv:1608.05859.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.errors import ConfigError
from gatework.nn.dropout import dropout
from gatework.nn.sampled import Negatives, shares
from gatework.nn.tensors import TensorBatch
from gatework.nn.trunk import Trunk


class PretrainHead(nn.Module):
    """What pre-training adds to a network: projections, biases of tokens, the distribution of negatives."""

    def __init__(
        self, network: Trunk, vocabulary_counts: Sequence[int] | npt.NDArray[np.integer], *, negatives: int = 1024
    ) -> None:
        """
        Args:
            network: its embedding and first layer are trained by this head's loss. Held, so `state_dict` has all.
            vocabulary_counts: how often each token id occurs in the training text, (V,); 0 for padding.
            negatives: K.
        Raises: ConfigError: the counts do not fit the vocabulary or are all zero.
        """
        super().__init__()
        counts_V = torch.as_tensor(np.array(vocabulary_counts), dtype=torch.float64)
        vocabulary, width = network.inputs.embedding.weight.shape
        if counts_V.shape != (vocabulary,) or counts_V.sum() <= 0:
            raise ConfigError(f"vocabulary_counts must be {vocabulary} counts, some above 0, got {len(counts_V)}.")
        self.network = network
        self.projections = nn.ModuleList(
            nn.Linear(direction.outputs, width) for direction in network.encoder.first_directions()
        )
        self.negatives = Negatives(np.array(vocabulary_counts), count=negatives)
        self.bias_V = nn.Parameter(torch.log(shares(np.array(vocabulary_counts))).clamp(min=-30.0).float())

    def loss(self, batch: TensorBatch) -> Tensor:
        """Mean over directions of the mean nats a token; 0 when no window has two tokens."""
        lengths_W = batch.lengths_W.to(batch.tokens_WT.device)
        steps_T = torch.arange(batch.tokens_WT.shape[1], device=lengths_W.device)
        pairs_WT = steps_T[1:] < lengths_W[:, None]
        if not pairs_WT.any():
            return self.bias_V.sum() * 0.0
        # An n-gram that ends at a token holds the token before it, which the backward direction is to predict.
        batch = batch._replace(local_WTM=torch.zeros_like(batch.local_WTM))
        outputs = self.network.encoder.first_layer(self.network.inputs(batch), lengths_B=batch.lengths_W)
        drawn_K = self.negatives.draw()
        chance, training = self.network.dropout, self.training
        losses = []
        for place, (y_WTH, projection) in enumerate(zip(outputs, self.projections, strict=True)):
            seen, wanted = (slice(1, None), slice(None, -1)) if place else (slice(None, -1), slice(1, None))
            h_NH = dropout(y_WTH[:, seen][pairs_WT], chance, training)
            wanted_N = batch.tokens_WT[:, wanted][pairs_WT]
            nats_N = self.negatives.nats(projection(h_NH), wanted_N, drawn_K, self._vectors, self.bias_V)
            losses.append(nats_N.mean())
        return torch.stack(losses).mean()

    def sparse_parameters(self) -> list[nn.Parameter]:
        """What pre-training changes and gives sparse gradients."""
        weight = self.network.inputs.embedding.weight
        return [weight] if weight.requires_grad and self.network.inputs.embedding.sparse else []

    def dense_parameters(self) -> list[nn.Parameter]:
        """What pre-training changes with ordinary gradients: first layer, characters, projections, biases."""
        parts: list[nn.Module] = [self.network.encoder.layers[0], self.projections]
        parts += [self.network.inputs.characters] if self.network.inputs.characters is not None else []
        found = [parameter for part in parts for parameter in part.parameters()] + [self.bias_V]
        weight = self.network.inputs.embedding.weight
        return found + ([weight] if weight.requires_grad and not self.network.inputs.embedding.sparse else [])

    def _vectors(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.network.inputs.embedding(tokens)
        return vectors
