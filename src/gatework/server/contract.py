"""What is asked of each kind of model as tensors, and answered so, for both doors of the Open Inference Protocol; their
names and shapes are in `ports`.

Parameters of a request that are not the protocol's own are options, as at the friendly door. A language model writes
`max_tokens` tokens, 0 unless said. With a `sequence_id` a request is a piece of running text, see `sequences`: [1] in,
and of a tagger as many out as sentences are due, of a classifier [1], for the text so far.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatework.server.asking import Asking, checked_options, checked_texts
from gatework.server.limits import Limits
from gatework.server.ports import Port
from gatework.server.refusal import Refusal
from gatework.server.registry import Served
from gatework.server.requests import dumped
from gatework.server.sequences import Held, Place, Sequences, check_keeps, place_of
from gatework.server.tensors import Tensor, numbers, strings, texts

Tensors = dict[str, Tensor]

PLATFORM = "gatework"
SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
OWN = (
    "binary_data_output", "priority", "timeout", "headers", "triton_enable_empty_final_response", *SEQUENCE
)  # fmt: skip
"""Parameters of the protocol."""
STREAM = "stream"
"""The parameter with which a language model answers piece by piece, where a door has room for several answers."""
TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT64": "TYPE_INT64"}


def metadata(served: Served) -> dict[str, Any]:
    """The protocol's metadata of a model."""
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": PLATFORM,
        "inputs": [port.to_dict() for port in served.ports.inputs.values()],
        "outputs": [port.to_dict() for port in served.ports.outputs.values()],
        "parameters": {"task": served.model.task, "labels": list(served.model.labels)},
    }


def configuration(served: Served, most: int) -> dict[str, Any]:
    """The same as Triton's ModelConfig, as JSON."""

    def port(one: Port) -> dict[str, Any]:
        return {"name": one.name, "data_type": TYPES[one.datatype], "dims": list(one.shape)}

    return {
        "name": served.name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": 0,  # the shapes above name the batch
        "input": [port(one) for one in served.ports.inputs.values()],
        "output": [port(one) for one in served.ports.outputs.values()],
        "parameters": {"task": {"string_value": served.model.task}, "most_texts": {"string_value": str(most)}},
    }


async def infer(
    asking: Asking,
    sequences: Sequences,
    served: Served,
    inputs: Mapping[str, Tensor],
    parameters: Mapping[str, Any],
) -> Tensors:
    """All outputs for the inputs of a request. Raises: Refusal, UserError."""
    place = place_of(parameters)
    if place is not None:
        check_keeps(served)
        served = sequences.model(served, place)
        return await _piece(asking, sequences, served, place, _asked(asking.limits, served, inputs, parameters))
    examples, options = _asked(asking.limits, served, inputs, parameters)
    if served.kind == "lm":
        return await asking.call(partial(_written, served, examples, options))
    _check_shaped(options)
    return _TENSORS[served.kind](served, await asking.predict(served, examples, options) if examples else [])


def infer_now(
    limits: Limits, served: Served, inputs: Mapping[str, Tensor], parameters: Mapping[str, Any]
) -> Tensors | None:
    """The same where neither another thread nor a state is needed for it; else None. Raises: Refusal, UserError."""
    if served.kind == "lm" or any(name in parameters for name in SEQUENCE):
        return None
    examples, options = _asked(limits, served, inputs, parameters)
    _check_shaped(options)
    answers = served.batcher.now(examples, options) if examples else None
    return None if answers is None else _TENSORS[served.kind](served, answers)


def asks_for_pieces(served: Served, parameters: Mapping[str, Any]) -> bool:
    """Whether a language model is to answer piece by piece. Raises Refusal 400: `stream` is no boolean."""
    wish = parameters.get(STREAM, False)
    if served.kind != "lm" or wish is False:
        return False
    if wish is not True:
        raise Refusal(400, f"{STREAM} must be true or false, got {wish!r:.40}.")
    return True


async def infer_pieces(
    asking: Asking, served: Served, inputs: Mapping[str, Tensor], parameters: Mapping[str, Any]
) -> AsyncIterator[tuple[Tensors, bool]]:
    """What a language model writes, as it is written: `text` alone; at the end, with True, the other outputs of the
    whole, and a `text` that is empty. Raises: Refusal, UserError."""
    if place_of(parameters) is not None:
        raise Refusal(422, f"{STREAM} and sequence_id do not go together here. A WebSocket streams within a sequence.")
    parameters = {name: value for name, value in parameters.items() if name != STREAM}
    examples, options = _asked(asking.limits, served, inputs, parameters)
    if len(examples) != 1:
        raise Refusal(400, f"a request that is answered piece by piece has one text, got {len(examples)}.")

    def begin() -> tuple[Any, Any]:
        [read] = served.model.read(examples)
        return read, served.model.stream("", state=read.state, **options)

    read, stream = await asking.call(begin)
    async for piece in asking.pieces(lambda: stream):
        yield {"text": texts([piece])}, False
    yield _spoken([read], [stream.result]) | {"text": texts([""])}, True


class _Asked(NamedTuple):
    """What a request asks."""

    examples: list[Any]
    options: dict[str, Any]


def _asked(limits: Limits, served: Served, inputs: Mapping[str, Tensor], parameters: Mapping[str, Any]) -> _Asked:
    given = {name: value for name, value in parameters.items() if name not in OWN}
    if given.pop(STREAM, False) is not False:
        raise Refusal(400, f"{STREAM}: only language models answer piece by piece, and only in ModelStreamInfer.")
    if served.kind == "lm":
        given = {"max_tokens": 0, **given}
    return _Asked(_examples(limits, served, inputs), checked_options(served, given, limits))


def _check_shaped(options: Mapping[str, Any]) -> None:
    if "top_k" in options:
        raise Refusal(400, "top_k is an option of /v1: tensors have a fixed shape.")


async def _piece(asking: Asking, sequences: Sequences, served: Served, place: Place, asked: _Asked) -> Tensors:
    """The outputs for a further piece of a sequence."""
    examples, options = asked
    if len(examples) != 1:
        raise Refusal(400, f"a request of a sequence has one text, got {len(examples)}.")
    if served.kind == "lm":
        return await sequences.run(served, place, partial(_read_on, example=examples[0], options=options))
    _check_shaped(options)
    if options and not place.start:
        raise Refusal(422, "options go with the start of a sequence.")
    if not isinstance(examples[0], str):
        raise Refusal(422, "running text is text: send 'text', not 'tokens'.")
    return await sequences.run(served, place, partial(_feed, place=place, text=examples[0], options=options))


def _read_on(held: Held, *, example: Any, options: Mapping[str, Any]) -> Tensors:
    """A piece of a language model's text, and what follows it."""
    if options.get("count", 1) != 1:
        raise Refusal(422, "count makes no sense in a sequence.")
    model = held.served.model
    [read] = model.read([example], None if held.state is None else [held.state])
    answer = model.generate("", state=read.state, **options)
    held.state = answer.state
    return _spoken([read], [answer])


def _feed(held: Held, *, place: Place, text: str, options: Mapping[str, Any]) -> Tensors:
    """A piece of running text: of a tagger the sentences that are due, of a classifier the answer for the text so
    far."""
    stream = held.served.model.stream(**options) if held.state is None else held.state
    answers = stream.feed(text) + (stream.end() if place.end else [])
    held.state = stream
    return _TENSORS[held.served.kind](held.served, answers)


def _examples(limits: Limits, served: Served, inputs: Mapping[str, Tensor]) -> list[Any]:
    """The texts of a request, or the ids of each row."""
    ports = served.ports.inputs
    if len(inputs) != 1:
        raise Refusal(400, f"{served.name} takes one input: {' or '.join(ports)}; got {len(inputs)}.")
    [(name, tensor)] = inputs.items()
    port = ports.get(name)
    if port is None:
        raise Refusal(400, f"input {name[:60]!r} is unknown. {served.name} takes {' or '.join(ports)}.")
    if tensor.datatype != port.datatype:
        raise Refusal(400, f"input {name!r} must be {port.datatype}, got {tensor.datatype}.")
    if name == "text":
        if math.prod(tensor.shape) != (tensor.shape[0] if tensor.shape else 1):  # [B, 1] is taken for [B]
            raise Refusal(400, f"input 'text' must have the shape [B], got {list(tensor.shape)}.")
        return checked_texts(strings(name, tensor), limits, "text")
    if len(tensor.shape) != 2:
        raise Refusal(400, f"input 'tokens' must have the shape [B, T], got {list(tensor.shape)}.")
    rows, longest = tensor.shape
    if rows > limits.batch or longest > limits.text_chars:
        raise Refusal(422, f"at most {limits.batch} rows of {limits.text_chars:,} tokens, got {rows} of {longest}.")
    return list(tensor.values)


def _classified(served: Served, answers: Sequence[Any]) -> Tensors:
    labels = served.model.labels
    rows = [[answer.scores[label] for label in labels] for answer in answers]
    return {
        "label": texts([answer.label for answer in answers]),
        "score": numbers("FP32", [answer.score for answer in answers]),
        "scores": numbers("FP32", np.array(rows).reshape(len(rows), len(labels))),
        "answer": _whole(answers),
    }


def _tagged(served: Served, answers: Sequence[Any]) -> Tensors:
    plain = [answer.to_dict() for answer in answers]
    return {
        "tags": texts([dumped(list(answer.tags)).decode() for answer in answers]),
        "spans": texts([dumped(one.get("spans", [])).decode() for one in plain]),
        "answer": texts([dumped(one).decode() for one in plain]),
    }


def _translated(served: Served, answers: Sequence[Any]) -> Tensors:
    return {
        "text": texts([answer.text for answer in answers]),
        "score": numbers("FP32", [answer.score for answer in answers]),
        "log_p": numbers("FP32", [answer.log_p for answer in answers]),
        "answer": _whole(answers),
    }


def _written(served: Served, examples: Sequence[Any], options: Mapping[str, Any]) -> Tensors:
    if options.get("count", 1) != 1:
        raise Refusal(422, "count is an option of /v1: tensors have a fixed shape.")
    read = served.model.read(examples)
    answers = served.model.generate([""] * len(read), state=[one.state for one in read], **options) if read else []
    return _spoken(read, answers)


def _spoken(read: Sequence[Any], answers: Sequence[Any]) -> Tensors:
    return {
        "text": texts([answer.text for answer in answers]),
        "log_p": numbers("FP32", [answer.log_p for answer in answers]),
        "input_log_p": numbers("FP32", [one.log_p for one in read]),
        "reason": texts([answer.reason for answer in answers]),
        "answer": _whole(answers),
    }


def _whole(answers: Sequence[Any]) -> Tensor:
    return texts([dumped(answer.to_dict()).decode() for answer in answers])


_TENSORS = {"classify": _classified, "tag": _tagged, "seq2seq": _translated}
