"""Tables that evaluation writes: `.jsonl` is JSON lines, `.tsv` tabs, anything else CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Write = Callable[[dict[str, Any]], None]


@contextmanager
def open_rows(path: Path | str | None, columns: Sequence[str]) -> Iterator[Write | None]:
    """A function that writes one row, or None without a file. The file appears whole at the end, or not at all."""
    if path is None:
        yield None
        return
    path = Path(path)
    with open_text(path) as file:
        if path.suffix == ".jsonl":
            yield lambda row: write_json(file, row)
        else:
            table = csv.DictWriter(file, columns, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n")
            table.writeheader()
            yield table.writerow


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """A UTF-8 text file that appears whole at the end, or not at all."""
    from gatework.core.files import atomic_write

    with atomic_write(path) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=False)
        try:
            yield file
            file.flush()
        finally:
            file.detach()


def write_json(file: io.TextIOWrapper, row: dict[str, Any]) -> None:
    """One object on a line."""
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
