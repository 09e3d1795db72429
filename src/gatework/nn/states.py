"""The states of a frozen language model, brought to a width, as a module; `runtime.states` states the equations.

W windows, T time, N tokens, H width of the states, Q width they are brought to.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from gatework.core.architecture import States
from gatework.core.errors import BundleError
from gatework.nn.bert import scatter
from gatework.nn.dropout import check_chance, keep_mask
from gatework.nn.tensors import TensorBatch


class StatesInput(nn.Module):
    """What joins the token vectors. The states were computed before (`train.hidden_layers`) and come with the batch."""

    def __init__(self, settings: States, *, dropout: float = 0.0) -> None:
        """`dropout`: on the states, one mask a window. Raises: ConfigError: outside [0, 1)."""
        super().__init__()
        self.dropout = check_chance("model.language_model_dropout", dropout)
        self.projection = nn.Linear(settings.width, settings.projection) if settings.projection else None

    def forward(self, batch: TensorBatch) -> Tensor:
        """x_WTQ, zero past each length."""
        if batch.hidden_NLH is None:
            raise BundleError("the model reads a language model, but the batch has no states of one.")
        x_NH = batch.hidden_NLH[:, 0].float()
        if self.training and self.dropout:
            mask_WH = keep_mask((len(batch.lengths_W), x_NH.shape[1]), self.dropout, x_NH)
            x_NH = x_NH * mask_WH.repeat_interleave(batch.lengths_W.to(mask_WH.device), 0)
        return scatter(x_NH if self.projection is None else self.projection(x_NH), batch)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters under the names of a bundle, without the leading `states.`."""
        if self.projection is not None:
            yield "projection.weight", self.projection.weight
            yield "projection.bias", self.projection.bias
