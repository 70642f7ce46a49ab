"""A line between a client and a server that passes only so many bytes per second."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from tests.relay import RESET

BLOCK_BYTES = 64 * 1024
WAIT_SECONDS = 60
FULL_SPEED = 1e12


class Throttle:
    """Listens on `port`, and passes on what clients send to the server on `upstream`.

    Attributes:
        port: where clients connect.
        rate: the bytes per second of each connection, towards the server; may be changed.
        passed: how many bytes went that way.
    """

    def __init__(self, upstream: int, rate: float) -> None:
        self._upstream = upstream
        self.rate = rate
        self.passed = 0
        self._changed = threading.Condition()
        self._lines = 0
        self._listener = socket.socket()
        # What is buffered here has left the client, and survives it.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_until_passed(self, count: int) -> None:
        """Wait until so many bytes went to the server."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.passed >= count, WAIT_SECONDS)

    def wait_until_idle(self) -> None:
        """Wait until no client is connected, and the server knows."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._lines == 0, WAIT_SECONDS)

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client = self._listener.accept()[0]
                with self._changed:
                    self._lines += 1
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            client,
            suppress(OSError),  # there is no server at the moment
            socket.create_connection(("127.0.0.1", self._upstream)) as server,
        ):
            self._requests(client, server)
        with self._changed:
            self._lines -= 1
            self._changed.notify_all()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        replies = threading.Thread(target=self._replies, args=[server, client])
        replies.start()
        with suppress(OSError):
            while block := client.recv(BLOCK_BYTES):
                server.sendall(block)
                with self._changed:
                    self.passed += len(block)
                    self._changed.notify_all()
                time.sleep(len(block) / self.rate)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)
        replies.join()
        # A client that still sends is to hear that nobody listens any more.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while block := server.recv(BLOCK_BYTES):
                client.sendall(block)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
