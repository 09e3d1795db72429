"""The codec of a language model's bundle: text as ids and back, and how documents were read.

Bundle entries: `tokenizer/...` as `gatework.text.running` writes them. The `decode` object of `config.json` is
`Settings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.tasks.task import Codec

if TYPE_CHECKING:
    from gatework.text.running import IntArray, RunningCodec

KINDS = ("line", "blank", "file", "rows")
"""As in `text.documents`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How training read its documents."""

    documents: str = "file"
    """line, blank, file or rows; see `text.documents`."""
    carry: bool = True
    """Each document was read on from the one before it."""
    template: str = ""
    """Of rows."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, *, source: str) -> Settings:
        """Read what `to_dict` wrote. Raises BundleError naming `source`."""
        types = {"documents": str, "carry": bool, "template": str}
        if not isinstance(values, dict) or set(values) != set(types):
            raise BundleError(f"{source}: decode must hold {', '.join(types)}. Export the model again.")
        for name, kind in types.items():
            if type(values[name]) is not kind:
                raise BundleError(f"{source}: decode.{name} must be of type {kind.__name__}. Export the model again.")
        if values["documents"] not in KINDS:
            raise BundleError(f"{source}: decode.documents must be one of {', '.join(KINDS)}. Export the model again.")
        return cls(**values)


class LmCodec(Codec):
    """Text in, ids out, and back."""

    def __init__(self, text: RunningCodec, settings: Settings) -> None:
        self.text, self.settings = text, settings

    def encode(self, example: Any) -> IntArray:
        """The ids of a text, without an end."""
        if not isinstance(example, str):
            raise DataError(f"a language model reads strings, got {type(example).__name__}.")
        return self.text.encode(example)

    @property
    def reads_ids(self) -> bool:
        return True

    def encode_ids(self, ids_T: Any) -> IntArray:
        from gatework.text.encoded import checked_ids

        row_T = np.trim_zeros(checked_ids(ids_T, self.text.vocabulary), "b")
        if not row_T.all():
            raise DataError("ids hold padding (0) before their end.")
        return row_T

    def digest(self) -> str:
        """SHA-256 of the tokenizer: equal where ids mean the same."""
        entries = self.text.to_entries()
        return sha256(b"\0".join(name.encode() + b"\0" + entries[name] for name in sorted(entries))).hexdigest()

    def collate(self, encoded: Sequence[Any]) -> Any:
        raise ConfigError(ASK)

    def decode(self, outputs: Any, encoded: Sequence[Any], **options: Any) -> list[Any]:
        raise ConfigError(ASK)


ASK = "a language model has no labels to predict. Ask model.generate(prompt) to go on, or model.score(texts)."


def open_codec(config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle") -> LmCodec:
    """The codec of a bundle. Raises BundleError: an entry is missing or not what it should be."""
    from gatework.text.running import RunningCodec

    settings = Settings.from_dict(config.get("decode", {}), source=f"{source}: config.json")
    text = RunningCodec.from_entries(entries, source=source)
    wanted = config.get("architecture", {}).get("vocabulary")
    if wanted is not None and wanted != text.vocabulary:
        raise BundleError(
            f"{source}: the tokenizer has {text.vocabulary} tokens, the network {wanted}. Export the model again."
        )
    return LmCodec(text, settings)
