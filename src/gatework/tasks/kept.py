"""Subword models that a run has learnt, kept in its folder: training one again need not give the same pieces, and a
resumed run must have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatework.core.recipe import InputSection
    from gatework.text.subwords import Subwords


class KeptSubwords:
    """The model of a unit and a size; `side` tells two of one run apart."""

    def __init__(self, folder: Path, settings: InputSection, side: str = "") -> None:
        self._path = folder / f"subwords-{side and side + '-'}{settings.unit}-{settings.subwords}.json"

    def read(self) -> Subwords | None:
        """The model; None where none was kept yet."""
        from gatework.text.subwords import subwords_from_json

        if not self._path.is_file():
            return None
        return subwords_from_json(json.loads(self._path.read_text(encoding="utf-8")), source=str(self._path))

    def keep(self, subwords: Subwords | None) -> None:
        """Keep a model that was learnt. Raises OutputError."""
        from gatework.core.files import atomic_write

        if subwords is not None and not self._path.is_file():
            with atomic_write(self._path) as file:
                file.write(json.dumps(subwords.to_json(), ensure_ascii=False).encode())
