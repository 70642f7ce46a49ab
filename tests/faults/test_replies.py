"""What a server may say: every reply, in every piece, mangled in every way.

The parser of replies gives what was said, or `UnavailableError` and a closed connection;
it never waits for more than the connection gives, and holds no more than it was asked for.
"""

from __future__ import annotations

import math
import random
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from memchunk import UnavailableError, protocol
from memchunk.breaker import Breaker
from memchunk.bulk import BulkClient
from memchunk.deadline import Deadline
from memchunk.protocol import Command, Reply
from memchunk.wire import Terms, Wire
from tests.faults.mangle import mangled

CORPUS = sorted((Path(__file__).parent / "corpus" / "replies").iterdir())
LIMIT = 1000
ROUNDS = 3000


class PieceWire(Wire):
    """A connection that gives what has come in pieces of so many bytes."""

    piece = 1

    def receive(self, target: memoryview, deadline: Deadline, *, whole: bool = False) -> int:
        return super().receive(target[: self.piece], deadline, whole=False)


class Connected(BulkClient):
    """One whose connection is there already."""

    def join(self, wire: Wire) -> None:
        self._wire = wire
        self.sock = wire.sock


@contextmanager
def hearing(said: bytes, piece: int = 0, *, hangs_up: bool = True) -> Iterator[BulkClient]:
    """A connection whose server says this, and then hangs up, or says no more."""
    terms = Terms(timeout=5, connect_timeout=0.001, deadline=math.inf)
    near, far = socket.socketpair()
    with near, far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
        client = Connected("unix:/nowhere", terms, Breaker(try_seconds=1))
        wire = PieceWire(near, terms.timeout) if piece else Wire(near, terms.timeout)
        if isinstance(wire, PieceWire):
            wire.piece = piece
        client.join(wire)
        far.settimeout(5)
        far.sendall(said)
        if hangs_up:
            far.shutdown(socket.SHUT_WR)
        yield client
        client.close()


Way = Callable[[BulkClient, list[Command]], list[Reply]]


def pipelined(client: BulkClient, commands: list[Command]) -> list[Reply]:
    return list(client.pipeline(commands, in_flight=100))


def ask(client: BulkClient, commands: list[Command], way: Way = pipelined) -> list[Reply] | None:
    """The replies, or None and a closed connection."""
    try:
        return way(client, commands)
    except UnavailableError:
        assert not client.in_step
        assert client.sock is None
        return None


def conversation(values: list[bytes]) -> tuple[list[Command], bytes, list[Reply]]:
    """One of each kind of command, what memcached answers, and what that means."""
    commands, said, meant = [], b"", []
    for number, value in enumerate(values):
        key = f"k{number}"
        commands.append(protocol.gets(key, LIMIT))
        said += b"VALUE %b 0 %d %d\r\n%b\r\nEND\r\n" % (key.encode(), len(value), number, value)
        meant.append(Reply("VALUE", len(value), value, str(number).encode()))
    commands += [
        protocol.gets("none", LIMIT),
        protocol.store("set", "k", 0, b"v"),
        protocol.store("add", "k", 0, b"v"),
        protocol.store("set", "k", 0, b"v"),
        protocol.touch("k", 0),
        protocol.delete("k"),
        protocol.probe("k"),
    ]
    said += b"END\r\nSTORED\r\nNOT_STORED\r\nSERVER_ERROR out of memory storing object\r\n"
    said += b"TOUCHED\r\nNOT_FOUND\r\nHD\r\n"
    refused = Reply("REFUSED", text="SERVER_ERROR out of memory storing object")
    words = ("END", "STORED", "NOT_STORED", refused, "TOUCHED", "NOT_FOUND", "HD")
    meant += [word if isinstance(word, Reply) else Reply(word) for word in words]
    return commands, said, meant


@given(
    st.lists(st.binary(max_size=LIMIT), max_size=4),
    st.integers(1, 40),
    st.sampled_from([pipelined, BulkClient.ask]),
)
def test_replies_mean_the_same_in_whatever_pieces_they_come(
    values: list[bytes], piece: int, way: Way
) -> None:
    commands, said, meant = conversation(values)
    with hearing(said, piece) as client:
        assert ask(client, commands, way) == meant
        assert client.in_step


@given(st.lists(st.binary(max_size=30), max_size=2), st.data())
def test_a_conversation_that_breaks_off_is_no_answer(
    values: list[bytes], data: st.DataObject
) -> None:
    commands, said, _ = conversation(values)
    end = data.draw(st.integers(0, len(said) - 1))
    with hearing(said[:end]) as client:
        assert ask(client, commands) is None


def test_what_cannot_be_the_end_of_a_value_is_not_waited_for() -> None:
    with (
        hearing(b"VALUE k 0 1 1\r\nv?!\r\n?!\r\n", hangs_up=False) as client,
        pytest.raises(UnavailableError, match="did not end where its length said"),
    ):
        list(client.pipeline([protocol.gets("k", LIMIT)], in_flight=1))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
@pytest.mark.parametrize("piece", [0, 1])
def test_what_was_odd_before(path: Path, piece: int) -> None:
    exercise(path.read_bytes(), piece)


@pytest.mark.timeout(0)
def test_mangled_replies_are_unavailability_and_nothing_else(torture: int) -> None:
    """Each round says something of the corpus, or of a conversation, spoiled at random."""
    said = [path.read_bytes() for path in CORPUS] + [conversation([b"v", b""])[1]]
    for seed in range(ROUNDS * torture):
        chance = random.Random(seed)
        try:
            exercise(mangled(chance, said), chance.choice([0, 0, 1, 7]))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def exercise(said: bytes, piece: int) -> None:
    """Let every kind of command be answered so."""
    into = bytearray(10)
    kinds = [
        [protocol.get("k", memoryview(into)[:4], memoryview(into)[4:])],
        [protocol.gets("k", LIMIT), protocol.touch("k", 0)],
        [protocol.store("set", "k", 0, b"v"), protocol.delete("k"), protocol.probe("k")],
        conversation([b"v", b""])[0],
    ]
    for commands in kinds:
        with hearing(said, piece) as client:
            replies = ask(client, commands)
            for command, reply in zip(commands, replies or [], strict=False):
                assert reply.word in ("VALUE", "REFUSED") or reply in command.words.values()
                assert reply.length >= len(reply.value)
                assert len(reply.value) <= max(command.limit, 0)
    with hearing(said, piece) as client:
        try:
            assert all(isinstance(value, bytes) for value in client.settings().values())
        except UnavailableError:
            assert client.sock is None
    with hearing(said, piece) as client:
        try:
            assert all(line.startswith(b"key=") for line in client.dump())
        except UnavailableError:
            assert client.sock is None


@pytest.mark.parametrize(
    "said",
    [
        b"VALUE k 0 1000000 1\r\n" + bytes(1_000_000) + b"\r\nEND\r\n",
        b"VALUE k 0 1073741824 1\r\n" + bytes(1_000_000),
        b"VALUE k 0 99999999999999999999 1\r\n" + bytes(1_000_000),
        b"x" * 1_000_000,
        b"STAT x 1\r\n" * 100_000,
        b"\r\n" * 500_000,
    ],
    ids=lambda said: said[:30].decode(),
)
def test_a_server_that_says_much_does_not_fill_the_memory(said: bytes) -> None:
    exercise(said, 0)  # what Python sets up once
    for command in (protocol.gets("k", LIMIT), protocol.SETTINGS):
        with hearing(said) as client:
            tracemalloc.start()
            if command is protocol.SETTINGS:
                with suppress(UnavailableError):
                    client.settings()
            else:
                ask(client, [command])
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 300_000
