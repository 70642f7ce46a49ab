"""What a program may rely on, whether it holds a `Store` or a `Client`: each test runs on both.

What only a client has to do with, such as servers that are no memchunk, is in
test_client_alone.py.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import memchunk
from memchunk import (
    MAX_FILE_BYTES,
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    DigestMismatchError,
    EvictedError,
    FileInfo,
    InvalidNameError,
    NotFoundError,
    Store,
    TooLargeError,
)
from memchunk.layout import CHUNK_BYTES
from memchunk_api.client import Client
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server
from tests.items import Items, flipped

DATA = bytes(range(256)) * 8000  # 2,048,000 bytes: four chunks

AWKWARD_NAMES = [
    "with space",
    " space around ",
    'it\'s "quoted"',
    "#1",
    "what?",
    "100%",
    "%2e%2e",
    "%",
    "a+b&c=d;e,f@g:h",
    "back\\slash",
    "-rf",
    "~",
    "*",
    "[red]markup",
    "\N{GRINNING FACE}",
    "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}",
    "\u05d0\u05d1\u05d2",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
    "e\N{COMBINING ACUTE ACCENT}",
    "...",
    ".hidden",
    "n" * 300,
]


@pytest.fixture(params=["store", "client"])
def files(
    request: pytest.FixtureRequest, server: Server, memcached_address: str
) -> Iterator[Store | Client]:
    """The files of one namespace, at first hand or through the server."""
    if request.param == "client":
        with Client(server.url) as client:
            yield client
    else:
        with memchunk.connect(memcached_address, namespace=NAMESPACE) as store:
            yield store


@pytest.fixture
def items(memcached_address: str) -> Iterator[Items]:
    found = Items(memcached_address, NAMESPACE)
    yield found
    found.close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- putting and getting


@pytest.mark.parametrize("size", [0, 1, 65_537, CHUNK_BYTES, 7_654_321, MAX_FILE_BYTES])
@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "stream"])
def test_round_trip(files: Store | Client, name: str, size: int, streamed: bool) -> None:
    content = os.urandom(size)
    info = files.put(name, io.BytesIO(content) if streamed else content)
    assert (info.name, info.size, info.sha256) == (name, size, sha256(content))
    assert files.get(name) == content
    assert files.stat(name) == info
    assert name in files
    buffer = bytearray(size + 3)
    assert files.read_into(name, buffer) == size
    assert buffer == content + bytes(3)
    with files.open(name) as file:
        assert file.read() == content
        assert file.raw.info == info  # type: ignore[attr-defined]
    files.delete(name)
    assert name not in files


@pytest.mark.parametrize("awkward", AWKWARD_NAMES)
def test_awkward_names(files: Store | Client, name: str, awkward: str) -> None:
    for full in f"{name}/{awkward}", f"{awkward}/{name}":
        content = full.encode()
        assert files.put(full, content).name == full
        assert files.stat(full).name == full
        assert files.get(full) == content
        with files.open(full) as file:
            assert file.read() == content
        files.delete(full)
        assert full not in files


class Dribble:
    """A source that gives little at a time, by `read` alone."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._content.read(min(size, 10_007))


def test_sources(files: Store | Client, name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    reader, writer = os.pipe()

    def feed() -> None:
        with open(writer, "wb") as pipe:
            pipe.write(DATA)

    thread = threading.Thread(target=feed)
    thread.start()
    with path.open("rb") as buffered, open(reader, "rb", buffering=0) as pipe:
        sources: list[object] = [bytearray(DATA), memoryview(b"x" + DATA)[1:], path, str(path)]
        sources += [buffered, pipe, Dribble(DATA)]
        for source in sources:
            assert files.put(name, source, replace=True).sha256 == sha256(DATA), source
            assert files.get(name) == DATA
        assert not buffered.closed
    thread.join()


def test_a_file_is_read_from_where_it_stands(files: Store | Client, name: str) -> None:
    source = io.BytesIO(b"0123456789")
    source.seek(4)
    files.put(name, source)
    assert files.get(name) == b"456789"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (lambda: io.StringIO("text"), TypeError),
        (lambda: None, TypeError),
        (lambda: 7, TypeError),
        (lambda: "/no/such/file", FileNotFoundError),
        (lambda: "/", IsADirectoryError),
        (lambda: bytes(MAX_FILE_BYTES + 1), TooLargeError),
        (lambda: io.BytesIO(bytes(MAX_FILE_BYTES + 1)), TooLargeError),
        (lambda: Dribble(bytes(MAX_FILE_BYTES + 1)), TooLargeError),
    ],
    ids=["text", "None", "int", "no file", "directory", "bytes", "file", "stream"],
)
def test_sources_that_cannot_be_used(
    files: Store | Client, name: str, source: Callable[[], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        files.put(name, source())
    assert name not in files


def test_what_a_source_raises_goes_through_and_nothing_is_stored(
    files: Store | Client, name: str
) -> None:
    class Broken(Dribble):
        def read(self, size: int) -> bytes:
            data = super().read(size)
            if not data:
                raise RuntimeError("the disk is on fire")
            return data

    with pytest.raises(RuntimeError, match="on fire"):
        files.put(name, Broken(DATA))
    assert name not in files


def test_progress(files: Store | Client, name: str) -> None:
    told: list[tuple[int, int | None]] = []
    files.put(name, DATA, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)
    told.clear()
    files.put(name, Dribble(DATA), replace=True, progress=lambda *now: told.append(now))
    assert told[-1][1] is None
    assert told[-1][0] == len(DATA)


# --- what is there already


def test_an_intact_file_stays_unless_it_is_to_be_replaced(files: Store | Client, name: str) -> None:
    assert files.put(name, b"old").replaced is False
    with pytest.raises(AlreadyExistsError) as raised:
        files.put(name, b"new")
    assert raised.value.name == name
    assert str(raised.value).endswith("or replace it (replace=True)")
    assert files.get(name) == b"old"
    assert files.put(name, b"new", replace=True).replaced is True
    assert files.get(name) == b"new"


@pytest.mark.parametrize("harm", ["lose", "flip"])
def test_a_damaged_file_is_stored_again(
    files: Store | Client, name: str, items: Items, harm: str
) -> None:
    files.put(name, DATA)
    if harm == "lose":
        items.lose(name, 1)
    else:
        items.overwrite(name, 1, flipped(items.chunk(name, 1), 7))
    files.put(name, DATA)
    assert files.get(name) == DATA


def test_if_match(files: Store | Client, name: str) -> None:
    with pytest.raises(NotFoundError):
        files.put(name, b"new", if_match=[sha256(b"old")])
    files.put(name, b"old")
    for wrong in [sha256(b"other")], []:
        with pytest.raises(ChangedError):
            files.put(name, b"new", if_match=wrong)
        with pytest.raises(ChangedError):
            files.delete(name, if_match=wrong)
    assert files.get(name) == b"old"
    files.put(name, b"new", if_match=[sha256(b"other"), sha256(b"old")])
    assert files.get(name) == b"new"
    files.put(name, b"newer", if_match=sha256(b"new"))  # one alone will do
    files.delete(name, if_match=sha256(b"newer"))
    with pytest.raises(NotFoundError):
        files.delete(name, if_match=[sha256(b"new")])


# --- arguments


def test_lifetime_and_type(files: Store | Client, name: str) -> None:
    before = datetime.now(UTC)
    info = files.put(f"{name}.txt", b"text", ttl=100)
    assert info.content_type == "text/plain"
    assert info.expires_at is not None
    assert timedelta(seconds=100) <= info.expires_at - before < timedelta(seconds=160)
    info = files.put(name, b"text", content_type="text/x-mine; charset=utf-8", ttl=0.5)
    assert info.content_type == "text/x-mine; charset=utf-8"
    assert files.put(f"{name}.bin", b"").expires_at is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ttl": -1}, ValueError),
        ({"ttl": 0}, ValueError),
        ({"ttl": "60"}, TypeError),
        ({"ttl": 10**9}, ValueError),
        ({"content_type": "no type"}, ValueError),
        ({"content_type": "a/b\r\nx: y"}, ValueError),
        ({"sha256": "abc"}, ValueError),
    ],
    ids=str,
)
def test_arguments_that_cannot_be(
    files: Store | Client, name: str, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        files.put(name, b"x", **arguments)  # type: ignore[arg-type]
    assert name not in files


def test_bytes_other_than_announced(files: Store | Client, name: str) -> None:
    for source in DATA, Dribble(DATA):
        with pytest.raises(DigestMismatchError):
            files.put(name, source, sha256=sha256(b"other"))
        assert name not in files


def test_bytes_as_announced(files: Store | Client, name: str) -> None:
    files.put(name, DATA, sha256=sha256(DATA))
    files.put(name, Dribble(DATA), sha256=sha256(DATA), replace=True)
    assert files.get(name) == DATA


@pytest.mark.parametrize(
    "bad", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\nb", "a\0", "\x85", "a" * 513, "\udc80"]
)
def test_names_that_cannot_be(files: Store | Client, bad: str) -> None:
    for verb in files.stat, files.get, files.open, files.delete:
        with pytest.raises(InvalidNameError):
            verb(bad)
    with pytest.raises(InvalidNameError):
        files.put(bad, b"x")


# --- reading


def test_reading_into_memory(files: Store | Client, name: str) -> None:
    files.put(name, DATA)
    seen: list[FileInfo] = []
    buffer = bytearray(len(DATA))

    def allocate(info: FileInfo) -> bytearray:
        seen.append(info)
        return buffer

    assert files.read_into(name, allocate) == len(DATA)
    assert buffer == DATA
    assert seen == [files.stat(name)]
    with pytest.raises(ValueError, match="2048000 bytes, the buffer 3"):
        files.read_into(name, bytearray(3))
    with pytest.raises(TypeError, match="read-only"):
        files.read_into(name, bytes(len(DATA)))


def test_reading_parts(files: Store | Client, name: str) -> None:
    files.put(name, DATA)
    with files.open(name) as file:
        for position in 0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5, len(DATA) - 1:
            assert file.seek(position) == position
            assert file.read(1000) == DATA[position : position + 1000]
            assert file.tell() == min(position + 1000, len(DATA))
        assert file.seek(-10, io.SEEK_END) == len(DATA) - 10
        assert file.seek(-90, io.SEEK_CUR) == len(DATA) - 100
        assert file.read() == DATA[-100:]
        assert file.read() == b""
        assert file.seek(10, io.SEEK_END) == len(DATA) + 10
        assert file.read(1) == b""
        with pytest.raises(ValueError, match="before"):
            file.seek(-1)
        assert file.seekable()
        assert file.readable()
        assert not file.writable()
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_a_file_that_is_replaced_while_it_is_read(files: Store | Client, name: str) -> None:
    files.put(name, DATA)
    with files.open(name) as file:
        assert file.read(10) == DATA[:10]
        files.put(name, DATA[::-1], replace=True)
        file.seek(2 * CHUNK_BYTES)
        with pytest.raises(ChangedError) as raised:
            file.read(10)
    assert raised.value.name == name


def test_a_file_that_is_deleted_while_it_is_read(files: Store | Client, name: str) -> None:
    files.put(name, DATA)
    with files.open(name) as file:
        assert file.read(10) == DATA[:10]
        files.delete(name)
        file.seek(2 * CHUNK_BYTES)
        with pytest.raises(NotFoundError):
            file.read(10)


# --- losses


def test_absent(files: Store | Client, name: str) -> None:
    for verb in files.get, files.stat, files.open, files.delete:
        with pytest.raises(NotFoundError) as raised:
            verb(name)
        assert (raised.value.name, raised.value.code) == (name, "not_found")
    with pytest.raises(NotFoundError):
        files.read_into(name, bytearray(1))
    assert name not in files


def test_evicted(files: Store | Client, name: str, items: Items) -> None:
    files.put(name, DATA)
    items.lose(name, 1, 3)
    for verb in files.get, files.stat:
        with pytest.raises(EvictedError, match="memcached needed the room") as raised:
            verb(name)
        assert (raised.value.name, raised.value.missing) == (name, (1, 3))
    assert name not in files
    files.delete(name)
    with pytest.raises(NotFoundError):
        files.stat(name)


def test_evicted_while_it_is_read(files: Store | Client, name: str, items: Items) -> None:
    """What comes before the gap is read, and then the gap is told."""
    files.put(name, DATA)
    with files.open(name) as file:
        items.lose(name, 2)
        assert file.read(2 * CHUNK_BYTES) == DATA[: 2 * CHUNK_BYTES]
        with pytest.raises(EvictedError) as raised:
            file.read(1)
        assert raised.value.missing == (2,)
        file.seek(0)
        with pytest.raises(EvictedError):
            file.read()


def test_corrupt(files: Store | Client, name: str, items: Items) -> None:
    files.put(name, DATA)
    items.overwrite(name, 2, flipped(items.chunk(name, 2), 1000))
    with pytest.raises(CorruptError) as raised:
        files.get(name)
    assert raised.value.name == name
    with pytest.raises(CorruptError):
        files.read_into(name, bytearray(len(DATA)))
    with files.open(name) as file:
        assert file.read(2 * CHUNK_BYTES) == DATA[: 2 * CHUNK_BYTES]
        with pytest.raises(CorruptError):
            file.read(1)


# --- names, types and lifetimes


@pytest.fixture
def folder(name: str) -> str:
    """A prefix that no other test uses."""
    return f"{name}/"


def test_renaming(files: Store | Client, folder: str) -> None:
    old, new = f"{folder}old", f"{folder}new"
    stored = files.put(old, DATA, content_type="text/x-mine")
    info = files.rename(old, new)
    assert info == replace(stored, name=new)
    assert files.get(new) == DATA
    assert old not in files
    assert files.rename(new, new) == info
    with pytest.raises(NotFoundError) as raised:
        files.rename(old, new)
    assert raised.value.name == old


def test_renaming_onto_another_file(files: Store | Client, folder: str) -> None:
    files.put(f"{folder}a", b"a")
    files.put(f"{folder}b", b"b")
    with pytest.raises(AlreadyExistsError) as raised:
        files.rename(f"{folder}a", f"{folder}b")
    assert str(raised.value).endswith("or replace it (replace=True)")
    assert raised.value.name == f"{folder}b"
    assert files.get(f"{folder}a") == b"a"
    assert files.get(f"{folder}b") == b"b"
    files.rename(f"{folder}a", f"{folder}b", replace=True)
    assert files.get(f"{folder}b") == b"a"
    assert f"{folder}a" not in files


@pytest.mark.parametrize("awkward", AWKWARD_NAMES)
def test_renaming_and_listing_awkward_names(
    files: Store | Client, folder: str, awkward: str
) -> None:
    files.put(f"{folder}x", b"x")
    files.rename(f"{folder}x", folder + awkward)
    assert [info.name for info in files.list(folder + awkward[:1])] == [folder + awkward]
    files.rename(folder + awkward, f"{folder}x")
    assert files.get(f"{folder}x") == b"x"


def test_touching(files: Store | Client, name: str) -> None:
    files.put(name, DATA, ttl=100)
    info = files.touch(name, ttl=1000.5)
    assert info.expires_at is not None
    assert timedelta(seconds=900) < info.expires_at - datetime.now(UTC) < timedelta(seconds=1002)
    assert files.touch(name, ttl=None).expires_at is None
    assert files.stat(name).expires_at is None
    with pytest.raises(NotFoundError):
        files.touch(f"{name}/absent", ttl=1)


def test_updating(files: Store | Client, folder: str) -> None:
    old, new = f"{folder}old", f"{folder}new"
    stored = files.put(old, DATA, ttl=100)
    with pytest.raises(ChangedError):
        files.update(old, new_name=new, if_match=[sha256(b"other")])
    assert files.update(old) == stored
    info = files.update(
        old, new_name=new, content_type="text/css", ttl=None, if_match=[stored.sha256]
    )
    assert info == replace(stored, name=new, content_type="text/css", expires_at=None)
    assert files.stat(new) == info


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"new_name": ""}, InvalidNameError),
        ({"new_name": "a//b"}, InvalidNameError),
        ({"content_type": "no type"}, ValueError),
        ({"ttl": 0}, ValueError),
        ({"ttl": "60"}, TypeError),
    ],
    ids=str,
)
def test_updates_that_cannot_be(
    files: Store | Client, name: str, arguments: dict[str, object], error: type[Exception]
) -> None:
    stored = files.put(name, b"x")
    with pytest.raises(error):
        files.update(name, **arguments)  # type: ignore[arg-type]
    assert files.stat(name) == stored


def test_listing(files: Store | Client, folder: str) -> None:
    names = [folder + each for each in ("Z", "a", "a/b", "b", "\N{GRINNING FACE}", "\N{OHM SIGN}")]
    stored = {each: files.put(each, each.encode()) for each in names}
    in_order = sorted(names)
    assert [info.name for info in files.list(folder)] == in_order
    assert list(files.list(folder)) == [stored[each] for each in in_order]
    assert [info.name for info in files.list(f"{folder}a")] == [f"{folder}a", f"{folder}a/b"]
    assert [info.name for info in files.list(folder, limit=2)] == in_order[:2]
    assert [info.name for info in files.list(folder, after=in_order[1])] == in_order[2:]
    assert list(files.list(folder, limit=0)) == []
    assert list(files.list(f"{folder}nothing")) == []
    files.delete(in_order[0])
    assert [info.name for info in files.list(folder)] == in_order[1:]


def test_listing_what_cannot_be(files: Store | Client) -> None:
    for prefix in "a\nb", "\udc80", "a" * 513:
        with pytest.raises(InvalidNameError):
            files.list(prefix)
        with pytest.raises(InvalidNameError):
            files.list(after=prefix)
    with pytest.raises(ValueError, match="limit"):
        files.list(limit=-1)


def test_health(files: Store | Client) -> None:
    files.check()
