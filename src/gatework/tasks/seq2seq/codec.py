"""The codec of a sequence-to-sequence bundle: sources as ids, ids as targets, and what a search does unless told.

Bundle entries: `tokenizer/...` of the source as `gatework.text.running` writes them, `target/...` of the target unless
both share one vocabulary, and perhaps a `shortlist`. The `decode` object of `config.json` is `Settings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gatework.core.errors import BundleError, DataError
from gatework.tasks.seq2seq.answer import Translation, translation
from gatework.tasks.seq2seq.shortlist import Shortlist
from gatework.tasks.task import Codec
from gatework.text.dictionary import dictionary_of
from gatework.text.scripts import NAMES, script_of
from gatework.text.sentences import gaps, sentences

if TYPE_CHECKING:
    from gatework.text.running import RunningCodec

OWN, TARGET = "tokenizer/", "target/"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How sources are made, and how targets are looked for."""

    beams: int = 5
    length_penalty: float = 1.0
    max_ratio: float = 2.0
    context: int = 0
    """Turns of a dialogue that are a source; 0 where sources are no dialogues."""
    most: int = 0
    """Tokens of a source that are read; 0 for all."""
    usual: int = 0
    """Tokens of a source from which on it is cut into sentences, see `text.sentences`; 0 for never."""
    scripts: tuple[str, ...] = ()
    """Scripts of training sources, see `text.scripts`; empty where that is not known."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"scripts": list(self.scripts)}  # as JSON has it

    @classmethod
    def from_dict(cls, values: Any, *, source: str) -> Settings:
        """Read what `to_dict` wrote. Raises BundleError naming `source`."""
        types = {"beams": int, "length_penalty": float, "max_ratio": float, "context": int, "most": int, "usual": int}
        later = {"usual": 0, "scripts": []}  # since bundles without them were written
        if not isinstance(values, dict) or set(later | values) != {*types, "scripts"}:
            raise BundleError(f"{source}: decode must hold {', '.join(types)}. Export the model again.")
        values = later | values
        scripts = values["scripts"]
        if not isinstance(scripts, list | tuple) or not set(map(str, scripts)) <= set(NAMES):
            raise BundleError(f"{source}: decode.scripts is {str(scripts)[:40]}. Export the model again.")
        for name, kind in types.items():
            value = values[name]
            good = type(value) is kind or (kind is float and type(value) is int)
            if not good or not 0 <= value < 1 << 31 or (name in ("beams", "max_ratio") and not value):
                raise BundleError(f"{source}: decode.{name} is {str(value)[:40]}. Export the model again.")
        return cls(**{**values, "scripts": tuple(scripts)})


class Source(NamedTuple):
    """A source as the network reads it."""

    tokens: npt.NDArray[np.int32]
    """Ids, the end at last, so that there is always one."""
    text: str
    left_out: int
    """Tokens beyond those that are read."""
    by_ids: bool = False
    """The caller gave ids; the text is what they stand for."""


class Seq2SeqCodec(Codec):
    """Sources in, targets out."""

    def __init__(
        self, source: RunningCodec, target: RunningCodec, settings: Settings, shortlist: Shortlist | None = None
    ) -> None:
        """`target` is `source` where both share one vocabulary."""
        self.source, self.target, self.settings, self.shortlist = source, target, settings, shortlist

    @property
    def shared(self) -> bool:
        """Whether both sides have one vocabulary."""
        return self.target is self.source

    def encode(self, example: Any) -> Source:
        """The ids of a source: a text, or the turns of a dialogue where the model learnt from such.

        Of turns that are too long together the oldest are left out, of a text that is too long its end.
        """
        if isinstance(example, list | tuple) and self.settings.context:
            return self._of_turns(example)
        if not isinstance(example, str):
            raise DataError(f"a source is a string, got {type(example).__name__}.")
        return self._source(self.source.encode(example), example)

    @property
    def reads_ids(self) -> bool:
        return True

    def encode_ids(self, ids_T: Any) -> Source:
        """Ids of the source's vocabulary, as they are; their end is put behind them."""
        from gatework.text.encoded import checked_ids

        row_T = np.trim_zeros(checked_ids(ids_T, self.source.vocabulary), "b")
        if not row_T.all():
            raise DataError("ids hold padding (0) before their end.")
        if (row_T == self.source.end).any():
            raise DataError(f"ids hold the end ({self.source.end}), which is put behind them here. Leave it out.")
        return self._source(row_T, self.source.decode(row_T))._replace(by_ids=True)

    def _source(self, ids_T: npt.NDArray[np.int32], text: str) -> Source:
        """Ids up to the longest that is read, and their end."""
        most = self.settings.most or len(ids_T)
        kept_T = np.append(ids_T[:most], np.int32(self.source.end)).astype(np.int32)
        return Source(kept_T, text, max(0, len(ids_T) - most))

    def _of_turns(self, turns: Sequence[Any]) -> Source:
        from gatework.text.pairs import source_of_turns

        if not turns or not all(isinstance(turn, str) for turn in turns):
            raise DataError("a dialogue is a list of strings, its turns, at least one.")
        count, whole = min(len(turns), self.settings.context), 0
        while True:
            found = self.encode(source_of_turns(turns, count))
            whole = whole or len(found.tokens) + found.left_out
            if count == 1 or not found.left_out:
                return found._replace(left_out=whole - len(found.tokens))
            count -= 1

    def encode_target(self, text: str) -> npt.NDArray[np.int32]:
        """The ids of a target, without its end."""
        return self.target.encode(text)

    def source_tokens(self, source: Source) -> tuple[str, ...]:
        """What each id of a source is in its text, unknown words too; the end as an empty string."""
        if source.by_ids:
            surfaces = [self.source.raw[one].decode("utf-8", "replace") for one in source.tokens[:-1].tolist()]
        else:
            surfaces = self.source.surfaces(source.text, len(source.tokens) - 1)
        return (*(surface.strip(" ") or surface for surface in surfaces), "")

    def collate(self, encoded: Sequence[Any]) -> list[npt.NDArray[np.int32]]:
        """Ids of each source."""
        return [one.tokens for one in encoded]

    def decode(self, outputs: Any, encoded: Sequence[Any], **options: Any) -> list[Translation]:
        """Answers from the hypotheses of each source, the best first; `replace_unknown` and `dictionary` as in
        `answer.translation`."""
        return [
            translation(
                found,
                self.source_tokens(source),
                self.target,
                left_out=source.left_out,
                unknown=int((source.tokens == self.source.unknown).sum()),
                script=self.odd_script(source.text),
                **options,
            )
            for source, found in zip(encoded, outputs, strict=True)
        ]

    def sentences(self, source: Source) -> list[tuple[int, int]]:
        """Where the sentences of a source begin and end; ids are read as they are, whole."""
        return [] if source.by_ids else sentences(source.text)

    def between(self, source: Source, spans: Sequence[tuple[int, int]]) -> list[str]:
        """The white space before, between and after stretches of a source."""
        return gaps(source.text, spans)

    def dictionary(self, given: Any) -> Mapping[str, str]:
        """Words and what stands for them, of a mapping or a file; see `dictionary_of`."""
        return dictionary_of(given)

    def odd_script(self, text: str) -> str:
        """The name of a text's script where training had none of it; else empty."""
        found = script_of(text) if self.settings.scripts else -1
        return "" if found < 0 or NAMES[found] in self.settings.scripts else NAMES[found]

    def to_entries(self) -> dict[str, bytes]:
        """Bundle entries `open_codec` reads: those of the vocabularies."""
        entries: dict[str, bytes] = self.source.to_entries()
        if not self.shared:
            entries |= {name.replace(OWN, TARGET, 1): data for name, data in self.target.to_entries().items()}
        return entries


def open_codec(config: Mapping[str, Any], entries: Mapping[str, Any], *, source: str = "bundle") -> Seq2SeqCodec:
    """The codec of a bundle. Raises BundleError: an entry is missing or not what it should be."""
    from gatework.text.running import RunningCodec

    settings = Settings.from_dict(config.get("decode", {}), source=f"{source}: config.json")
    own = target = RunningCodec.from_entries(entries, source=source)
    architecture = config.get("architecture", {})
    writer = architecture.get("writer") or {}
    if not writer.get("shared", True):
        beside = {name.replace(TARGET, OWN, 1): data for name, data in entries.items() if name.startswith(TARGET)}
        target = RunningCodec.from_entries(beside, source=f"{source}: {TARGET}")
    for name, codec in (("vocabulary", own), ("outputs", target)):
        wanted = architecture.get(name)
        if wanted is not None and wanted != codec.vocabulary:
            raise BundleError(
                f"{source}: a tokenizer has {codec.vocabulary} tokens, the network {wanted}. Export the model again."
            )
    listed = Shortlist.from_entries(entries, own.vocabulary, target.vocabulary, source=source)
    return Seq2SeqCodec(own, target, settings, listed)
