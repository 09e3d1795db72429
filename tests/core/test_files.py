"""Files are whole or absent, and what stops a write is told in one line."""

import errno
import os
import sys

import pytest

from gatework.core.errors import OutputError
from gatework.core.files import atomic_write, check_writable

as_root = hasattr(os, "geteuid") and os.geteuid() == 0


def write_bytes(path, data):
    with atomic_write(path) as file:
        file.write(data)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_a_file_and_leaves_nothing_beside_it(tmp_path):
    with atomic_write(tmp_path / "a") as file:
        file.write(b"one")
        assert names(tmp_path) != ["a"], "the name appears at the end"
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_replaces_and_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "a"
    write_bytes(path, "old ö\n".encode())
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.write("text, where bytes belong")
    assert path.read_bytes() == "old ö\n".encode()
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_follows_links(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("write", [lambda path: write_bytes(path, b""), check_writable], ids=["write", "check"])
def test_places_that_cannot_be_written(tmp_path, write):
    (tmp_path / "file").write_bytes(b"")
    for path, said in (
        (tmp_path / "missing" / "a", "does not exist"),
        (tmp_path / "file" / "a", "not a folder"),
        (tmp_path, "is a folder"),
        (os.devnull, "not a regular file"),
        (tmp_path / ("x" * 300), "too long"),
        ("a\0b", "not a file name"),
    ):
        if sys.platform == "win32" and path == os.devnull:
            continue
        with pytest.raises(OutputError, match=said) as caught:
            write(path)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(as_root, reason="root may write anywhere")
def test_closed_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="No permission"):
            write_bytes(tmp_path / "a", b"")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk(tmp_path, monkeypatch, call):
    write_bytes(tmp_path / "a", b"old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutputError, match=r"a: cannot be written \(No space left.*free some space"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_full_disk_inside_the_block(tmp_path):
    with pytest.raises(OutputError, match="disk is full"), atomic_write(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "another file")
    assert names(tmp_path) == []


def test_check_writable_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "a")
    assert names(tmp_path) == []
