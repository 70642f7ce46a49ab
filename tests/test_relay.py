"""The relay spoils what it is told to spoil, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.relay import Relay
from tests.servers import connect


@pytest.fixture
def relay(memcached_address: str) -> Iterator[Relay]:
    with Relay(memcached_address) as relay:
        yield relay


@pytest.fixture
def client(relay: Relay) -> Iterator[socket.socket]:
    with connect(relay.address) as client:
        yield client


def ask(client: socket.socket, request: bytes, end: bytes) -> bytes:
    """All that comes until `end` or the end of the connection."""
    client.sendall(request)
    answer = b""
    while not answer.endswith(end) and (block := client.recv(65_536)):
        answer += block
    return answer


def test_everything_passes(client: socket.socket, namespace: str) -> None:
    key = namespace.encode()
    value = b"get x\r\n" * 100_000  # data that looks like commands
    stored = ask(client, b"set %b 0 60 %d\r\n%b\r\n" % (key, len(value), value), b"\n")
    assert stored == b"STORED\r\n"
    answer = ask(client, b"get %b\r\n" % key, b"END\r\n")
    assert answer == b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(value), value)


def test_commands_are_counted_and_data_is_not(
    relay: Relay, client: socket.socket, namespace: str
) -> None:
    key = namespace.encode()
    store = b"set %b 0 60 7\r\nget x\r\n\r\n" % key
    ask(client, store + store + b"get %b\r\n" % key, b"END\r\n")
    assert relay.commands == {"set": 2, "get": 1}


def test_create_nothing(relay: Relay, client: socket.socket, namespace: str) -> None:
    relay.create_nothing()
    request = b"set %b 0 60 1\r\nv\r\n" % namespace.encode()
    assert ask(client, request, b"\n") == b"NOT_STORED\r\n"
    relay.clear()
    assert ask(client, request, b"\n") == b"STORED\r\n"


def test_error_on_answers_in_turn(relay: Relay, client: socket.socket, namespace: str) -> None:
    relay.error_on(b"mg ", b"append ")
    key = namespace.encode()
    requests = b"get %b\r\nmg %b\r\nappend %b 0 0 1\r\nv\r\n" % (key, key, key)
    requests += b"touch %b 0\r\n" % key
    answer = ask(client, requests, b"NOT_FOUND\r\n")
    assert answer == b"END\r\nERROR\r\nERROR\r\nNOT_FOUND\r\n"
    relay.clear()
    assert ask(client, b"mg %b\r\n" % key, b"\n") == b"EN\r\n"


def test_hang_up_on_closes_before_memcached_sees_the_command(
    relay: Relay, client: socket.socket, namespace: str
) -> None:
    relay.hang_up_on(b"set ")
    key = namespace.encode()
    assert ask(client, b"set %b 0 60 1\r\nv\r\n" % key, b"\n") == b""
    with connect(relay.address) as second:
        assert ask(second, b"get %b\r\n" % key, b"\n") == b"END\r\n"


@pytest.mark.parametrize("count", [0, 1, 9, 26])
def test_cut_after_lets_so_many_bytes_through_on_each_connection(
    relay: Relay, client: socket.socket, namespace: str, count: int
) -> None:
    key = namespace.encode()
    ask(client, b"set %b 0 60 1\r\nv\r\n" % key, b"\n")
    whole = ask(client, b"get %b\r\n" % key, b"END\r\n")
    relay.cut_after(count)
    assert ask(client, b"get %b\r\n" % key, b"END\r\n") == whole[:count]
    with connect(relay.address) as second:
        assert ask(second, b"get %b\r\n" % key, b"END\r\n") == whole[:count]
    relay.clear()
    with connect(relay.address) as third:
        assert ask(third, b"get %b\r\n" % key, b"END\r\n") == whole


def test_garble_after_replaces_the_rest(
    relay: Relay, client: socket.socket, namespace: str
) -> None:
    relay.garble_after(3)
    key = namespace.encode()
    assert ask(client, b"set %b 0 60 1\r\nv\r\n" % key, b"?") == b"STO?!\r\n?"


def test_cut_by_reset(relay: Relay, client: socket.socket, namespace: str) -> None:
    relay.cut_after(3, reset=True)
    client.sendall(b"get %b\r\n" % namespace.encode())
    with pytest.raises(ConnectionResetError):
        while client.recv(100):
            pass


def test_half_close_says_no_more_and_takes_what_comes(
    relay: Relay, client: socket.socket, namespace: str
) -> None:
    relay.half_close_after(8)
    key = namespace.encode()
    assert ask(client, b"set %b 0 60 1\r\nv\r\n" % key, b"\n") == b"STORED\r\n"
    assert client.recv(1) == b""
    relay.clear()
    client.sendall(b"set %b 0 60 1\r\nw\r\n" % key)
    until = time.monotonic() + 5
    with connect(relay.address) as second:
        while b"\r\nw\r\n" not in ask(second, b"get %b\r\n" % key, b"END\r\n"):
            assert time.monotonic() < until


def test_duplicate(relay: Relay, client: socket.socket, namespace: str) -> None:
    relay.duplicate()
    assert ask(client, b"get %b\r\n" % namespace.encode(), b"END\r\nEND\r\n")


def test_delay_and_trickle(relay: Relay, client: socket.socket, namespace: str) -> None:
    for slow in (relay.delay, relay.trickle):
        slow(0.1)
        began = time.monotonic()
        assert ask(client, b"get %b\r\n" % namespace.encode(), b"END\r\n") == b"END\r\n"
        assert time.monotonic() - began >= 0.1
        relay.clear()


def test_a_dead_server_is_a_closed_connection(memcached_address: str) -> None:
    with Relay("127.0.0.1:1") as relay, connect(relay.address) as client:
        assert client.recv(1) == b""


def test_close_ends_the_connections(memcached_address: str) -> None:
    relay = Relay(memcached_address)
    with connect(relay.address) as client:
        assert ask(client, b"version\r\n", b"\n")
        relay.close()
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(relay.address)
