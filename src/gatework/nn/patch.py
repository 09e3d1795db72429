"""`patch_torch`: an existing program's `torch.nn.LSTM`, `GRU` and `RNN` computed by our kernels.

torch's modules hand their checked inputs to functions of `torch._VF`. While patched, `torch.nn.modules.rnn` sees ours
in place of four of them: float32 and bfloat16 on the CPU are computed here, everything else goes on to torch: other
devices and dtypes, tracing, scripting, compiling, exporting, quantised modules, classes with a `forward` of their own.
Dropout between layers is torch's, from the same random numbers, so that a seed means what it meant.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import rnn

from gatework.cells import CELLS
from gatework.nn.dropin import layer_params, lengths_of, run_layers
from gatework.nn.ops import covered

_VF: Any = torch._VF
CELLS_OF = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn-relu"}
"""Functions of `torch._VF` that are replaced, and the cell of each."""


class Patch:
    """Our kernels in torch's place from the moment it is made; `undo()`, or the end of a `with`, takes them out."""

    def __init__(self) -> None:
        self.done = False
        _apply(1)

    def undo(self) -> None:
        """Give torch its own functions back. With several patches in force, the last one to go does; twice is fine."""
        if not self.done:
            self.done = True
            _apply(-1)

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.undo()


def patch_torch() -> Patch:
    """Compute `torch.nn.LSTM`, `GRU` and `RNN` with our kernels, in this whole process, until undone.

    with gatework.patch_torch():
        trainer.train()

    Or call it once, at the start of a program, and leave it. Results agree with torch's to rounding. What the kernels
    do not cover falls through to torch: see the module.
    """
    return Patch()


_count = 0


def _apply(change: int) -> None:
    global _count
    _count += change
    rnn._VF = _OURS if _count else _VF  # type: ignore[attr-defined]


class _Functions(ModuleType):
    """`torch._VF` with four functions replaced."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_VF, name)


def _replacement(name: str) -> Callable[..., Any]:
    theirs = getattr(_VF, name)

    def compute(input: Tensor, *args: Any) -> Any:
        if not _ours(input, args):
            return theirs(input, *args)
        return _compute(name, input, *args)

    # A compiled caller breaks its graph here, as it does at torch's own modules; TorchScript sees torch's function.
    function: Callable[..., Any] = torch.compiler.disable(compute)  # type: ignore[no-untyped-call]
    torch.jit._builtins._register_builtin(function, f"aten::{name}")
    return function


def _ours(input: Tensor, args: tuple[Any, ...]) -> bool:
    packed = not isinstance(args[2], bool)
    flat = args[2] if packed else args[1]
    return (
        type(input) in (Tensor, torch.nn.Parameter)
        and input.dim() == (2 if packed else 3)
        and input.numel() > 0
        and covered(input, flat[0])
        and all(weight.dtype == flat[0].dtype for weight in flat)
        and not (
            torch.compiler.is_compiling()
            or torch._C._get_tracing_state() is not None
            or torch._C._len_torch_dispatch_stack()
        )
    )


def _compute(name: str, input: Tensor, *args: Any) -> tuple[Tensor, ...]:
    """The arguments of `torch._VF`'s functions: (input, hx, weights, bias, layers, dropout, training, bidirectional,
    batch_first), or packed (rows, batch_sizes, hx, weights, bias, layers, dropout, training, bidirectional)."""
    lengths_B, batch_first = None, False
    if not isinstance(args[2], bool):
        lengths_B, args = lengths_of(args[0]), args[1:]
        hx, flat, bias, _, chance, training, bidirectional = args
    else:
        hx, flat, bias, _, chance, training, bidirectional, batch_first = args
    state = list(hx) if isinstance(hx, tuple | list) else [hx]
    projects = name == "lstm" and state[0].shape[2] != state[1].shape[2]
    cell = CELLS["lstm-projection" if projects else CELLS_OF[name]]
    y, last = run_layers(
        cell,
        input.transpose(0, 1) if batch_first else input,
        lengths_B,
        layer_params(cell, flat, bias),
        state,
        directions=2 if bidirectional else 1,
        between=lambda x: torch.dropout(x, chance, training),
    )
    return y.transpose(0, 1) if batch_first else y, *last


_OURS = _Functions("torch._VF", "torch._VF with the recurrent layers of gatework.")
for _name in CELLS_OF:
    setattr(_OURS, _name, _replacement(_name))
