"""Whether a file can be written, found out before the work begins rather than after."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gatework.core.errors import OutputError


def check_writable(path: Path) -> None:
    """Make sure `path` can be written, without touching what is there.

    Raises: OutputError: `path` is a folder, its folder is missing, or nothing can be created there.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder. Give a file name, such as {path / 'model.gw'}.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Make it first: mkdir -p {path.parent}")
    try:
        descriptor, probe = tempfile.mkstemp(prefix=".gatework-", dir=path.parent)
        os.close(descriptor)
        os.unlink(probe)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Choose another folder with -o.") from None
