"""TCP, IPv6, unix sockets and TLS: the same verbs, whatever lies between."""

from __future__ import annotations

import io
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import memchunk
from memchunk import NotFoundError, Store, UnavailableError, wire
from memchunk.deadline import Deadline
from memchunk.wire import Terms
from tests.certificates import Certificate, make_certificate
from tests.servers import LocalMemcached
from tests.together import together

Start = Callable[..., LocalMemcached]

SIZE = 3_000_001


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls_memcached(start_memcached: Start, certificate: Certificate) -> LocalMemcached:
    return start_memcached(*certificate.options(), tls=certificate.trusted())


@pytest.fixture(params=["IPv4", "IPv6", "unix", "TLS", "TLS on IPv6"])
def connected(
    request: pytest.FixtureRequest, start_memcached: Start, certificate: Certificate
) -> Iterator[Store]:
    """A store on a memcached that is reached in one of these ways."""
    where: dict[str, Any] = {"unix": request.param == "unix"}
    if "IPv6" in request.param:
        where["host"] = "::1"
    tls = certificate.trusted() if "TLS" in request.param else None
    server = start_memcached(*(certificate.options() if tls else ()), tls=tls, **where)
    with memchunk.connect(server.address, tls=tls) as store:
        yield store


def test_the_verbs(connected: Store) -> None:
    content = os.urandom(SIZE)
    assert connected.put("f", io.BytesIO(content)).chunk_count > 2
    assert connected.get("f") == content
    buffer = bytearray(SIZE)
    assert connected.read_into("f", buffer) == SIZE
    assert buffer == content
    with connected.open("f") as file:
        file.seek(SIZE - 10)
        assert file.read() == content[-10:]
    assert connected.stat("f").size == SIZE
    connected.touch("f", ttl=1000)
    connected.rename("f", "g")
    assert [info.name for info in connected.list()] == ["g"]
    assert connected.reindex() == 0
    connected.put("g", b"small", replace=True)
    assert connected.get("g") == b"small"
    connected.delete("g")
    with pytest.raises(NotFoundError):
        connected.get("g")
    connected.check()


def test_many_threads(connected: Store) -> None:
    contents = [os.urandom(600_000 + number) for number in range(6)]

    def work(number: int) -> None:
        for _ in range(5):
            connected.put(f"f{number}", contents[number], replace=True)
            assert connected.get(f"f{number}") == contents[number]

    assert together(*(lambda n=number: work(n) for number in range(6))) == [None] * 6


def test_tls_connections_are_used_again(
    tls_memcached: LocalMemcached, certificate: Certificate
) -> None:
    with memchunk.connect(tls_memcached.address, tls=certificate.trusted()) as store:
        store.put("f", b"content")
        [server] = store._backend.servers.values()
        [idle] = server._state.idle
        for _ in range(5):
            assert store.get("f") == b"content"
        assert list(server._state.idle) == [idle]


def test_a_tls_server_that_does_not_answer(
    tls_memcached: LocalMemcached, certificate: Certificate
) -> None:
    tls = certificate.trusted()
    with memchunk.connect(tls_memcached.address, tls=tls, timeout=1) as store:
        store.put("f", os.urandom(SIZE))
        tls_memcached.pause()
        with pytest.raises(UnavailableError, match=r"did not answer within 1 s"):
            store.get("f")
        tls_memcached.resume()


def test_a_tls_server_that_restarts_is_used_again(
    tls_memcached: LocalMemcached, certificate: Certificate
) -> None:
    with memchunk.connect(tls_memcached.address, tls=certificate.trusted()) as store:
        store.put("f", b"content")
        tls_memcached.restart()
        with pytest.raises(NotFoundError):
            store.get("f")


def test_a_certificate_that_is_not_trusted(tls_memcached: LocalMemcached, tmp_path: Path) -> None:
    other = make_certificate(tmp_path).trusted()
    with pytest.raises(UnavailableError, match="certificate verify failed.*trusts") as caught:
        memchunk.connect(tls_memcached.address, tls=other).get("f")
    assert caught.value.server == tls_memcached.address


def test_a_certificate_for_another_host(start_memcached: Start, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    tls = certificate.trusted()
    server = start_memcached(*certificate.options(), host="127.0.0.2", tls=_unchecked(certificate))
    with pytest.raises(UnavailableError, match="IP address mismatch"):
        memchunk.connect(server.address, tls=tls).get("f")


def _unchecked(certificate: Certificate) -> ssl.SSLContext:
    context = certificate.trusted()
    context.check_hostname = False
    return context


def test_tls_where_the_server_talks_none(memcached_address: str, certificate: Certificate) -> None:
    tls = certificate.trusted()
    with pytest.raises(UnavailableError, match="check that it runs and speaks TLS"):
        memchunk.connect(memcached_address, tls=tls, connect_timeout=0.5).get("f")


def test_no_tls_where_the_server_talks_nothing_else(tls_memcached: LocalMemcached) -> None:
    with pytest.raises(UnavailableError):
        memchunk.connect(tls_memcached.address, timeout=1).get("f")


@pytest.mark.parametrize("is_granted", [True, False])
def test_a_unix_socket_sends_from_a_larger_buffer_where_there_is_one(
    start_memcached: Start, monkeypatch: pytest.MonkeyPatch, *, is_granted: bool
) -> None:
    path = start_memcached(unix=True).address.removeprefix("unix:")
    option = socket.SO_SNDBUF
    with socket.socket(socket.AF_UNIX) as plain:
        usual = plain.getsockopt(socket.SOL_SOCKET, option)
    if not is_granted:
        monkeypatch.setattr(socket, "SO_SNDBUF", 9999)  # no option at all
    terms = Terms(timeout=5, connect_timeout=5, deadline=5)
    connection = wire.connect(path, terms, Deadline(5))
    with connection.sock:
        assert (connection.sock.getsockopt(socket.SOL_SOCKET, option) > usual) is is_granted
        connection.send((b"version\r\n",), Deadline(5))
        assert connection.receive(memoryview(bytearray(100)), Deadline(5)) > 0


@pytest.fixture
def with_silent_ones(
    start_memcached: Start, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, LocalMemcached]]:
    """The address of a host of whose five addresses only the last answers, and what does."""
    server = start_memcached(host="127.0.0.6")
    port = int(server.address.rpartition(":")[2])
    hosts = [f"127.0.0.{number}" for number in range(2, 7)]
    resolve = socket.getaddrinfo

    def resolve_many(host: str, *more: Any, **options: Any) -> list[Any]:
        found = hosts if host == "many.example" else [host]
        return [each for host in found for each in resolve(host, *more, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_many)
    with ExitStack() as stack:
        for host in hosts[:-1]:
            listener = stack.enter_context(socket.socket())
            listener.bind((host, port))
            listener.listen(0)
            for _ in range(3):  # until its queue is full
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                with suppress(BlockingIOError):
                    waiting.connect((host, port))
        yield f"many.example:{port}", server


@pytest.mark.skipif(sys.platform != "linux", reason="others refuse where the queue is full")
@pytest.mark.parametrize("limit", ["connect_timeout", "deadline"])
def test_the_time_to_connect_is_that_for_all_addresses_of_a_host(
    with_silent_ones: tuple[str, LocalMemcached], limit: str
) -> None:
    address, server = with_silent_ones
    limits: Any = {"connect_timeout": 60, limit: 1}
    with memchunk.connect(address, **limits) as store:
        began = time.monotonic()
        with pytest.raises(NotFoundError):
            store.get("f")
        server.kill()
        with pytest.raises(UnavailableError):
            store.get("f")
        assert time.monotonic() - began < 3


def test_tls_on_a_unix_socket_is_refused(certificate: Certificate) -> None:
    with pytest.raises(ValueError, match=r"tls= is for host:port"):
        memchunk.connect("unix:/run/memcached.sock", tls=certificate.trusted())
