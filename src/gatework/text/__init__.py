"""Text data: readers and their checks, units, vocabulary, n-grams, word vectors, the codec and the example store.

Names are loaded when first used, so that answering does not pay for reading and checking.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatework.text.checks import CheckReport, FileReport, Problem, check
    from gatework.text.codec import TextCodec
    from gatework.text.encoded import Encoded, Token
    from gatework.text.formats import Format, infer
    from gatework.text.language import guess as guess_language
    from gatework.text.readers import Example, read_examples, read_texts, text_key
    from gatework.text.sentence import Sentence
    from gatework.text.settings import Settings
    from gatework.text.store import ExampleStore
    from gatework.text.tagged import read_tagged
    from gatework.text.tagged_format import TagDefaults, TagFormat
    from gatework.text.tagged_layout import infer_tagged
    from gatework.text.units import resolve_unit
    from gatework.text.vectors import Vectors, read_vectors
    from gatework.text.vocabulary import EMPTY, PADDING, UNKNOWN, CharacterVocabulary, Vocabulary

__all__ = [
    "EMPTY",
    "PADDING",
    "UNKNOWN",
    "CharacterVocabulary",
    "CheckReport",
    "Encoded",
    "Example",
    "ExampleStore",
    "FileReport",
    "Format",
    "Problem",
    "Sentence",
    "Settings",
    "TagDefaults",
    "TagFormat",
    "TextCodec",
    "Token",
    "Vectors",
    "Vocabulary",
    "check",
    "guess_language",
    "infer",
    "infer_tagged",
    "read_examples",
    "read_tagged",
    "read_texts",
    "read_vectors",
    "resolve_unit",
    "text_key",
]

_HOMES = {
    "checks": ("CheckReport", "FileReport", "Problem", "check"),
    "codec": ("Encoded", "TextCodec", "Token"),
    "formats": ("Format", "infer"),
    "readers": ("Example", "read_examples", "read_texts", "text_key"),
    "sentence": ("Sentence",),
    "settings": ("Settings",),
    "store": ("ExampleStore",),
    "tagged": ("read_tagged",),
    "tagged_format": ("TagDefaults", "TagFormat"),
    "tagged_layout": ("infer_tagged",),
    "units": ("resolve_unit",),
    "vectors": ("Vectors", "read_vectors"),
    "vocabulary": ("EMPTY", "PADDING", "UNKNOWN", "CharacterVocabulary", "Vocabulary"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "guess_language":
        value = import_module("gatework.text.language").guess
    elif name in _HOME:
        value = getattr(import_module(f"gatework.text.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
