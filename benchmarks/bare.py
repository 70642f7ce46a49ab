"""The floor: a socket, and sha256 in a second thread.

Chunks as memchunk's, two of them under way, and nothing else: no manifest, no question what
stands there, no check that all arrived, no crc32 of a part, no retry. What memchunk takes
longer is the price of its promises.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable

CHUNK = 523_264
UNDER_WAY = 2


class Bare:
    """A file of `size` bytes in a memcached, over one connection."""

    def __init__(self, host: str, port: int, size: int) -> None:
        self._sock = socket.create_connection((host, port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._cuts = [(at, min(at + CHUNK, size)) for at in range(0, size, CHUNK)]

    def put(self, content: bytes) -> bytes:
        """Store it; its sha256."""
        view = memoryview(content)
        hashing = Hashing(lambda digest: digest.update(view))
        replies = self._sock.makefile("rb")
        for index, (start, stop) in enumerate(self._cuts):
            line = b"set bare%d 0 0 %d\r\n" % (index, stop - start)
            parts = [line, view[start:stop], b"\r\n"]
            sent = self._sock.sendmsg(parts)
            if sent < sum(map(len, parts)):
                self._sock.sendall(b"".join(parts)[sent:])
            if index + 1 >= UNDER_WAY:
                assert replies.readline() == b"STORED\r\n"
        for _ in range(min(len(self._cuts), UNDER_WAY - 1)):
            assert replies.readline() == b"STORED\r\n"
        return hashing.digest()

    def read_into(self, buffer: bytearray) -> bytes:
        """Read what was stored; its sha256."""
        view = memoryview(buffer)
        arrived = threading.Semaphore(0)

        def hash_what_arrives(digest: hashlib._Hash) -> None:
            for start, stop in self._cuts:
                arrived.acquire()
                digest.update(view[start:stop])

        hashing = Hashing(hash_what_arrives)
        for index in range(UNDER_WAY - 1):
            self._ask(index)
        for index, (start, stop) in enumerate(self._cuts):
            if index + UNDER_WAY <= len(self._cuts):
                self._ask(index + UNDER_WAY - 1)
            expected = b"VALUE bare%d 0 %d\r\n" % (index, stop - start)
            assert self._sock.recv(len(expected), socket.MSG_WAITALL) == expected
            self._sock.recv_into(view[start:stop], stop - start, socket.MSG_WAITALL)
            assert self._sock.recv(7, socket.MSG_WAITALL) == b"\r\nEND\r\n"
            arrived.release()
        return hashing.digest()

    def _ask(self, index: int) -> None:
        self._sock.sendall(b"get bare%d\r\n" % index)


class Hashing:
    """A sha256 that `work` feeds in a thread of its own."""

    def __init__(self, work: Callable[[hashlib._Hash], None]) -> None:
        self._sha256 = hashlib.sha256()
        self._thread = threading.Thread(target=work, args=[self._sha256])
        self._thread.start()

    def digest(self) -> bytes:
        """The digest, once all is hashed."""
        self._thread.join()
        return self._sha256.digest()
