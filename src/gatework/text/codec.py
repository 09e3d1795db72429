"""Between text and what the network reads: cut, normalise, look up, find n-grams; and group texts into batches.

    text --unit--> pieces --normalise--> tokens --vocabulary--> ids (T,)
                                           |----CRC-32, mixed--> n-gram rows (N,)
                                           '----characters-----> character ids (T, K)

A text without any token is encoded as the one token EMPTY. `encode` takes any string, halves of surrogate pairs and
control characters included, and never fails. What it learnt of a piece it keeps in a bounded cache, so that the regular
expression is the main cost. A codec is immutable but for that cache and may be shared by threads.

Bundle entries (all of them checked when read, for a bundle may come from anyone):

    tokenizer/codec.json       unit, normalisation, window, longest n-gram, sizes
    tokenizer/vocabulary.json  words in the order of their ids
    tokenizer/ngrams.u32       sorted n-gram keys, 32-bit little-endian; where side features are on
    tokenizer/subwords.json    the subword model; for `bpe` and `unigram`
    tokenizer/characters.json  characters in the order of their ids; with character composition
    tokenizer/lexicon.u64, .f32  keys and weights of a lexicon's words, see `lexicon`; with a lexicon
    tokenizer/bert.json        the pieces of a BERT; where the model reads one
    tokenizer/language/...     the characters of a language model; where the model reads one, see `letters`

T tokens, N n-gram rows, M n-gram lengths from two up, K characters of the longest word, B texts, W windows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatework.core.batch import PieceBatch, TextBatch
from gatework.core.errors import BundleError, ConfigError, DataError
from gatework.text.codec_entries import FORMAT, CodecEntries
from gatework.text.counting import count_texts, count_tokens, draw, folded
from gatework.text.encoded import Encoded, Token, batch_characters, batch_lexicon, batch_of_one, checked_ids
from gatework.text.features import TokenFeatures
from gatework.text.known import Known, Spelt
from gatework.text.letters import ENTRIES as LETTERS
from gatework.text.letters import LetterCutter, apart
from gatework.text.lexicon import Lexicon, LexiconHits
from gatework.text.ngrams import NgramTable
from gatework.text.normalise import Normaliser
from gatework.text.pieces import ENTRY as BERT
from gatework.text.pieces import PieceCutter, Pieces
from gatework.text.subwords import Subwords, SubwordUnit, subwords_from_json, train_subwords
from gatework.text.treebank import TreebankUnit, keeps_hyphens
from gatework.text.units import (
    PATTERNS,
    PatternUnit,
    SegmenterUnit,
    Unit,
    blank_break_tags,
    learnt_from_nothing,
    segmenter,
)
from gatework.text.vocabulary import EMPTY, CharacterVocabulary, Vocabulary

if TYPE_CHECKING:
    from gatework.core.recipe import InputSection
    from gatework.text.lexicon_words import Fitted

SUBWORD_UNITS = ("bpe", "unigram")
UNITS = (*PATTERNS, "treebank", "zh-word", *SUBWORD_UNITS)

SUBWORD_TEXTS = 200_000
"""Texts a subword model learns from; of more, as many are drawn."""

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_NO_ROWS = np.empty(0, dtype=np.int32)
_NO_KEYS = np.empty(0, dtype=np.uint32)


class TextCodec:
    """See the module. Made by `fit` from texts or by `from_entries` from a bundle."""

    def __init__(
        self,
        *,
        unit: str,
        normalise: Normaliser,
        vocabulary: Vocabulary,
        window: int,
        ngrams: NgramTable | None = None,
        subwords: Subwords | None = None,
        characters: CharacterVocabulary | None = None,
        package: str = "",
        features: TokenFeatures | None = None,
        character_case: bool = False,
        tokens_only: bool = False,
        lexicon: Lexicon | None = None,
        hyphens: bool = True,
        pieces: PieceCutter | LetterCutter | None = None,
    ) -> None:
        self.unit = unit
        self.normalise = normalise
        self.vocabulary = vocabulary
        self.window = window
        self.ngrams = ngrams
        self.subwords = subwords
        self.characters = characters
        self.features = features
        self.lexicon = lexicon
        self.character_case = character_case
        self.pieces = pieces
        self.tokens_only = tokens_only
        """For answers a token: n-grams are features of tokens alone, and a text as a whole has none."""
        self._longer = (ngrams.n - 1 if ngrams is not None else 0) + (features.count if features is not None else 0)
        self.hyphens = hyphens
        self._cutter = _cutter(unit, normalise, subwords, package)
        if unit == "treebank" and tokens_only:
            self._cutter = TreebankUnit(lambda token: normalise(token) in vocabulary, hyphens=hyphens)
        self._known = Known(normalise, vocabulary)
        spelling = Normaliser(lowercase=False, fold_width=normalise.fold_width) if character_case else normalise
        self._spelt = Spelt(spelling, characters) if characters is not None else None

    @classmethod
    def fit(
        cls,
        texts: Callable[[], Iterable[str]],
        settings: InputSection,
        *,
        rng: np.random.Generator | None = None,
        unlabelled: Callable[[], Iterable[str]] | None = None,
        subwords: Subwords | None = None,
        pieces: PieceCutter | LetterCutter | None = None,
    ) -> TextCodec:
        """Learn vocabulary, n-grams and subwords from training texts.

        Args:
            texts: gives the texts, afresh at every call; they are read once, for subwords twice, and never held.
            settings: the `[input]` of a recipe, its unit not "auto".
            rng: draws the texts a subword model learns from where there are more than SUBWORD_TEXTS.
            unlabelled: gives texts that count for vocabulary and subwords, not for n-grams: an n-gram's row is learnt
                from labels alone.
            subwords: a model trained before, for a subword unit; None trains one.
            pieces: cuts the tokens for a BERT or a language model too.
        """
        unit = settings.unit
        if unit not in UNITS:
            raise ConfigError(f"input.unit {unit!r} must be one of {', '.join(UNITS)} by now; see text.resolve_unit.")
        normalise = Normaliser(lowercase=settings.lowercase, fold_width=settings.fold_width)
        if unit in SUBWORD_UNITS and subwords is None:
            runs = SubwordUnit(_NOTHING, normalise).runs
            every = texts() if unlabelled is None else chain(texts(), unlabelled())
            drawn = draw(every, SUBWORD_TEXTS, rng or np.random.default_rng(0))
            counted = Counter(chain.from_iterable(runs(blank_break_tags(text)) for text in drawn))
            subwords = train_subwords(unit, counted, pieces=settings.subwords)
        package = segmenter() if unit == "zh-word" else ""
        cutter = _cutter(unit, normalise, subwords, package)
        counts, table = count_texts(
            texts(), unlabelled() if unlabelled is not None else (), cutter, normalise, settings
        )
        vocabulary = Vocabulary.fit(counts, min_count=settings.min_count, limit=settings.max_vocabulary)
        characters = None
        if settings.characters != "none":
            characters = CharacterVocabulary.fit(counts, min_count=settings.min_count)
        return cls(
            unit=unit,
            normalise=normalise,
            vocabulary=vocabulary,
            window=settings.window,
            ngrams=table,
            subwords=subwords,
            characters=characters,
            package=package,
            pieces=pieces,
        )

    @classmethod
    def fit_tokens(
        cls,
        sentences: Callable[[], Iterable[Sequence[str]]],
        settings: InputSection,
        *,
        pieces: PieceCutter | LetterCutter | None = None,
    ) -> TextCodec:
        """Learn vocabulary, n-grams and features from training sentences that are cut into tokens already.

        Args:
            sentences: gives the sentences, afresh at every call; read once and never held.
            settings: the `[input]` of a recipe, its unit not "auto" and no subword unit.
            pieces: cuts the tokens for a BERT or a language model too.
        """
        unit = settings.unit
        if unit not in UNITS or unit in SUBWORD_UNITS:
            known = ", ".join(name for name in UNITS if name not in SUBWORD_UNITS)
            raise ConfigError(f"input.unit {unit!r} cannot hold the tokens of a file of tags. Use one of {known}.")
        normalise = Normaliser(
            lowercase=settings.lowercase, fold_width=settings.fold_width, fold_digits=settings.fold_digits
        )
        seen, counter = count_tokens(sentences(), normalise, settings)
        counts = folded(seen, normalise)
        features = None
        if settings.affixes or settings.shape:
            features = TokenFeatures(affixes=settings.affixes, shape=settings.shape, fold_width=settings.fold_width)
        keys_R = (
            features.fit(seen, min_count=settings.ngram_min_count, rows=settings.ngram_rows)
            if features is not None
            else _NO_KEYS
        )
        room = max(0, settings.ngram_rows - len(keys_R))
        if counter is not None:
            table = counter.table(min_count=settings.ngram_min_count, rows=room)
            keys_R = np.union1d(keys_R, table.keys_R)
        characters = None
        if settings.characters != "none":
            spelling = Normaliser(lowercase=False, fold_width=settings.fold_width)
            characters = CharacterVocabulary.fit(folded(seen, spelling), min_count=settings.min_count)
        return cls(
            unit=unit,
            normalise=normalise,
            vocabulary=Vocabulary.fit(counts, min_count=settings.min_count, limit=settings.max_vocabulary),
            window=settings.window,
            ngrams=NgramTable(keys_R, max(1, settings.ngrams)) if len(keys_R) else None,
            characters=characters,
            package=segmenter() if unit == "zh-word" else "",
            features=features if len(keys_R) else None,
            character_case=True,
            tokens_only=True,
            hyphens=keeps_hyphens(seen),
            pieces=pieces,
        )

    def encode(self, text: str, limit: int | None = None) -> Encoded:
        """One text as ids. Reads at most the first `limit` tokens where one is given."""
        blanked = blank_break_tags(text)
        pieces = self._letters(blanked, limit) if isinstance(self.pieces, LetterCutter) else None
        return self.encode_tokens(self._cutter.surfaces(blanked), limit, pieces)

    def _letters(self, text: str, limit: int | None) -> Pieces:
        """What a language model reads of the tokens of a text, as they stand there."""
        assert isinstance(self.pieces, LetterCutter)  # the caller has looked
        gaps = apart(self._cutter.spans(text))[:limit]
        if self.subwords is None:
            return self.pieces.encode(self._cutter.surfaces(text)[:limit], gaps)
        return self.pieces.encode([text[start:end] for start, end in self._cutter.spans(text)[:limit]], gaps)

    def encode_tokens(self, surfaces: Sequence[str], limit: int | None = None, pieces: Pieces | None = None) -> Encoded:
        """One text that is cut into tokens already, as ids; none are the one token EMPTY.

        Args:
            surfaces: the tokens as they stand in the text.
            limit: most tokens that are read.
            pieces: what a language model reads of them, where more is known than the tokens.
        """
        count = len(surfaces)
        if count == 0:
            return self._empty()
        left_out = 0
        if limit is not None and count > limit:
            left_out, count = count - limit, limit
            surfaces = surfaces[:limit]
        packed_T = np.fromiter(map(self._known.__getitem__, surfaces), dtype=np.uint64, count=count)
        tokens_T = (packed_T & _LOW).astype(np.int32)
        rows_N, local_TM = _NO_ROWS, np.empty((count, 0), dtype=np.int32)
        if self.ngrams is not None:
            if not self.tokens_only or self.ngrams.n > 1:
                rows_N, local_TM = self.ngrams.find(packed_T >> _32)
            if self.tokens_only:
                rows_N = _NO_ROWS
            if self.features is not None:
                local_TM = np.concatenate([local_TM, self.features.find(surfaces, self.ngrams.keys_R)], axis=1)
        characters_TK = self._spelt.encode(surfaces) if self._spelt is not None else None
        lexicon = self.lexicon.find(packed_T >> _32) if self.lexicon is not None else None
        if self.pieces is not None and pieces is None:
            pieces = self.pieces.encode(surfaces)
        return Encoded(tokens_T, rows_N, local_TM, characters_TK, False, left_out, lexicon, pieces)

    @property
    def ids_alone(self) -> bool:
        """Whether ids are all that is read of a token."""
        return all(part is None for part in (self.ngrams, self.characters, self.lexicon, self.pieces))

    def encode_ids(self, ids_T: Any) -> Encoded:
        """A row of token ids as a text; zeros behind are padding. Raises DataError: it is none of this vocabulary, or
        ids are not all that is read of a token."""
        if not self.ids_alone:
            raise DataError("the model reads more of its tokens than their ids. Give it texts.")
        row_T = np.trim_zeros(checked_ids(ids_T, len(self.vocabulary)), "b")
        if not len(row_T):
            return self._empty()
        if not row_T.all():
            raise DataError("ids hold padding (0) before their end.")
        return Encoded(row_T, _NO_ROWS, np.empty((len(row_T), 0), dtype=np.int32), None, False, 0, None, None)

    def learn_lexicon(
        self,
        words: Iterable[tuple[str | tuple[str, ...], float | None]],
        sentences: Iterable[Sequence[str]],
        *,
        rows: int,
    ) -> Fitted:
        """Take a lexicon, before anything is encoded.

        Args:
            words: as strings or as tokens, with a count or None.
            sentences: of the training part, as tokens: they weigh the words.
            rows: most words kept.
        """
        from gatework.text.lexicon_words import fit_lexicon

        fitted = fit_lexicon(words, self._pieces, self._token_keys, sentences, rows=rows)
        self.lexicon = fitted.lexicon if len(fitted.lexicon) else None
        return fitted

    def _pieces(self, text: str) -> list[str]:
        return self.surfaces(text)

    def _token_keys(self, surfaces: Sequence[str]) -> npt.NDArray[np.uint64]:
        packed_T = np.fromiter(map(self._known.__getitem__, surfaces), dtype=np.uint64, count=len(surfaces))
        keys_T: npt.NDArray[np.uint64] = packed_T >> _32
        return keys_T

    def surfaces(self, text: str) -> list[str]:
        """The tokens of a text as `encode_tokens` takes them."""
        return self._cutter.surfaces(blank_break_tags(text))

    @property
    def cuts_alone(self) -> bool:
        """Whether a text that begins with any of its tokens is cut as it was with what stood before."""
        return isinstance(self._cutter, PatternUnit)

    @property
    def reach(self) -> int:
        """Tokens before one that its n-grams look at."""
        return self.ngrams.n - 1 if self.ngrams is not None else 0

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where the tokens of a text begin and end, none for an empty one."""
        return self._cutter.spans(blank_break_tags(text))

    def tokenize(self, text: str) -> list[Token]:
        """The tokens of a text, none for an empty one; offsets count characters of `text` as it was given."""
        blanked = blank_break_tags(text)
        spans = self._cutter.spans(blanked)
        pieces = self._cutter.surfaces(blanked)
        return [Token(self.normalise(piece), *span) for piece, span in zip(pieces, spans, strict=True)]

    def is_empty(self, text: str) -> bool:
        """Whether a text has no token: such a text is answered by the training prior."""
        return not text or text.isspace() or not self._cutter.surfaces(blank_break_tags(text))

    def collate(self, encoded: Sequence[Encoded]) -> TextBatch:
        """Several texts as one batch. A text longer than the window is cut into windows of nearly equal length."""
        plain = self.pieces is None and len(encoded) == 1 and encoded[0].lexicon is None
        if plain and len(encoded[0].tokens) <= self.window:
            return batch_of_one(encoded[0])
        lengths_B = np.array([len(one.tokens) for one in encoded], dtype=np.int64)
        windows_B = -(-lengths_B // self.window)
        sequence_W = np.repeat(np.arange(len(encoded)), windows_B)
        within_W = np.arange(len(sequence_W)) - np.repeat(np.cumsum(windows_B) - windows_B, windows_B)
        even_W, odd_W = np.divmod(lengths_B, np.maximum(1, windows_B))
        lengths_W = even_W[sequence_W] + (within_W < odd_W[sequence_W])
        shape = (len(sequence_W), int(lengths_W.max(initial=0)))
        real_WT = np.arange(shape[1]) < lengths_W[:, None]
        tokens_WT = np.zeros(shape, dtype=np.int64)
        characters_WTK = None
        local_WTM = np.zeros((*shape, self._longer), dtype=np.int64)
        if encoded:
            local_WTM[real_WT] = np.concatenate([one.local for one in encoded])
            tokens_WT[real_WT] = np.concatenate([one.tokens for one in encoded])
            characters_WTK = batch_characters(encoded, real_WT)
        rows = [one.ngram_rows for one in encoded]
        starts_B = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in rows], out=starts_B[1:])
        rows_N = np.concatenate([*rows, _NO_ROWS]).astype(np.int64)
        return TextBatch(
            tokens_WT,
            lengths_W,
            sequence_W,
            len(encoded),
            rows_N,
            starts_B,
            local_WTM,
            characters_WTK,
            batch_lexicon(encoded, real_WT),
            *self._collated(encoded),
        )

    def _collated(self, encoded: Sequence[Encoded]) -> tuple[PieceBatch | None, npt.NDArray[np.float16] | None]:
        """Rows for a BERT or a language model; or its hidden layers of all tokens, where they are known."""
        if self.pieces is None:
            return None, None
        hidden = [one.hidden for one in encoded if one.hidden is not None]
        if hidden:
            return None, np.concatenate(hidden)
        return self.pieces.collate([one.pieces for one in encoded if one.pieces is not None]), None

    def to_entries(self) -> dict[str, bytes]:
        """The bundle entries this codec is read back from."""
        table = self.ngrams
        head = {
            "format": FORMAT,
            "unit": self.unit,
            "segmenter": self._cutter.package if isinstance(self._cutter, SegmenterUnit) else "",
            "lowercase": self.normalise.lowercase,
            "fold_width": self.normalise.fold_width,
            "fold_digits": self.normalise.fold_digits,
            "character_case": self.character_case,
            "tokens_only": self.tokens_only,
            "affixes": self.features.affixes if self.features is not None else 0,
            "shape": self.features.shape if self.features is not None else False,
            "hyphens": self.hyphens,
            "lexicon": list(self.lexicon.lengths) if self.lexicon is not None else [],
            "window": self.window,
            "ngrams": table.n if table is not None else 0,
            "words": len(self.vocabulary.words),
        }
        entries = {"tokenizer/codec.json": _json(head), "tokenizer/vocabulary.json": _json(self.vocabulary.words)}
        if table is not None:
            entries["tokenizer/ngrams.u32"] = table.keys_R.astype("<u4").tobytes()
        if self.lexicon is not None:
            entries["tokenizer/lexicon.u64"] = self.lexicon.keys_R.astype("<u8").tobytes()
            entries["tokenizer/lexicon.f32"] = self.lexicon.z_R.astype("<f4").tobytes()
        if self.subwords is not None:
            entries["tokenizer/subwords.json"] = _json(self.subwords.to_json())
        if self.characters is not None:
            entries["tokenizer/characters.json"] = _json(self.characters.characters)
        if self.pieces is not None:
            entries |= self.pieces.to_entries()
        return entries

    @classmethod
    def from_entries(cls, entries: Mapping[str, Any], *, source: str = "bundle") -> TextCodec:
        """Read what `to_entries` wrote, from bytes or views of bytes. Raises BundleError naming `source`."""
        read = CodecEntries(entries, source)
        head = read.object("tokenizer/codec.json")
        unit = read.choice(head, "unit", UNITS)
        ngrams = None
        if longest := read.integer(head, "ngrams", 0, 16):
            ngrams = NgramTable(read.keys("tokenizer/ngrams.u32"), longest)
        words = read.words("tokenizer/vocabulary.json")
        if len(words) != read.integer(head, "words", 0, 1 << 24):
            raise BundleError(f"{source}: tokenizer/vocabulary.json has {len(words)} words, not as many as it should.")
        subwords = characters = None
        if unit in SUBWORD_UNITS:
            name = "tokenizer/subwords.json"
            subwords = subwords_from_json(read.json(name), source=f"{source}: {name}")
        if "tokenizer/characters.json" in entries:
            characters = CharacterVocabulary(read.words("tokenizer/characters.json"))
        # What tagging brought is absent from older bundles.
        head = {
            "fold_digits": False,
            "character_case": False,
            "tokens_only": False,
            "affixes": 0,
            "shape": False,
            "hyphens": True,
        } | head
        lexicon = None
        if lengths := head.get("lexicon"):
            lexicon = read.lexicon(lengths)
        normalise = Normaliser(
            **{name: read.flag(head, name) for name in ("lowercase", "fold_width", "fold_digits")},
        )
        features, affixes, shape = None, read.integer(head, "affixes", 0, 16), read.flag(head, "shape")
        if affixes or shape:
            if ngrams is None:
                raise read.fault("tokenizer/codec.json", "affixes or shape without a table of n-grams")
            features = TokenFeatures(affixes=affixes, shape=shape, fold_width=normalise.fold_width)
        return cls(
            unit=unit,
            normalise=normalise,
            vocabulary=Vocabulary(words),
            window=read.integer(head, "window", 1, 1 << 24),
            ngrams=ngrams,
            subwords=subwords,
            characters=characters,
            package=read.choice(head, "segmenter", ("rjieba", "jieba")) if unit == "zh-word" else "",
            features=features,
            character_case=read.flag(head, "character_case"),
            tokens_only=read.flag(head, "tokens_only"),
            lexicon=lexicon,
            hyphens=read.flag(head, "hyphens"),
            pieces=_piece_cutter(read, entries, unit, source),
        )

    def _empty(self) -> Encoded:
        tokens_T = np.array([EMPTY], dtype=np.int32)
        characters_TK = np.zeros((1, 1), dtype=np.int32) if self._spelt is not None else None
        lexicon = LexiconHits(_NO_ROWS, _NO_ROWS, np.empty(0, dtype=np.float32)) if self.lexicon is not None else None
        local_TM = np.zeros((1, self._longer), dtype=np.int32)
        pieces = self.pieces.encode([""]) if self.pieces is not None else None
        return Encoded(tokens_T, _NO_ROWS, local_TM, characters_TK, True, lexicon=lexicon, pieces=pieces)


def _piece_cutter(
    read: CodecEntries, entries: Mapping[str, Any], unit: str, source: str
) -> PieceCutter | LetterCutter | None:
    """What cuts tokens for the BERT or the language model of a bundle."""
    if BERT in entries:
        return PieceCutter.from_json(read.json(BERT), source=f"{source}: {BERT}")
    if any(name in entries for name in LETTERS):
        return LetterCutter.from_entries(entries, unit=unit, source=source)
    return None


class _Nothing(Subwords):
    """A model before it is trained: it leaves every run whole."""

    pieces = frozenset()

    def split(self, run: str) -> list[str]:
        return [run]

    def to_json(self) -> dict[str, Any]:
        return {}


_NOTHING = _Nothing()


def _cutter(unit: str, normalise: Normaliser, subwords: Subwords | None, package: str) -> Unit:
    if subwords is not None:
        return SubwordUnit(subwords, normalise)
    if unit == "zh-word":
        return SegmenterUnit(package)
    return learnt_from_nothing(unit)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
