"""What users write never becomes a memcached command, whatever it is.

A recorder stands between a store and a real memcached. The bytes that it saw are read as
memcached reads them: what is not a value must be a command of these few forms.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings, strategies as st

import memchunk
from memchunk import MemchunkError
from tests.servers import connect

# see memchunk/names.py; an upload's id is the one thing here that users may choose, within this
KEY = (
    rb"NS:(m:[0-9a-f]{64}|c\{[0-9a-f]{32}\}\|#\|\d+|p\{[0-9a-f]{32}\}\|#\|(\d+|tail|lock)"
    rb"|u:[A-Za-z0-9_-]{1,64}|j:\d+:\d+)"
)
COMMANDS = [
    re.compile(pattern.replace(b"KEY", KEY))
    for pattern in (
        rb"(get|gets) KEY( KEY)*",
        rb"(set|add|append) KEY \d+ -?\d+ (?P<size>\d+)",
        rb"cas KEY \d+ -?\d+ (?P<size>\d+) \d+",
        rb"touch KEY -?\d+",
        rb"delete KEY",
        rb"mg KEY( [a-z]\d*)*",
        rb"mn",
        rb"stats settings",
        rb"lru_crawler metadump all",
    )
]

# what would be a command, or the end of one, if it came through as it is
EVIL = st.sampled_from(
    [
        "\r\n",
        "\r\nflush_all\r\n",
        "\r\nset NS:m:x 0 0 1\r\nx\r\n",
        " 0 0 1\r\nx\r\ndelete a",
        "\n",
        "\0",
        " noreply",
        "{a}|#|",
        "\u2028",
        "\x85",
        "é",
        "../",
    ]
)
TEXT = st.lists(EVIL | st.text(max_size=20), max_size=6).map("".join)
TTL = st.none() | st.integers(-(2**70), 2**70)


class Recorder:
    """A relay to a memcached that keeps what each connection sent. A context manager."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self._listener.getsockname())
        self._sent: list[bytearray] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> Recorder:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def take(self) -> list[bytes]:
        """What was sent since it was last taken. All of it has been answered."""
        taken = [bytes(each) for each in self._sent]
        for each, seen in zip(self._sent, taken, strict=False):
            del each[: len(seen)]
        return taken

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = connect(self._upstream)
                server.settimeout(None)
                sent = bytearray()
                self._sent.append(sent)
                self._open += [client, server]
                threading.Thread(target=_pass, args=(client, server, sent), daemon=True).start()
                threading.Thread(
                    target=_pass, args=(server, client, bytearray()), daemon=True
                ).start()


def _pass(source: socket.socket, target: socket.socket, seen: bytearray) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            seen += block
            target.sendall(block)


def commands(sent: bytes, namespace: str) -> Iterator[bytes]:
    """The command lines in what was sent, each of one of the forms."""
    own = namespace.encode()
    while sent:
        line, end, sent = sent.partition(b"\r\n")
        assert end, f"a command without an end: {line[:200]!r}"
        plain = line.replace(own + b":", b"NS:")
        found = next(filter(None, (form.fullmatch(plain) for form in COMMANDS)), None)
        assert found is not None, f"no command of ours: {line[:200]!r}"
        if (size := found.groupdict().get("size")) is not None:
            assert sent[int(size) :].startswith(b"\r\n"), f"a value of another size: {line!r}"
            sent = sent[int(size) + 2 :]
        yield line


@pytest.fixture(scope="module")
def recorder(memcached_address: str) -> Iterator[Recorder]:
    with Recorder(memcached_address) as recorder:
        yield recorder


def test_no_user_text_in_a_command(recorder: Recorder, torture: int) -> None:
    namespace = "wire"
    seen: set[bytes] = set()
    with memchunk.connect(recorder.address, namespace=namespace) as store:

        def attempt(verb: Callable[[], object]) -> None:
            # whatever cannot be used is refused by an error of its own
            with suppress(MemchunkError, ValueError, TypeError):
                verb()

        @settings(max_examples=100 * torture, deadline=None)
        @given(TEXT, TEXT, TEXT, TEXT, TTL)
        def use(name: str, other: str, content_type: str, upload_id: str, ttl: int | None) -> None:
            value = f"{other}\r\n{content_type}".encode("utf-8", "surrogatepass")
            for verb in (
                lambda: store.put(name, value, content_type=content_type, ttl=ttl, replace=True),
                lambda: store.put(name, value, replace=True),
                lambda: store.put(name, value, replace=True, if_match={other}),
                lambda: store.put(name, value, replace=True, sha256=other),
                lambda: store.get(name),
                lambda: store.stat(name),
                lambda: store.touch(name, ttl=ttl),
                lambda: store.update(name, new_name=other, content_type=content_type, ttl=ttl),
                lambda: store.rename(name, other, replace=True),
                lambda: list(store.list(name, after=other, limit=3)),
                lambda: store.uploads.create(
                    name, len(value), 2_000_000, content_type=content_type, ttl=ttl
                ),
                lambda: store.uploads.get(upload_id),
                lambda: store.uploads.put_part(upload_id, 0, value),
                lambda: store.uploads.append(upload_id, 0, value),
                lambda: store.uploads.finish(upload_id),
                lambda: store.uploads.abort(upload_id),
                lambda: store.delete(name, if_match={content_type}),
                lambda: store.delete(name),
                lambda: store.delete(other),
            ):
                attempt(verb)
            for sent in recorder.take():
                seen.update(line.partition(b" ")[0] for line in commands(sent, namespace))

        use()
    assert {b"get", b"gets", b"set", b"add", b"cas", b"delete", b"mg"} <= seen, seen


def test_the_reader_of_commands_finds_what_slips_through() -> None:
    key = b"NS:m:" + b"0a" * 32
    good = b"set " + key + b" 0 0 3\r\na\r\n\r\nmn\r\n"
    assert len(list(commands(good, "NS"))) == 2
    for bad in (
        b"flush_all\r\n",
        b"get " + key + b" b\r\n",
        b"set " + key + b" 0 0 2\r\nabc\r\n",
        b"delete " + key + b"\nb\r\n",
        b"get NS:m:../a\r\n",
        b"get other:m:a\r\n",
        b"mn",
    ):
        with pytest.raises(AssertionError):
            list(commands(bad, "NS"))
