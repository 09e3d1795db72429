"""What all networks have: inputs, the recurrent encoder, and weights under the names of a bundle.

W windows, T time, P outputs of the encoder.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from gatework.core.architecture import Architecture
from gatework.nn.dropout import check_chance, dropout
from gatework.nn.inputs import Inputs
from gatework.nn.recurrent import RecurrentStack
from gatework.nn.tensors import TensorBatch
from gatework.nn.weights import load_arrays, to_arrays


class Trunk(nn.Module):
    """Base of the networks: tokens to the encoder's outputs. A subclass adds a head."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        feature_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
        forget_bias: float = 1.0,
        vectors_VE: npt.NDArray[np.floating] | None = None,
        freeze_vectors: bool = False,
        sparse_embedding: bool | None = None,
        bert_trained: bool = False,
        states_dropout: float = 0.0,
    ) -> None:
        """
        Args:
            dropout: on each layer's outputs, and on what the head reads.
            embedding_dropout, word_dropout, feature_dropout: see `Inputs`.
            vectors_VE, freeze_vectors, sparse_embedding, bert_trained, states_dropout: see `Inputs`.
            variational_dropout, weight_drop, zoneout, forget_bias: of the encoder, see `RecurrentStack`.
        Raises: ConfigError, DataError: as the parts do.
        """
        super().__init__()
        self.architecture = architecture
        self.dropout = check_chance("model.dropout", dropout)
        encoder = architecture.encoder
        self.inputs = Inputs(
            architecture,
            embedding_dropout=embedding_dropout,
            word_dropout=word_dropout,
            feature_dropout=feature_dropout,
            vectors_VE=vectors_VE,
            freeze_vectors=freeze_vectors,
            sparse_embedding=sparse_embedding,
            bert_trained=bert_trained,
            states_dropout=states_dropout,
        )
        self.encoder = RecurrentStack(
            encoder.cell,
            architecture.encoder_inputs,
            encoder.units,
            layers=encoder.layers,
            bidirectional=encoder.bidirectional,
            residual=encoder.residual,
            projection=encoder.projection,
            dropout=dropout,
            variational_dropout=variational_dropout,
            weight_drop=weight_drop,
            zoneout=zoneout,
            forget_bias=forget_bias,
        )

    def encode(self, batch: TensorBatch) -> Tensor:
        """Outputs of the encoder, y_WTP, zero past each length, with dropout in training."""
        y_WTP, _ = self.encoder(self.inputs(batch), lengths_B=batch.lengths_W)
        return dropout(y_WTP, self.dropout, self.training)

    def sparse_parameters(self) -> list[nn.Parameter]:
        """Trained parameters whose gradients are sparse: those of large tables."""
        return [p for p in [*self.inputs.sparse_parameters(), *self.head_tables()] if p.requires_grad]

    def dense_parameters(self) -> list[nn.Parameter]:
        """Trained parameters with ordinary gradients."""
        sparse = {id(parameter) for parameter in self.sparse_parameters()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in sparse]

    def head_tables(self) -> list[nn.Parameter]:
        """Tables of the head with sparse gradients."""
        return []

    @abstractmethod
    def head_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters of the head under their names in a bundle."""

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle (see `core.architecture`)."""
        yield from self.inputs.weights()
        for name, weight in self.encoder.weights():
            yield f"encoder.{name}", weight
        yield from self.head_weights()

    def to_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """See `weights.to_arrays`."""
        return to_arrays(self.named_weights())

    def load_weights(self, weights: Mapping[str, npt.NDArray[np.floating]]) -> None:
        """See `weights.load_arrays`."""
        load_arrays(self.named_weights(), weights)
