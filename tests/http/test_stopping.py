"""SIGTERM: what is under way ends whole, what is new is refused, and the process ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from memchunk import MAX_FILE_BYTES
from tests.http.serving import ANSWER_SECONDS, Server, request

CONTENT = os.urandom(MAX_FILE_BYTES)
GRACE = "60"

# What the client's side of a connection may hold back, so that the rest is still the server's.
RECEIVE_BYTES = 64 * 1024


@pytest.fixture
def server(serve: Callable[..., Server], memcached_address: str, namespace: str) -> Server:
    """A server of the test's own, with a file of the largest size."""
    running = serve(SERVERS=memcached_address, NAMESPACE=namespace, WORKERS="1", GRACE=GRACE)
    with running.client() as http:
        assert http.put("/files/big", content=CONTENT).status_code == 201
    return running


@pytest.fixture
def download(server: Server) -> Iterator[socket.socket]:
    """A connection on which the file is under way; the first byte of it comes next."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request("GET", "/files/big"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"keep-alive" in head  # which was true when it was said
        yield connection


def receive(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    parts = []
    while size and (part := connection.recv(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def wait_until_refused(server: Server) -> None:
    """Return once nobody can connect any more."""
    while True:
        try:
            server.connect().close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # nobody will accept it any more


def test_a_slow_download_ends_whole(server: Server, download: socket.socket) -> None:
    received = receive(download, 1_000_000)
    server.signal(signal.SIGTERM)
    wait_until_refused(server)
    received += receive(download, MAX_FILE_BYTES)
    assert received == CONTENT
    download.close()
    assert server.wait() == 0


def test_the_end_waits_until_the_client_has_received_it_all(
    server: Server, download: socket.socket
) -> None:
    """What left the server may still lie in this machine's network, which a container loses."""
    server.signal(signal.SIGTERM)
    wait_until_refused(server)
    received = receive(download, MAX_FILE_BYTES - RECEIVE_BYTES)
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(4)
    received += receive(download, RECEIVE_BYTES)
    assert received == CONTENT
    download.close()
    assert server.wait() == 0


def test_an_idle_connection_is_closed(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(request("GET", "/livez"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        server.signal(signal.SIGTERM)
        while connection.recv(1000):
            pass
    assert server.wait() == 0


def test_a_connection_is_closed_after_the_next_request(
    server: Server, download: socket.socket
) -> None:
    """It was promised to stay open, so that a request may be on its way."""
    server.signal(signal.SIGTERM)
    wait_until_refused(server)
    assert receive(download, MAX_FILE_BYTES) == CONTENT
    download.sendall(request("GET", "/livez"))
    answer = receive(download, 10_000)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in answer
    download.close()
    assert server.wait() == 0
