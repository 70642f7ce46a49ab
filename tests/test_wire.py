"""Bytes that find no room on the way wait for it, and no longer than they may."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from memchunk.deadline import Deadline
from memchunk.wire import SilenceError, Wire

SMALL = [b"command\r\n"]
SEVERAL = [b"command\r\n", bytes(3_000_000), b"\r\n"]
PARTS = pytest.mark.parametrize("parts", [SMALL, SEVERAL], ids=["small", "several"])


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def fill(sock: socket.socket) -> int:
    """Send until there is no room any more; how many bytes."""
    sent = 0
    for block in bytes(65_536), b"x":  # a large block may not fit where a byte does
        with suppress(BlockingIOError):
            while True:
                sent += sock.send(block, socket.MSG_DONTWAIT)
    return sent


@PARTS
def test_what_finds_no_room_is_sent_once_there_is(
    ends: tuple[socket.socket, socket.socket], parts: list[bytes]
) -> None:
    here, there = ends
    wire = Wire(here, timeout=5)
    ahead = fill(here)
    taken = bytearray()

    def take() -> None:
        while len(taken) < ahead + sum(map(len, parts)):
            taken.extend(there.recv(1_000_000))

    taking = threading.Timer(0.05, take)
    taking.start()
    wire.send(parts, Deadline(5))
    taking.join()
    assert taken[ahead:] == b"".join(parts)


@PARTS
@pytest.mark.parametrize(("timeout", "seconds"), [(0.1, 5), (5, 0.1)])
def test_where_nobody_takes_it_the_wait_ends(
    ends: tuple[socket.socket, socket.socket], parts: list[bytes], timeout: float, seconds: float
) -> None:
    here, _ = ends
    wire = Wire(here, timeout)
    fill(here)
    with pytest.raises(SilenceError) as silence:
        wire.send(parts, Deadline(seconds))
    assert silence.value.limit == 0.1
    assert silence.value.tells is (timeout == 0.1)


def test_nothing_is_sent_after_the_deadline(ends: tuple[socket.socket, socket.socket]) -> None:
    here, there = ends
    with pytest.raises(SilenceError):
        Wire(here, timeout=5).send(SMALL, Deadline(0))
    there.settimeout(0)
    with pytest.raises(BlockingIOError):
        there.recv(1)
