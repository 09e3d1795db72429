"""Running text as token ids and back, for language models: nothing of the text is lost but what is unknown.

    word           what white space separates; a line feed is a token. Text comes back with single blanks.
    char           code points, white space included
    bpe, unigram   pieces of a model trained on the text; a blank belongs to the piece after it

    id 0  padding, never in a text      1  unknown      2  end of a document      3 ...  tokens by falling frequency

With byte fallback (of `char`; always of `bpe` and `unigram`) 256 bytes follow the tokens: what is in none is read as
its UTF-8 bytes, so nothing is unknown. In words `<unk>`, in characters U+FFFD stands for the unknown token.

Bundle entries, checked when read:

    tokenizer/running.json     unit, what is folded, byte fallback
    tokenizer/vocabulary.json  tokens from id 3, strings, or a number for a byte
    tokenizer/subwords.json    the subword model; for `bpe` and `unigram`

T tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core import strict_json
from gatework.core.errors import BundleError, ConfigError
from gatework.text.marks import MARKS
from gatework.text.subwords import LONGEST_RUN, MARK, Subwords, subwords_from_json, train_subwords
from gatework.text.vocabulary import LONGEST

if TYPE_CHECKING:
    from gatework.core.recipe import InputSection

IntArray = npt.NDArray[np.int32]
FORMAT = 1
PADDING, UNKNOWN, END, FIRST = 0, 1, 2, 3
UNITS = ("word", "char", "bpe", "unigram")
SUBWORD_UNITS = ("bpe", "unigram")
SETTINGS, VOCABULARY, SUBWORDS = "tokenizer/running.json", "tokenizer/vocabulary.json", "tokenizer/subwords.json"

MOST_TOKENS = 1 << 24
MOST_CACHED = 1 << 16
MOST_COUNTED = 8_000_000
"""Different tokens counted while fitting; beyond it those seen once are forgotten."""

_WORD = re.compile(r"\n|\S+")
_CHUNK = re.compile(rf"{MARK}| ?[^\W\d_](?:[^\W\d_]|[{MARKS}])*| ?\d+| ?(?:[^\w\s{MARK}]|_)+|\s")
"""Every character is in one chunk. A chunk of white space is one character; the mark of a blank is one of its own."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_WIDTH = {0xFF01 + offset: 0x21 + offset for offset in range(94)}

Token = str | int
"""A string, or the value of a byte."""


class RunningCodec:
    """See the module. Made by `fit` or `from_entries`; immutable but for a bounded cache."""

    unknown, end = UNKNOWN, END

    def __init__(
        self,
        *,
        unit: str,
        tokens: Sequence[Token],
        lowercase: bool = False,
        fold_width: bool = False,
        subwords: Subwords | None = None,
    ) -> None:
        """
        Args:
            tokens: from id 3, by falling frequency; all 256 bytes, or none.
            lowercase, fold_width: what is folded before anything else.
            subwords: the model; for `bpe` and `unigram`.
        """
        self.unit, self.lowercase, self.fold_width = unit, lowercase, fold_width
        self.tokens, self.subwords = tuple(tokens), subwords
        self.vocabulary = FIRST + len(self.tokens)
        """Ids in all."""
        self.spaced = unit == "word"
        """Whether tokens are joined by blanks, so that `pieces` begin with one where they are no line feed."""
        ids = {token: index for index, token in enumerate(self.tokens, start=FIRST)}
        self._ids: dict[str, int] = {token: index for token, index in ids.items() if isinstance(token, str)}
        self._bytes = [ids[value] for value in range(256)] if 0 in ids else []
        self.byte_fallback = bool(self._bytes)
        unknown = "<unk>" if self.spaced else "\ufffd"
        self._ids.setdefault(unknown, UNKNOWN)
        words = [token if isinstance(token, str) else "" for token in self.tokens]
        shown = [f" {word}" if self.spaced and word != "\n" else word for word in ("", unknown, "", *words)]
        shown[PADDING] = shown[END] = ""
        self.pieces = tuple(shown)
        """The text each id adds; none for padding, the end and single bytes. With `spaced`, the blank at the beginning
        of a text and of a line is dropped."""
        self.raw = [piece.encode() for piece in self.pieces]
        for value, index in enumerate(self._bytes):
            self.raw[index] = bytes([value])
        """The same as UTF-8, and the byte of each that is one."""
        self._table = _table(self._ids) if unit == "char" else np.zeros(0, dtype=np.int32)
        self._cache: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return self.vocabulary

    @classmethod
    def fit(
        cls, texts: Callable[[], Iterable[str]], settings: InputSection, *, subwords: Subwords | None = None
    ) -> RunningCodec:
        """Learn the tokens of training texts.

        Args:
            texts: gives the texts; read once, and never held.
            settings: the `[input]` of a recipe.
            subwords: a model trained before, for a subword unit; None trains one.
        Raises: ConfigError: the unit is none for running text. DataError: too little text for a subword model.
        """
        unit, fold = settings.unit, partial(_folded, lowercase=settings.lowercase, fold_width=settings.fold_width)
        if unit not in UNITS:
            raise ConfigError(f"input.unit {unit!r} is none of running text. Use one of {', '.join(UNITS)}.")
        if unit == "word" and settings.byte_fallback:
            raise ConfigError("input.byte_fallback cannot tell where words end. Use the unit char, bpe or unigram.")
        counts = _count(map(fold, texts()), unit)
        if unit in SUBWORD_UNITS:
            if subwords is None:
                subwords = train_subwords(unit, _spread(counts, _marked), pieces=settings.subwords)
            counts = _spread(counts, partial(_pieces, subwords))
        whole: dict[Token, int] = {token: count for token, count in counts.items() if count >= settings.min_count}
        if unit == "word":
            whole = {token: count for token, count in whole.items() if len(str(token)) <= LONGEST}
            whole.pop("<unk>", None)
        limit = settings.max_vocabulary
        if subwords is not None:
            known = {piece.replace(MARK, " ") for piece in subwords.pieces}
            whole = {token: counts[str(token)] for token in known | {token for token in counts if token.isspace()}}
            limit = len(whole)
        whole.pop("\ufffd", None)
        tokens = sorted(whole, key=lambda token: (-whole[token], str(token)))[:limit]
        if subwords is not None or settings.byte_fallback:
            tokens += _with_bytes(counts, set(tokens))
        return cls(
            unit=unit,
            tokens=tokens,
            lowercase=settings.lowercase,
            fold_width=settings.fold_width,
            subwords=subwords,
        )

    def encode(self, text: str) -> IntArray:
        """The ids of a text, int32, (T,); without any end. Never fails on any string."""
        text = _folded(text, lowercase=self.lowercase, fold_width=self.fold_width)
        if self.unit == "char":
            return self._characters(text)
        if self.unit == "word":
            ids = self._ids
            return np.array([ids.get(word, UNKNOWN) for word in _WORD.findall(text)], dtype=np.int32)
        return np.array([one for chunk in _CHUNK.findall(text) for one in self._chunk(chunk)], dtype=np.int32)

    def fold(self, text: str) -> str:
        """A text as the vocabulary sees it."""
        return _folded(text, lowercase=self.lowercase, fold_width=self.fold_width)

    def joint(self, before: str, after: str) -> tuple[str, str]:
        """The end of `before` and the beginning of `after` that are cut into other tokens where something stands
        between the two; runs too long to be cut as one are left as they are."""
        if self.unit not in SUBWORD_UNITS:
            return "", ""
        last = _CHUNK.findall(before[-LONGEST_RUN:])[-1:]
        first = _CHUNK.match(after[:LONGEST_RUN])
        found = (last[0] if last else "", first[0] if first else "")
        short = [part if len(part) < LONGEST_RUN else "" for part in found]
        return short[0], short[1]

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of ids; padding and ends add nothing, bytes that are no UTF-8 give U+FFFD."""
        raw = self.raw
        text = b"".join([raw[index] for index in np.asarray(ids, dtype=np.int64).tolist()]).decode("utf-8", "replace")
        return text.replace("\n ", "\n").removeprefix(" ") if self.spaced else text

    def between(self, before: str, after: str) -> str:
        """What parts a text from what follows it, as `decode` gives either: a blank between words, else nothing."""
        apart = self.spaced and before and after and not before[-1].isspace() and not after[0].isspace()
        return " " if apart else ""

    def surfaces(self, text: str, most: int | None = None) -> list[str]:
        """What each token of `encode` is in the text, of at most that many: of words and characters also where they are
        unknown. No more is cut than is wanted."""
        if self.unit == "word":
            return [found[0] for found in islice(_WORD.finditer(text), most)]
        if self.unit == "char" and not self._bytes:
            return list(self.fold(text)[:most])
        if self.unit == "char":
            ids: Iterable[int] = self._characters(self.fold(text)[:most]).tolist()
        else:
            ids = (one for chunk in _CHUNK.finditer(self.fold(text)) for one in self._cut(chunk[0]))
        return [self.raw[index].decode("utf-8", "replace") for index in islice(ids, most)]

    def _characters(self, text: str) -> IntArray:
        codes_T = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        last = len(self._table) - 1
        ids_T: IntArray = self._table[np.minimum(codes_T, last)]
        if not self._bytes or not (odd := np.flatnonzero(ids_T == UNKNOWN)).size:
            return ids_T
        parts: list[Any] = []
        start = 0
        for place in odd.tolist():
            parts += [ids_T[start:place], self._spelt(text[place])]
            start = place + 1
        return np.concatenate([*parts, ids_T[start:]]).astype(np.int32)

    def _spelt(self, token: str) -> tuple[int, ...]:
        """A token, or the bytes it is made of where it is unknown."""
        index = self._ids.get(token, UNKNOWN)
        return (index,) if index != UNKNOWN else tuple(self._bytes[value] for value in token.encode())

    def _cut(self, chunk: str) -> Iterable[int]:
        """`_chunk`, no further than it is looked at."""
        if len(chunk) <= LONGEST_RUN:
            return self._chunk(chunk)
        assert self.subwords is not None  # units with chunks have a model
        return (one for piece in _pieces(self.subwords, chunk) for one in self._spelt(piece))

    def _chunk(self, chunk: str) -> tuple[int, ...]:
        found = self._cache.get(chunk)
        if found is None:
            assert self.subwords is not None  # units with chunks have a model
            found = tuple(one for piece in _pieces(self.subwords, chunk) for one in self._spelt(piece))
            if len(chunk) <= LONGEST_RUN:
                if len(self._cache) >= MOST_CACHED:
                    self._cache.clear()
                self._cache[chunk] = found
        return found

    def to_entries(self) -> dict[str, bytes]:
        """Bundle entries `from_entries` reads."""
        settings = {"format": FORMAT, "unit": self.unit, "lowercase": self.lowercase, "fold_width": self.fold_width}
        entries = {SETTINGS: strict_json.dump(settings), VOCABULARY: strict_json.dump(list(self.tokens))}
        return entries | ({SUBWORDS: strict_json.dump(self.subwords.to_json())} if self.subwords is not None else {})

    @classmethod
    def from_entries(cls, entries: Mapping[str, Any], *, source: str = "bundle") -> RunningCodec:
        """Read what `to_entries` wrote. Raises BundleError naming `source` and the entry."""

        def entry(name: str) -> Any:
            if name not in entries:
                raise BundleError(f"{source}: {name} is missing. Export the model again.")
            return strict_json.parse(entries[name], source=f"{source}: {name}")

        def fault(name: str, what: str) -> BundleError:
            return BundleError(f"{source}: {name}: {what}. Export the model again.")

        settings = entry(SETTINGS)
        if not isinstance(settings, dict) or settings.get("format") != FORMAT or settings.get("unit") not in UNITS:
            raise fault(SETTINGS, f"expected an object of format {FORMAT} with a unit of {', '.join(UNITS)}")
        for name in ("lowercase", "fold_width"):
            if not isinstance(settings.get(name), bool):
                raise fault(SETTINGS, f"{name} must be true or false")
        tokens = entry(VOCABULARY)
        if not isinstance(tokens, list) or len(tokens) > MOST_TOKENS or not all(map(_is_token, tokens)):
            raise fault(VOCABULARY, "expected a list of strings, and numbers below 256 for bytes")
        if len(set(tokens)) < len(tokens):
            raise fault(VOCABULARY, "holds a token twice")
        if sum(isinstance(token, int) for token in tokens) not in (0, 256):
            raise fault(VOCABULARY, "holds some of the 256 bytes but not all")
        unit = settings["unit"]
        if unit == "char" and any(isinstance(token, str) and len(token) != 1 for token in tokens):
            raise fault(VOCABULARY, "holds a token that is no character")
        subwords = None
        if unit in SUBWORD_UNITS:
            if not tokens or all(isinstance(token, str) for token in tokens):
                raise fault(VOCABULARY, "subwords need the 256 bytes")
            subwords = subwords_from_json(entry(SUBWORDS), source=f"{source}: {SUBWORDS}")
        options = {name: settings[name] for name in ("lowercase", "fold_width")}
        return cls(unit=unit, tokens=tokens, subwords=subwords, **options)


def _is_token(value: Any) -> bool:
    return (isinstance(value, str) and value != "") or (type(value) is int and 0 <= value < 256)


def _folded(text: str, *, lowercase: bool, fold_width: bool) -> str:
    """`text` as the vocabulary sees it; halves of surrogate pairs, which no file can hold, are U+FFFD."""
    if text.isascii():
        return text.lower() if lowercase else text
    text = _SURROGATE.sub("\ufffd", text)
    text = text.translate(_WIDTH) if fold_width else text
    return text.lower() if lowercase else text


def _marked(chunk: str) -> list[str]:
    """A chunk for the model: blanks marked, at most LONGEST_RUN characters each; none for other white space."""
    if chunk == MARK or (chunk.isspace() and chunk != " "):
        return []
    run = chunk.replace(" ", MARK)
    return [run[start : start + LONGEST_RUN] for start in range(0, len(run), LONGEST_RUN)]


def _pieces(subwords: Subwords, chunk: str) -> Iterator[str]:
    """The pieces of a chunk, as they stand in the text; what the model does not know may be among them."""
    runs = _marked(chunk)
    if not runs:
        yield chunk
    for run in runs:
        for piece in subwords.split(run):
            yield piece.replace(MARK, " ")


def _count(texts: Iterable[str], unit: str) -> Counter[str]:
    """Characters, words, or for subwords chunks of folded texts."""
    cut: Callable[[str], Iterable[str]] = str
    if unit != "char":
        cut = (_CHUNK if unit in SUBWORD_UNITS else _WORD).findall
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(cut(text))
        if len(counts) > MOST_COUNTED:
            counts = Counter({token: count for token, count in counts.items() if count > 1})
    return counts


def _spread(counts: Mapping[str, int], cut: Callable[[str], Iterable[str]]) -> Counter[str]:
    """Counts of the parts that counted strings are cut into: each is cut once, however often it occurs."""
    parts: Counter[str] = Counter()
    for whole, count in counts.items():
        for part in cut(whole):
            parts[part] += count
    return parts


def _with_bytes(counts: Mapping[str, int], known: set[Token]) -> list[Token]:
    """The 256 bytes, those first that unknown tokens of the training text hold most."""
    seen = [0] * 256
    for token, count in counts.items():
        if token not in known:
            for value in token.encode():
                seen[value] += count
    return [*sorted(range(256), key=lambda value: (-seen[value], value))]


def _table(ids: Mapping[str, int]) -> IntArray:
    """Ids by code point, with one entry more for all that are higher."""
    highest = max(map(ord, ids))
    table = np.full(highest + 2, UNKNOWN, dtype=np.int32)
    for character, index in ids.items():
        table[ord(character)] = index
    return table
