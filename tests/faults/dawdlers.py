"""Clients that take their time: each sends, or reads, one byte per second."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass

from tests.http.serving import request

RECEIVE_BUFFER = 4096  # what the kernel reads ahead for who reads slowly
BEAT_SECONDS = 1.0


@dataclass
class Dawdler:
    """One slow client.

    Attributes:
        what: which part of its request or answer it is slow with.
        answer: what it received.
        seconds: how long the server put up with it; None while it does.
    """

    what: str
    connection: socket.socket
    unsent: bytes
    answer: bytes = b""
    seconds: float | None = None

    @property
    def status(self) -> int | None:
        """The status of the answer, None where there is none."""
        return int(self.answer[9:12]) if self.answer else None


class Dawdlers:
    """Many slow clients of a server, in one thread. A context manager.

    Attributes:
        all: every one of them.
    """

    def __init__(self, port: int, *, each: int, large_file: str) -> None:
        """`each` clients that are slow with headers, bodies, and reading `large_file`."""
        self._address = ("127.0.0.1", port)
        self._over = threading.Event()
        self.all = [
            *(self._headers(number) for number in range(each)),
            *(self._body(number) for number in range(each)),
            *(self._reader(large_file) for _ in range(each)),
        ]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Dawdlers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for each in self.all:
            each.connection.close()

    def waits(self, *kinds: str) -> bool:
        """Whether the server still puts up with one of these kinds."""
        return any(each.seconds is None for each in self.all if each.what in kinds)

    def _headers(self, number: int) -> Dawdler:
        head = request("GET", "/livez", "X-Slow: " + "x" * 1000)
        return self._dawdler("headers", head[:20], head[20:])

    def _body(self, number: int) -> Dawdler:
        head = request("PUT", f"/files/slow/{number}", "Content-Length: 1000000")
        return self._dawdler("body", head, bytes(1000))

    def _reader(self, name: str) -> Dawdler:
        return self._dawdler("reading", request("GET", f"/files/{name}"), b"")

    def _dawdler(self, what: str, at_once: bytes, unsent: bytes) -> Dawdler:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        connection.connect(self._address)
        connection.sendall(at_once)
        connection.setblocking(False)
        return Dawdler(what, connection, unsent)

    def _run(self) -> None:
        started = time.monotonic()
        going = list(self.all)
        while going and not self._over.wait(BEAT_SECONDS):
            for each in going:
                if _beat(each):
                    each.seconds = time.monotonic() - started
            going = [each for each in going if each.seconds is None]


def _beat(client: Dawdler) -> bool:
    """Send or read one byte; whether the server has ended the connection."""
    try:
        if client.unsent:
            client.connection.send(client.unsent[:1])
            client.unsent = client.unsent[1:]
        received = client.connection.recv(1 if client.what == "reading" else 65_536)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    client.answer += received
    return not received
