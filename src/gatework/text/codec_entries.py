"""Entries of a bundle, read with every value checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core.errors import BundleError
from gatework.text.lexicon import LONGEST, Lexicon

FORMAT = 1


class CodecEntries:
    """Entries of a bundle that may come from anyone: every read is checked, and every fault is a BundleError."""

    def __init__(self, entries: Mapping[str, Any], source: str) -> None:
        self._entries, self._source = entries, source

    def fault(self, name: str, what: str) -> BundleError:
        return BundleError(f"{self._source}: {name}: {what}. Export the model again.")

    def bytes(self, name: str) -> bytes:
        if name not in self._entries:
            raise self.fault(name, "the entry is missing")
        return bytes(self._entries[name])

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.bytes(name).decode())
        except (ValueError, RecursionError) as error:
            raise self.fault(name, f"not JSON: {str(error) or type(error).__name__}") from None

    def object(self, name: str) -> dict[str, Any]:
        values = self.json(name)
        if not isinstance(values, dict):
            raise self.fault(name, "expected an object")
        if values.get("format") != FORMAT:
            raise BundleError(
                f"{self._source}: {name}: format {values.get('format')!r}, this gatework reads {FORMAT}. "
                f"Was it made by a newer one?"
            )
        return values

    def words(self, name: str) -> list[str]:
        values = self.json(name)
        if not isinstance(values, list) or not all(isinstance(word, str) for word in values):
            raise self.fault(name, "expected a list of strings")
        if len(set(values)) < len(values):
            raise self.fault(name, "holds a word twice")
        return values

    def keys(self, name: str) -> npt.NDArray[np.uint32]:
        raw = self._entries.get(name)
        if raw is None or len(raw) % 4:
            raise self.fault(name, "missing, or not whole 32-bit numbers")
        keys_R = np.frombuffer(raw, dtype="<u4").astype(np.uint32, copy=False)
        if (keys_R[1:] <= keys_R[:-1]).any():
            raise self.fault(name, "the keys do not rise")
        return keys_R

    def lexicon(self, lengths: Any) -> Lexicon:
        if not isinstance(lengths, list) or not all(type(one) is int and 1 <= one <= LONGEST for one in lengths):
            raise self.fault("tokenizer/codec.json", f"lexicon must hold lengths in [1, {LONGEST}]")
        keys, weights = (self._entries.get(f"tokenizer/lexicon.{end}") for end in ("u64", "f32"))
        if keys is None or weights is None or len(keys) % 8 or len(weights) * 2 != len(keys):
            raise self.fault(
                "tokenizer/lexicon.u64", "missing, or not as many keys as tokenizer/lexicon.f32 has weights"
            )
        keys_R = np.frombuffer(keys, dtype="<u8").astype(np.uint64, copy=False)
        z_R = np.frombuffer(weights, dtype="<f4").astype(np.float32, copy=False)
        if (keys_R[1:] <= keys_R[:-1]).any():
            raise self.fault("tokenizer/lexicon.u64", "the keys do not rise")
        if not ((z_R > 0) & (z_R < np.inf)).all():
            raise self.fault("tokenizer/lexicon.f32", "a weight is not a positive number")
        return Lexicon(keys_R, z_R, lengths)

    def integer(self, values: Mapping[str, Any], key: str, least: int, most: int) -> int:
        value = values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.fault("tokenizer/codec.json", f"{key} must be a whole number in [{least}, {most}]")
        return value

    def flag(self, values: Mapping[str, Any], key: str) -> bool:
        value = values.get(key)
        if not isinstance(value, bool):
            raise self.fault("tokenizer/codec.json", f"{key} must be true or false")
        return value

    def choice(self, values: Mapping[str, Any], key: str, known: Sequence[str]) -> str:
        value = values.get(key)
        if not isinstance(value, str) or value not in known:
            raise self.fault("tokenizer/codec.json", f"{key} must be one of {', '.join(known)}")
        return value
