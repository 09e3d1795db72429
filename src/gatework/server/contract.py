"""What each kind of model reads and answers as tensors, for both doors of the Open Inference Protocol.

    inputs    text BYTES [B]; or tokens INT64 [B, T], ids padded with 0 behind, where a model reads nothing but ids
    classify  label BYTES [B], score FP32 [B], scores FP32 [B, C] in the order of the labels
    tag       tags BYTES [B] and spans BYTES [B], JSON each
    seq2seq   text BYTES [B], score FP32 [B], log_p FP32 [B]
    lm        text BYTES [B], what was written; log_p FP32 [B] of it; input_log_p FP32 [B] of what was read; reason
              BYTES [B]
    all       answer BYTES [B]: the whole answer as JSON

Parameters of a request that are not the protocol's own are options, as at the friendly door. A language model writes
`max_tokens` tokens, 0 unless said. With a `sequence_id` a request is a piece of running text, see `sequences`: [1] in,
and of a tagger as many out as sentences are due. A later task with numbers in and out adds its kind here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gatework.server.asking import Asking, checked_options, checked_texts
from gatework.server.refusal import Refusal
from gatework.server.registry import Served
from gatework.server.requests import dumped
from gatework.server.sequences import Held, Place, Sequences, check_keeps, place_of
from gatework.server.tensors import Tensor, numbers, strings, texts

Tensors = dict[str, Tensor]

PLATFORM = "gatework"
OWN = (
    "binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers",
    "triton_enable_empty_final_response",
)  # fmt: skip
"""Parameters of the protocol."""
STREAM = "stream"
"""The parameter with which a language model answers piece by piece, where a door has room for several answers."""
TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT64": "TYPE_INT64"}


class Port(NamedTuple):
    """An input or output: -1 for sizes that may be any."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


_OUTPUTS = {
    "classify": (("label", "BYTES"), ("score", "FP32"), ("scores", "FP32")),
    "tag": (("tags", "BYTES"), ("spans", "BYTES")),
    "seq2seq": (("text", "BYTES"), ("score", "FP32"), ("log_p", "FP32")),
    "lm": (("text", "BYTES"), ("log_p", "FP32"), ("input_log_p", "FP32"), ("reason", "BYTES")),
}


def inputs_of(served: Served) -> tuple[Port, ...]:
    """What a model may be asked with: one of these."""
    ports = (Port("text", "BYTES", (-1,)),)
    return (*ports, Port("tokens", "INT64", (-1, -1))) if served.model.reads_ids else ports


def outputs_of(served: Served) -> tuple[Port, ...]:
    """What a model answers."""
    rows = {"scores": (-1, len(served.model.labels))}
    ports = [Port(name, datatype, rows.get(name, (-1,))) for name, datatype in _OUTPUTS[served.kind]]
    return (*ports, Port("answer", "BYTES", (-1,)))


def metadata(served: Served) -> dict[str, Any]:
    """The protocol's metadata of a model."""
    return {
        "name": served.name,
        "versions": [served.version],
        "platform": PLATFORM,
        "inputs": [port.to_dict() for port in inputs_of(served)],
        "outputs": [port.to_dict() for port in outputs_of(served)],
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
        "input": [port(one) for one in inputs_of(served)],
        "output": [port(one) for one in outputs_of(served)],
        "parameters": {"task": {"string_value": served.model.task}, "most_texts": {"string_value": str(most)}},
    }


def wanted_outputs(served: Served, names: Sequence[str]) -> list[str]:
    """Names of the outputs to give; all where none is named. Raises Refusal 400: one is unknown."""
    known = [port.name for port in outputs_of(served)]
    for name in names:
        if name not in known:
            raise Refusal(400, f"output {name[:60]!r} is unknown. {served.name} has {', '.join(known)}.")
    return list(names) or known


async def infer(
    asking: Asking,
    sequences: Sequences,
    served: Served,
    inputs: Mapping[str, Tensor],
    parameters: Mapping[str, Any],
) -> Tensors:
    """All outputs for the inputs of a request. Raises: Refusal, UserError."""
    given = {name: value for name, value in parameters.items() if name not in OWN}
    if given.pop(STREAM, False) is not False:
        raise Refusal(400, f"{STREAM}: only language models answer piece by piece, and only in ModelStreamInfer.")
    place = place_of(parameters)
    if place is not None:
        check_keeps(served)
        served = sequences.model(served, place)
    examples = _examples(asking, served, inputs)
    if place is not None:
        return await _piece(asking, sequences, served, place, examples, given)
    if served.kind == "lm":
        options = checked_options(served, {"max_tokens": 0, **given}, asking.limits)
        return await asking.call(partial(_written, served, examples, options))
    if "top_k" in given:
        raise Refusal(400, "top_k is an option of /v1: tensors have a fixed shape.")
    options = checked_options(served, given, asking.limits)
    return _TENSORS[served.kind](served, await asking.predict(served, examples, options) if examples else [])


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
    given = {name: value for name, value in parameters.items() if name not in (*OWN, STREAM)}
    options = checked_options(served, {"max_tokens": 0, **given}, asking.limits)
    examples = _examples(asking, served, inputs)
    if len(examples) != 1:
        raise Refusal(400, f"a request that is answered piece by piece has one text, got {len(examples)}.")

    def begin() -> tuple[Any, Any]:
        [read] = served.model.read(examples)
        return read, served.model.stream("", state=read.state, **options)

    read, stream = await asking.call(begin)
    async for piece in asking.pieces(lambda: stream):
        yield {"text": texts([piece])}, False
    yield _spoken([read], [stream.result]) | {"text": texts([""])}, True


async def _piece(
    asking: Asking, sequences: Sequences, served: Served, place: Place, examples: list[Any], given: dict[str, Any]
) -> Tensors:
    """The outputs for a further piece of a sequence."""
    if len(examples) != 1:
        raise Refusal(400, f"a request of a sequence has one text, got {len(examples)}.")
    if served.kind == "lm":
        options = checked_options(served, {"max_tokens": 0, **given}, asking.limits)
        return await sequences.run(served, place, partial(_read_on, example=examples[0], options=options))
    if given and not place.start:
        raise Refusal(422, "options of a tagger go with the start of a sequence.")
    if not isinstance(examples[0], str):
        raise Refusal(422, "running text is text: send 'text', not 'tokens'.")
    options = checked_options(served, given, asking.limits)
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
    """A piece of a tagger's running text: the sentences that are due."""
    stream = held.served.model.stream(**options) if held.state is None else held.state
    answers = stream.feed(text) + (stream.end() if place.end else [])
    held.state = stream
    return _tagged(held.served, answers)


def _examples(asking: Asking, served: Served, inputs: Mapping[str, Tensor]) -> list[Any]:
    """The texts of a request, or the ids of each row."""
    ports = {port.name: port for port in inputs_of(served)}
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
        return checked_texts(strings(name, tensor), asking.limits, "text")
    if len(tensor.shape) != 2:
        raise Refusal(400, f"input 'tokens' must have the shape [B, T], got {list(tensor.shape)}.")
    rows, longest = tensor.shape
    if rows > asking.limits.batch or longest > asking.limits.text_chars:
        raise Refusal(422, f"at most {asking.limits.batch} rows of {asking.limits.text_chars:,} tokens, got {rows}.")
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
