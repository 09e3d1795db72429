"""Files that are either whole or absent.

A reader never meets a half-written file: the bytes go to a temporary neighbour, are flushed to the disk, and take
the final name in one step. Killed at any moment, the old file (or none) is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gatework.core.errors import OutputError

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_ADVICE = {
    errno.ENOSPC: "The disk is full: free some space, or write elsewhere.",
    errno.EDQUOT: "The disk quota is used up: free some space, or write elsewhere.",
    errno.EFBIG: "The file system takes no file this large: write elsewhere.",
    errno.EACCES: "No permission: write elsewhere, or change the folder's permissions.",
    errno.EPERM: "No permission: write elsewhere, or change the folder's permissions.",
    errno.EROFS: "The file system is read-only: write elsewhere.",
    errno.ENOENT: "The folder does not exist: make it first.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: write elsewhere.",
    errno.ENAMETOOLONG: "The name is too long: choose a shorter one.",
}


def output_error(path: str | os.PathLike[str], error: OSError) -> OutputError:
    """`error`, met while writing `path`, as the one-line error the user sees."""
    advice = _ADVICE.get(error.errno or 0, "Write elsewhere.")
    return OutputError(f"{os.fspath(path)}: cannot be written ({error.strerror or error}). {advice}")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under `path` only when the block ends well.

    Yields: a binary file, its own buffer in between. An exception in the block leaves what was at `path` before.
    Raises: OutputError: the folder is missing or closed, the disk is full, `path` is a folder or a device.
    """
    target = _regular_target(path)
    temporary = target.with_name(f".{target.name[:100]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            try:
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise output_error(path, error) from error
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise output_error(path, error) from error
    except OSError as error:
        # The block may read other files too; only what a disk says about a write is about this one.
        if error.errno in _DISK_ERRORS:
            raise output_error(path, error) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    _sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OutputError now if a file could not be written at `path` later: before hours of training, not after."""
    target = _regular_target(path)
    probe = target.with_name(f".{target.name[:100]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        probe.unlink()
    except OSError as error:
        raise output_error(path, error) from error


def _regular_target(path: str | os.PathLike[str]) -> Path:
    """Where the bytes go in the end: links followed, anything but a regular file refused."""
    if "\0" in os.fspath(path) or not os.fspath(path):
        raise OutputError(f"{os.fspath(path)!r}: not a file name. Give a path to write to.")
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise output_error(path, error) from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"{os.fspath(path)}: is a folder. Give the name of a file inside it.")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{os.fspath(path)}: is not a regular file. Give the name of a file.")
    return target


def _sync_folder(folder: Path) -> None:
    """Make the new name itself last through a power cut, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
