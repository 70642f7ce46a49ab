"""Connections: bytes go straight into and out of the server's buffers, and nobody is forgotten."""

from __future__ import annotations

import socket
import sys
from contextlib import closing, suppress

import httpx
import pytest

from memchunk_api.buffers import SMALL_BYTES
from memchunk_api.connection import (
    LEAST_BYTES_PER_SECOND,
    SEND_PATIENCE_SECONDS,
    PacedSocket,
)
from memchunk_api.downloads import SEND_BYTES
from tests.http.serving import Server, request

SIZES = [SMALL_BYTES, SMALL_BYTES + 1, SMALL_BYTES + SEND_BYTES, 2 * SEND_BYTES + 12_345]


def content(size: int) -> bytes:
    """Bytes among which none can be lost or doubled unseen."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_every_byte_goes_in_and_out_on_one_connection(
    http: httpx.Client, name: str, size: int
) -> None:
    for _ in range(2):  # where the first answer went wrong, the second would not be found
        assert http.put(f"/files/{name}", content=content(size)).status_code in (200, 201)
        found = http.get(f"/files/{name}")
        assert found.content == content(size)
        assert found.headers["Content-Length"] == str(size)
        assert found.headers["Connection"] == "keep-alive"


@pytest.mark.parametrize("size", [1, *SIZES])
def test_what_follows_a_body_is_the_next_request(server: Server, name: str, size: int) -> None:
    """Also where both arrive in pieces that end anywhere."""
    sent = request("PUT", f"/files/{name}", f"Content-Length: {size}", body=content(size))
    sent += request("GET", f"/files/{name}", "Connection: close")
    with server.connect() as connection:
        for start in range(0, len(sent), 99_991):
            connection.sendall(sent[start : start + 99_991])
        with connection.makefile("rb") as stream:
            everything = stream.read()
    assert everything.startswith(b"HTTP/1.1 201 ")
    assert everything.endswith(b"\r\n\r\n" + content(size))


def test_a_small_body_that_was_not_waited_for_is_followed_by_a_request(
    server: Server, name: str
) -> None:
    """The client expects 100 Continue, and then sends everything at once all the same."""
    sent = request("PUT", f"/files/{name}", "Content-Length: 3", "Expect: 100-continue")
    sent += b"abc" + request("GET", f"/files/{name}", "Connection: close")
    with server.connect() as connection:
        connection.sendall(sent)
        with connection.makefile("rb") as stream:
            everything = stream.read()
    assert b"HTTP/1.1 201 " in everything
    assert everything.endswith(b"\r\n\r\nabc")


def test_requests_sent_ahead_are_answered(server: Server) -> None:
    ahead = request("GET", "/livez") * 3 + request("GET", "/livez", "Connection: close")
    with server.connect() as connection:
        connection.sendall(ahead)
        with connection.makefile("rb") as stream:
            assert stream.read().count(b"\r\n\r\nok\n") == 4


def test_who_fills_a_buffer_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memchunk_api.connection.LEAST_BYTES_PER_SECOND", 10**9)
    ours, theirs = socket.socketpair()
    paced = PacedSocket(ours)
    paced.expect(0.005)
    received = 0
    with theirs, paced:
        theirs.sendall(b"x" * 100_000)
        with pytest.raises(TimeoutError, match="too slow"):
            while received < 100_000:
                received += paced.recv_into(bytearray(1))


class Reader:
    """Reads from a `PacedSocket` at `rate`, in bytes per second of a clock that it moves itself.

    Whenever the socket asks for the time, the reader has taken all that was on its way, and the
    clock shows how long that took. So nobody waits, and no machine is too slow for the test.

    Attributes:
        paced: the socket that is read from.
        taken: bytes so far.
    """

    def __init__(self, rate: float) -> None:
        ours, self._theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # a little at a time
        self.paced = PacedSocket(ours)
        self.taken = 0
        self._rate = rate

    def monotonic(self) -> float:
        with suppress(BlockingIOError):  # nothing is on its way yet
            self.taken += len(self._theirs.recv(1_000_000, socket.MSG_DONTWAIT))
        return self.taken / self._rate

    def close(self) -> None:
        self._theirs.close()
        self.paced.close()


def test_who_takes_too_little_is_given_up_however_much_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(Reader(LEAST_BYTES_PER_SECOND / 2)) as reader:
        monkeypatch.setattr("memchunk_api.connection.time", reader)
        with pytest.raises(TimeoutError, match="too slow"):
            reader.paced.sendall(bytes(10_000_000))
        overdrawn = reader.monotonic() - reader.taken / LEAST_BYTES_PER_SECOND
        assert overdrawn == pytest.approx(SEND_PATIENCE_SECONDS, abs=1)


def test_who_takes_enough_is_never_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Reader(LEAST_BYTES_PER_SECOND)) as reader:
        monkeypatch.setattr("memchunk_api.connection.time", reader)
        reader.paced.sendall(bytes(10_000_000))
        assert reader.monotonic() > SEND_PATIENCE_SECONDS
        assert reader.taken == 10_000_000


class Hoarder:
    """Reads nothing, while the kernel makes more room with every look at the clock.

    Attributes:
        paced: the socket that is not read from.
        now: seconds on that clock, 5 more with every look.
    """

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        self.paced = PacedSocket(ours)
        self.now = 0
        self._room = 0

    def monotonic(self) -> float:
        self.now += 5
        self._room += 8192
        self.paced.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._room)
        return self.now

    def take(self) -> None:
        self._theirs.recv(1_000_000)

    def close(self) -> None:
        self._theirs.close()
        self.paced.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what it holds back")
def test_what_only_the_kernel_has_taken_earns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memchunk_api.connection.LEAST_BYTES_PER_SECOND", 1)
    with closing(Hoarder()) as hoarder:
        monkeypatch.setattr("memchunk_api.connection.time", hoarder)
        for _ in range(4):  # of an earlier answer
            hoarder.paced.sendall(bytes(8_000))
            hoarder.take()
        hoarder.paced.expect(1)
        hoarder.now = 0
        with pytest.raises(TimeoutError, match="too slow"):
            for _ in range(20):
                hoarder.paced.sendall(bytes(4_000))
        assert hoarder.now <= 2 * SEND_PATIENCE_SECONDS


def test_each_answer_has_a_patience_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Hoarder()) as hoarder:
        monkeypatch.setattr("memchunk_api.connection.time", hoarder)
        for _ in range(10):
            hoarder.paced.expect(1)
            hoarder.paced.sendall(bytes(4_000))
        assert hoarder.now > 2 * SEND_PATIENCE_SECONDS


@pytest.mark.parametrize("limit", [0.0, 0.05])
def test_a_limit_of_gunicorns_ends_the_waiting(limit: float) -> None:
    ours, theirs = socket.socketpair()
    with theirs, PacedSocket(ours) as paced:
        paced.settimeout(limit)
        assert paced.gettimeout() == limit
        with pytest.raises(TimeoutError):
            paced.recv(1)
        with pytest.raises(TimeoutError):
            paced.recv_into(bytearray(1))
        paced.setblocking(True)
        assert paced.gettimeout() is None
        theirs.sendall(b"x")
        assert paced.recv(1) == b"x"


def test_whether_more_comes() -> None:
    ours, theirs = socket.socketpair()
    with PacedSocket(ours) as paced:
        assert not paced.has_more(0.01)
        theirs.sendall(b"x")
        assert paced.has_more(0.01)
        assert paced.recv(10) == b"x"  # it is still there
        theirs.close()
        assert paced.has_more(0.01)  # the end, for `recv` to find
