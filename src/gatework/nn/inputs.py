"""What reads a batch's tokens: everything that joins into the vectors the encoder reads, for every network alike.

    token vector  +  n-grams that end at the token  +  its characters composed  +  the lexicon's words over it
        +  BERT  or  the states of a language model

(+ stands for side by side; each part but the first is there only where the architecture has it).

W windows, T time, E width of all parts together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatework.core.architecture import Architecture
from gatework.core.errors import BundleError
from gatework.nn.bert import BertInput
from gatework.nn.characters import CharacterComposition
from gatework.nn.dropout import check_chance, locked_dropout, word_dropout
from gatework.nn.embedding import Embedding
from gatework.nn.lexicon import SoftLexicon
from gatework.nn.ngrams import LocalNgrams
from gatework.nn.states import StatesInput
from gatework.nn.tensors import TensorBatch


class Inputs(nn.Module):
    """A batch to the vectors of its tokens."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        feature_dropout: float = 0.0,
        vectors_VE: npt.NDArray[np.floating] | None = None,
        freeze_vectors: bool = False,
        sparse_embedding: bool | None = None,
        bert_trained: bool = False,
        states_dropout: float = 0.0,
    ) -> None:
        """
        Args:
            embedding_dropout: one mask a window, on all parts.
            bert_trained: run the BERT here and train it; else its hidden layers come with the batch.
            states_dropout: of the states of a language model, see `StatesInput`.
            word_dropout: chance that a token is read as unknown.
            feature_dropout: chance that a row of the local or the lexicon table is left out at a token.
            vectors_VE, freeze_vectors, sparse_embedding: of the token vectors, see `Embedding`.
        Raises: ConfigError: a chance outside [0, 1). DataError: vectors that do not fit.
        """
        super().__init__()
        a = architecture
        self.embedding_dropout = check_chance("model.embedding_dropout", embedding_dropout)
        self.word_dropout = check_chance("input.word_dropout", word_dropout)
        self.feature_dropout = check_chance("input.feature_dropout", feature_dropout)
        self.embedding = Embedding(
            a.vocabulary, a.embedding, vectors_VE=vectors_VE, freeze=freeze_vectors, sparse=sparse_embedding
        )
        self.local = LocalNgrams(a.ngram_rows, a.ngram_embedding) if a.ngram_embedding else None
        self.characters = None if a.characters is None else CharacterComposition(a.characters)
        self.lexicon = SoftLexicon(a.lexicon_rows, a.lexicon_embedding) if a.lexicon_rows else None
        self.bert = None if a.bert is None else BertInput(a.bert, trained=bert_trained)
        self.states = None if a.states is None else StatesInput(a.states, dropout=states_dropout)

    def forward(self, batch: TensorBatch) -> Tensor:
        """x_WTE, with the dropouts of words and of vectors in training."""
        tokens_WT = word_dropout(batch.tokens_WT, self.word_dropout, self.training)
        parts: list[Tensor] = [self.embedding(tokens_WT)]
        if self.local is not None:
            parts.append(self.local(word_dropout(batch.local_WTM, self.feature_dropout, self.training, unknown=0)))
        if self.characters is not None:
            if batch.characters_WTK is None:
                raise BundleError("the model composes characters, but the batch has none. Encode with its own codec.")
            parts.append(self.characters(batch.characters_WTK))
        if self.lexicon is not None:
            if batch.lexicon is None:
                raise BundleError("the model reads a lexicon, but the batch has none. Encode with its own codec.")
            rows_L = word_dropout(batch.lexicon.rows_L, self.feature_dropout, self.training, unknown=0)
            parts.append(self.lexicon(batch.lexicon._replace(rows_L=rows_L), tokens_WT.shape))
        if self.bert is not None:
            parts.append(self.bert(batch))
        if self.states is not None:
            parts.append(self.states(batch))
        x_WTE = torch.cat(parts, 2) if len(parts) > 1 else parts[0]
        return locked_dropout(x_WTE, self.embedding_dropout, self.training)

    def sparse_parameters(self) -> list[nn.Parameter]:
        """Parameters whose gradients are sparse: those of large tables."""
        tables = [self.embedding, self.local, self.lexicon]
        return [table.weight for table in tables if table is not None and table.sparse]

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under its name in a bundle."""
        yield "embedding.weight", self.embedding.weight
        if self.local is not None:
            yield "local.weight", self.local.weight
        if self.characters is not None:
            for name, weight in self.characters.weights():
                yield f"characters.{name}", weight
        if self.lexicon is not None:
            yield "lexicon.weight", self.lexicon.weight
        if self.bert is not None:
            for name, weight in self.bert.weights():
                yield f"bert.{name}", weight
        if self.states is not None:
            for name, weight in self.states.weights():
                yield f"states.{name}", weight
