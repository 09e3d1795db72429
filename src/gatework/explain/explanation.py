"""All there is to show of how a model came to an answer, as plain data: what the page and `gatework explain` draw.

    classify             what each token does for the label (`occlusion`)
    tag                  the tag of each token and how sure it is
    lm                   how unexpected each token was, nats
    translate and so on  where each token written looked (`Translation.attention`)

and of all of them the gates over the text (`runtime.trace`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gatework.core.errors import ConfigError, DataError
from gatework.explain.occlusion import occlusion
from gatework.runtime.trace import follows, trace

if TYPE_CHECKING:
    from gatework.runtime.model import Model

MOST_TOKENS = 256
"""Of a text, that a picture shows."""


def explain(model: Model, text: str, *, label: str | None = None, limit: int = MOST_TOKENS) -> dict[str, Any]:
    """What a model made of a text.

    Args:
        model: of any task.
        text: a string.
        label: of a classifier, the label to explain; None for the one it gives.
        limit: tokens looked at, from the beginning.
    Returns: `task`, `model`, `text`, `answer` (the answer's own `to_dict`; None of a language model); `tokens`, each
        with `text`, of classifiers and taggers `start` and `end` in the text, and `weight` (classify), `tag` and
        `score` (tag) or `nats` (lm); `alignment` of a model that looks at its source; `gates` (`Trace.to_dict`), None
        where the encoder has none; `left_out`, tokens past the limit.
    Raises: ConfigError: a label for another task, or an unknown one; a limit below 1. DataError: the text is no
        string, or has nothing to read.
    """
    if not isinstance(text, str):
        raise DataError(f"a text must be a string, got {type(text).__name__}.")
    if limit < 1:
        raise ConfigError(f"limit must be at least 1, got {limit}.")
    if label is not None and model.task != "classify":
        raise ConfigError(f"a label is explained of classifiers; this model is of the task {model.task}.")
    gates = trace(model, text, limit=limit) if follows(model) else None
    head = model.bundle.architecture.head
    shown: dict[str, Any] = {"answer": None, "alignment": None, "left_out": gates.left_out if gates else 0}
    if head == "per_sequence":
        attribution = occlusion(model, text, label=label, limit=limit).to_dict()
        shown |= {"answer": model.predict(text).to_dict(), "label": attribution["label"]}
        shown |= {"tokens": attribution["tokens"], "left_out": attribution["left_out"]}
    elif head == "per_step":
        answer = model.predict(text)
        shown |= {"answer": answer.to_dict(), "tokens": [token._asdict() for token in answer.tokens[:limit]]}
    elif head == "next_token":
        shown |= {"tokens": _surprise(model, text, limit)}
    else:
        answer = model.predict(text)
        shown |= {"answer": answer.to_dict(), "tokens": [{"text": token} for token in answer.source_tokens]}
        if answer.attention is not None:
            shown["alignment"] = {
                "source": list(answer.source_tokens),
                "written": [*answer.tokens, ""][: len(answer.attention)],
                "weights": np.round(answer.attention, 3).tolist(),
            }
    return {
        "task": model.task,
        "model": model.bundle.source,
        "text": text,
        **shown,
        "gates": gates.to_dict() if gates else None,
    }


def _surprise(model: Model, text: str, limit: int) -> list[dict[str, Any]]:
    """Nats of each token of a text to a language model, by its first direction."""
    codec: Any = model.codec
    ids_T = codec.encode(text)[:limit]
    tokens = [codec.text.raw[one].decode("utf-8", "replace") for one in ids_T.tolist()]
    way = model.bundle.architecture.language.directions[0]  # type: ignore[union-attr]
    forward = way == "forward"
    nats_T, _ = model.network.nll(ids_T if forward else ids_T[::-1], direction=way)
    return [
        {"text": token, "nats": round(float(nats), 4)}
        for token, nats in zip(tokens, nats_T if forward else nats_T[::-1], strict=True)
    ]
