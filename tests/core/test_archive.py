"""The archive: any zip tool opens what is written, and only exactly that is read."""

import io
import stat
import struct
import zipfile

import numpy as np
import pytest

from gatework.core.archive import ALIGNMENT, MAX_ENTRIES, archive_size, read_archive, write_archive
from gatework.core.errors import BundleError

ENTRIES = {"config.json": [b"{}"], "a/b.bin": [b"x" * 1000, memoryview(b"yz")], "empty": [], "LICENSE-1": [b"1"]}


def archive(entries=ENTRIES):
    file = io.BytesIO()
    size = write_archive(file, entries)
    assert size == len(file.getvalue())
    return file.getvalue()


def refused(data):
    with pytest.raises(BundleError) as caught:
        read_archive(memoryview(data), source="there")
    message = str(caught.value)
    assert message.startswith("there: ")
    assert "\n" not in message
    return message


def zipped(*names, compression=zipfile.ZIP_STORED, data=b"data", mode=0o100644, extra=b""):
    """What Python's own zip writer makes of it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name in names:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr, info.compress_type, info.extra = mode << 16, compression, extra
            made.writestr(info, data)
    return file.getvalue()


def test_round_trip():
    got = read_archive(memoryview(archive()), source="x")
    assert {name: bytes(data) for name, data in got.items()} == {
        name: b"".join(bytes(piece) for piece in pieces) for name, pieces in ENTRIES.items()
    }


def test_any_zip_tool_opens_it():
    with zipfile.ZipFile(io.BytesIO(archive())) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == list(ENTRIES)
        assert opened.read("a/b.bin") == b"x" * 1000 + b"yz"
        for info in opened.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert stat.S_ISREG(info.external_attr >> 16)


def test_data_lies_aligned():
    data = archive()
    base = np.frombuffer(data, dtype=np.uint8).ctypes.data
    for entry in read_archive(memoryview(data), source="x").values():
        if len(entry):
            assert (np.frombuffer(entry, dtype=np.uint8).ctypes.data - base) % ALIGNMENT == 0


def test_size_is_known_before():
    sizes = {name: sum(map(len, pieces)) for name, pieces in ENTRIES.items()}
    assert archive_size(sizes) == len(archive())


def test_same_entries_same_bytes():
    assert archive() == archive()


def test_cut_anywhere():
    data = archive()
    for length in range(len(data)):
        refused(data[:length])
    refused(data + b"\0")
    refused(b"\0" + data)


def test_every_byte_counts():
    data = archive()
    for index in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            refused(data[:index] + bytes([data[index] ^ flip]) + data[index + 1 :])


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "a/../b",
        "/etc/passwd",
        "C:/a",
        "a\\b",
        "a//b",
        "./a",
        "a/",
        "",
        ".hidden",
        "a/.b",
        "..",
        "ä",
        "a b",
        "a" * 201,
    ],
)
def test_names_that_lead_elsewhere(name):
    with pytest.raises(ValueError, match="not allowed"):
        archive({name: [b""]})
    assert "not allowed" in refused(zipped(name))


def test_name_with_nul():
    assert "not allowed" in refused(archive({"abcd": [b""]}).replace(b"abcd", b"ab\0d"))


def test_name_that_is_not_utf8():
    assert "not allowed" in refused(archive({"abcd": [b""]}).replace(b"abcd", b"ab\xffd"))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entries_such_as_zip_bombs(method):
    bomb = zipped("config.json", compression=method, data=b"\0" * 10_000_000)
    assert len(bomb) < 100_000
    assert "compressed" in refused(bomb)


@pytest.mark.parametrize("pair", [("a", "a"), ("a.json", "A.JSON")])
def test_names_given_twice(pair):
    data = archive({pair[0]: [b"1"], "z" * len(pair[0]): [b"2"]})
    assert "twice" in refused(data.replace(b"z" * len(pair[0]), pair[1].encode()))


@pytest.mark.parametrize("mode", [0o120777, 0o040755, 0o010644, 0o060644, 0o100755, 0])
def test_links_folders_and_devices(mode):
    assert "plain file" in refused(zipped("config.json", mode=mode))


def test_too_many_entries():
    many = archive({f"e{number}": [b""] for number in range(MAX_ENTRIES)})
    assert len(read_archive(memoryview(many), source="x")) == MAX_ENTRIES
    assert "at most" in refused(archive({f"e{number}": [b""] for number in range(MAX_ENTRIES + 1)}))


def test_entries_that_share_bytes():
    """Two names on the same data: how a small file unpacks to a huge one."""
    data = archive({"a": [b"x" * 100]})
    start = data.index(b"PK\x01\x02")
    record = data[start:-22]
    doubled = data[:start] + record + record.replace(b"a", b"b", 1)
    assert refused(doubled + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, 2 * len(record), start, 0))


@pytest.mark.parametrize("field", ["<H", "<I"])
def test_numbers_that_are_too_large_or_too_small(field):
    data = archive()
    width, start = struct.calcsize(field), data.index(b"PK\x01\x02")
    for at in [*range(0, 70), *range(start, len(data) - width)]:
        for value in (0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1)):
            changed = data[:at] + struct.pack(field, value) + data[at + width :]
            if changed != data:
                refused(changed)


def test_other_zips_and_other_files():
    assert "not as gatework writes it" in refused(zipped("config.json", extra=struct.pack("<HH", 0xCAFE, 0)))
    for data in (b"", b"PK", b"PK\x03\x04", b"\x80\x04\x95pickle", b"<html>", bytes(100), zipped()):
        refused(data)
