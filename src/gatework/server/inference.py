"""A request of the Open Inference Protocol and its answer, whichever door it came through."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from gatework.server.asking import Asking
from gatework.server.contract import Tensors, asks_for_pieces, infer, infer_now, infer_pieces
from gatework.server.limits import Limits
from gatework.server.registry import Served
from gatework.server.sequences import Sequences
from gatework.server.tensors import Tensor

FINAL = "triton_final_response"
"""The parameter of an answer that is one of several: whether it is the last."""


class InferRequest(NamedTuple):
    """What was asked. `outputs` are names; empty for all."""

    id: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]


class InferAnswer(NamedTuple):
    """What is answered: outputs in the order they were asked for."""

    model: str
    version: str
    id: str
    outputs: Tensors
    parameters: Mapping[str, Any]


async def answer(asking: Asking, sequences: Sequences, served: Served, request: InferRequest) -> InferAnswer:
    """The outputs of a model for a request, counted in its statistics. Raises: Refusal, UserError."""
    start, failed = time.perf_counter(), True
    try:
        names = served.ports.wanted(request.outputs, served.name)
        found = await infer(asking, sequences, served, request.inputs, request.parameters)
        failed = False
    finally:
        served.tally.add(1, time.perf_counter() - start, failed=failed)
    outputs = {name: found[name] for name in names}
    return InferAnswer(served.name, served.version, request.id, outputs, {})


def answer_now(limits: Limits, served: Served, request: InferRequest) -> InferAnswer | None:
    """The same, where it can be given without waiting for anything; else None, and nothing is counted. Raises: as
    `answer`."""
    start = time.perf_counter()
    names = served.ports.wanted(request.outputs, served.name)
    found = infer_now(limits, served, request.inputs, request.parameters)
    if found is None:
        return None
    served.tally.add(1, time.perf_counter() - start, failed=False)
    return InferAnswer(served.name, served.version, request.id, {name: found[name] for name in names}, {})


async def answers(
    asking: Asking, sequences: Sequences, served: Served, request: InferRequest
) -> AsyncIterator[InferAnswer]:
    """The same where a request may have several answers, of which the last one says that it is the last."""
    if not asks_for_pieces(served, request.parameters):
        yield await answer(asking, sequences, served, request)
        return
    start, failed = time.perf_counter(), True
    try:
        names = served.ports.wanted(request.outputs, served.name)
        async for found, last in infer_pieces(asking, served, request.inputs, request.parameters):
            outputs = {name: found[name] for name in names if name in found}
            if outputs or last:
                yield InferAnswer(served.name, served.version, request.id, outputs, {FINAL: last})
        failed = False
    finally:
        served.tally.add(1, time.perf_counter() - start, failed=failed)


def statistics(served: Served) -> dict[str, Any]:
    """The protocol's statistics of a model."""
    tally = served.tally
    good = {"count": tally.calls, "ns": tally.nanoseconds}
    none = {"count": 0, "ns": 0}
    return {
        "name": served.name,
        "version": served.version,
        "last_inference": tally.last,
        "inference_count": tally.texts,
        "execution_count": tally.calls,
        "inference_stats": {
            "success": good,
            "fail": {"count": tally.failed, "ns": 0},
            "queue": none,
            "compute_input": none,
            "compute_infer": good,
            "compute_output": none,
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
    }
