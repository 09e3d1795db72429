"""What each kind of model reads and answers as tensors: names, types and shapes, which its metadata tell.

    inputs    text BYTES [B]; or tokens INT64 [B, T], ids padded with 0 behind, where a model reads nothing but ids
    classify  label BYTES [B], score FP32 [B], scores FP32 [B, C] in the order of the labels
    tag       tags BYTES [B] and spans BYTES [B], JSON each
    seq2seq   text BYTES [B], score FP32 [B], log_p FP32 [B]
    lm        text BYTES [B], what was written; log_p FP32 [B] of it; input_log_p FP32 [B] of what was read; reason
              BYTES [B]
    all       answer BYTES [B]: the whole answer as JSON

A later task with numbers in and out adds its kind here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gatework.server.refusal import Refusal

_OUTPUTS = {
    "classify": (("label", "BYTES"), ("score", "FP32"), ("scores", "FP32")),
    "tag": (("tags", "BYTES"), ("spans", "BYTES")),
    "seq2seq": (("text", "BYTES"), ("score", "FP32"), ("log_p", "FP32")),
    "lm": (("text", "BYTES"), ("log_p", "FP32"), ("input_log_p", "FP32"), ("reason", "BYTES")),
}


class Port(NamedTuple):
    """An input or output: -1 for sizes that may be any."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class Ports(NamedTuple):
    """Those of a model, by name."""

    inputs: dict[str, Port]
    """One of these is given."""
    outputs: dict[str, Port]

    @classmethod
    def of(cls, kind: str, model: Any) -> Ports:
        """Those of a `runtime.Model` of a kind."""
        inputs = [Port("text", "BYTES", (-1,))]
        if model.reads_ids:
            inputs.append(Port("tokens", "INT64", (-1, -1)))
        rows = {"scores": (-1, len(model.labels))}
        outputs = [Port(name, datatype, rows.get(name, (-1,))) for name, datatype in _OUTPUTS[kind]]
        outputs.append(Port("answer", "BYTES", (-1,)))
        return cls({port.name: port for port in inputs}, {port.name: port for port in outputs})

    def wanted(self, names: Sequence[str], model: str) -> Sequence[str]:
        """Names of the outputs to give; all where none is named. Raises Refusal 400: one is unknown."""
        for name in names:
            if name not in self.outputs:
                known = ", ".join(self.outputs)
                raise Refusal(400, f"output {name[:60]!r} is unknown. {model} has {known}.")
        return names or tuple(self.outputs)
