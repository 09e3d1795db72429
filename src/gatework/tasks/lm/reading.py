"""Documents for a model that is trained already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatework.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from gatework.text.documents import Piece


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Options of `[data]` that matter for reading documents."""

    template: str = ""
    documents: str = "auto"
    format: str = "auto"
    header: Any = "auto"
    encoding: str = "utf-8"


def read_as_trained(path: Path | str, config: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Piece]:
    """The documents of a file, read as the training file was where `options` of `[data]` say nothing else.

    Raises: DataError naming file and line; ConfigError: an option is unknown.
    """
    from gatework.text.documents import document_format, read_documents

    known = {field.name for field in fields(Reading)}
    for name in options:
        if name not in known:
            raise ConfigError(f"data.{name} is no option for reading running text. {nearest(name, known)}")
    decode = config.get("decode", {})
    trained: dict[str, Any] = {}
    if isinstance(decode, Mapping):
        if decode.get("documents") in ("line", "blank", "file"):
            trained["documents"] = decode["documents"]
        elif isinstance(decode.get("template"), str) and "documents" not in options:
            trained["template"] = decode["template"]
    return read_documents(path, document_format(path, Reading(**{**trained, **options})))
