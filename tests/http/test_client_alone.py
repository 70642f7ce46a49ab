"""What only a client meets: connections that break, servers that are away or something else."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from memchunk import (
    AlreadyExistsError,
    CorruptError,
    DigestMismatchError,
    MemchunkError,
    NotFoundError,
    UnavailableError,
)
from memchunk.breaker import PAUSE_SECONDS
from memchunk_api import problems
from memchunk_api.client import Client
from memchunk_api.exchange import UnexpectedAnswerError
from tests.http.scripted import AT_ONCE, Once, Script, answer, description, problem
from tests.http.serving import Server
from tests.relay import Relay
from tests.servers import LocalMemcached, nobody
from tests.together import together

DATA = bytes(range(256)) * 8000


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


# --- what arrives


VERBS: list[Callable[[Client, str], object]] = [
    lambda client, name: client.get(name),
    lambda client, name: client.download(name, io.BytesIO()),
    lambda client, name: client.read_into(name, bytearray(len(DATA))),
    lambda client, name: client.open(name).read(),
]


@pytest.mark.parametrize("verb", VERBS, ids=["get", "download", "read_into", "open"])
def test_a_connection_cut_in_the_middle_is_no_shorter_file(
    client: Client, server: Server, name: str, verb: Callable[[Client, str], object]
) -> None:
    client.put(name, DATA)
    with Relay(f"127.0.0.1:{server.port}") as relay, Client(f"http://{relay.address}") as cut:
        for count in 300, 700_000, len(DATA):
            relay.cut_after(count)
            with pytest.raises(UnavailableError, match="broke") as raised:
                while True:  # read() of an opened file goes on, on a new connection
                    verb(cut, name)
                    relay.cut_after(0)
            assert raised.value.server == f"http://{relay.address}"


@pytest.mark.parametrize("verb", VERBS[:3], ids=["get", "download", "read_into"])
def test_bytes_that_change_on_the_way_are_found_out(
    client: Client, server: Server, name: str, verb: Callable[[Client, str], object]
) -> None:
    client.put(name, DATA)
    with Relay(f"127.0.0.1:{server.port}") as relay, Client(f"http://{relay.address}") as garbled:
        relay.garble_after(100_000)
        with pytest.raises(CorruptError) as raised:
            verb(garbled, name)
        assert raised.value.name == name


def test_download_writes_what_get_gives(client: Client, name: str, tmp_path: Path) -> None:
    client.put(name, DATA)
    told: list[tuple[int, int | None]] = []
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        size = client.download(name, file, progress=lambda *now: told.append(now))
    assert size == len(DATA)
    assert path.read_bytes() == DATA
    assert told[-1] == (size, size)


def test_download_goes_on_where_a_write_takes_a_part(client: Client, name: str) -> None:
    class Reluctant(io.BytesIO):
        def write(self, data: object) -> int:
            return super().write(bytes(data)[:1000])  # type: ignore[call-overload]

    client.put(name, DATA)
    target = Reluctant()
    client.download(name, target)
    assert target.getvalue() == DATA


def test_what_the_target_raises_goes_through(client: Client, name: str) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    client.put(name, DATA)
    with pytest.raises(OSError, match="No space"):
        client.download(name, Full())
    assert client.get(name) == DATA


# --- what is sent


def test_a_source_that_shrinks_while_it_is_sent_is_not_stored(
    client: Client, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with pytest.raises(DigestMismatchError, match="changed"):
        client.put(name, path, progress=lambda *_: os.truncate(path, 300_000))
    assert name not in client


def test_a_source_that_grows_while_it_is_sent_is_stored_as_it_was(
    client: Client, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)

    def grow(*_: object) -> None:
        with path.open("ab") as file:
            file.write(bytes(1000))

    client.put(name, path, progress=grow)
    assert client.get(name) == DATA


def test_a_source_that_changes_while_it_is_sent_is_not_stored(
    client: Client, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)

    def change(*_: object) -> None:
        with path.open("r+b") as file:
            file.seek(1_500_000)
            file.write(b"changed")

    with pytest.raises(DigestMismatchError):
        client.put(name, path, progress=change)
    assert name not in client


def test_a_pipe_is_sent_while_it_is_read(client: Client, name: str) -> None:
    """A block is on its way before the next one is asked for: the whole is never held."""
    sent: list[int] = []

    class Watched:
        left = 40

        def read(self, size: int) -> bytes:
            assert size <= 256 * 1024
            self.left -= 1
            assert 40 - self.left <= len(sent) + 2
            return bytes(size) if self.left > 0 else b""

    client.put(name, Watched(), progress=lambda done, _: sent.append(done))
    assert sent[-1] == 39 * 256 * 1024


def test_an_answer_is_heard_that_comes_before_all_was_sent(client: Client, name: str) -> None:
    client.put(name, b"old")
    content = bytes(40_000_000)
    with pytest.raises(AlreadyExistsError):
        client.put(name, content)
    with pytest.raises(AlreadyExistsError):
        client.put(name, Once(content))
    assert client.get(name) == b"old"


def test_a_server_that_stored_something_else_is_told_to_delete_it(
    script: Callable[..., Script],
) -> None:
    server = script(answer("201 x", description(b"other")), answer("204 x"))
    with (
        pipe_with(b"mine") as pipe,
        Client(server.url) as client,
        pytest.raises(DigestMismatchError),
    ):
        client.put("f", pipe)
    digest = hashlib.sha256(b"other").hexdigest()
    assert server.requests[1].startswith(b"DELETE /files/f ")
    assert f'if-match: "{digest}"'.encode() in server.requests[1].lower()


def pipe_with(content: bytes) -> BinaryIO:
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(content)
    return open(reader, "rb")


# --- once more


def test_a_busy_server_is_asked_again(script: Callable[..., Script]) -> None:
    busy = problem("busy", AT_ONCE)
    server = script(busy, busy, answer("201 x", description(b"mine")))
    with Client(server.url) as client:
        assert client.put("f", b"mine").size == 4
    bodies = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    assert bodies == [b"mine"] * 3


def test_patience_has_an_end(script: Callable[..., Script]) -> None:
    server = script(*[problem("unavailable", AT_ONCE)] * 9)
    with Client(server.url, retries=3) as client, pytest.raises(UnavailableError) as raised:
        client.stat("f")
    assert str(raised.value) == "this is unavailable"
    assert len(server.requests) == 4


def test_nobody_waits_for_an_hour(script: Callable[..., Script]) -> None:
    server = script(problem("unavailable", "Retry-After: 3600"), answer("200 x"))
    with Client(server.url) as client, pytest.raises(UnavailableError):
        client.get("f")
    assert len(server.requests) == 1


def test_a_pipe_is_not_sent_again(script: Callable[..., Script]) -> None:
    server = script(problem("busy", AT_ONCE), answer("201 x", description(b"")))
    with (
        pipe_with(b"mine") as pipe,
        Client(server.url) as client,
        pytest.raises(UnavailableError),
    ):
        client.put("f", pipe)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("there", "error"), [(b"mine", None), (b"other", AlreadyExistsError)], ids=["own", "foreign"]
)
def test_a_file_that_was_stored_though_the_answer_was_503_is_ones_own(
    script: Callable[..., Script], there: bytes, error: type[Exception] | None
) -> None:
    server = script(
        problem("unavailable", AT_ONCE),
        problem("already_exists"),
        answer("200 x", description(there)),
    )
    with Client(server.url) as client:
        if error is None:
            assert client.put("f", b"mine").size == 4
        else:
            with pytest.raises(error):
                client.put("f", b"mine")


def test_a_server_that_is_being_started_is_waited_for() -> None:
    server = Script(answer("200 x", description(b"mine")))

    class StartIt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert "trying again" in record.getMessage()
            server.listen()

    log = logging.getLogger("memchunk_api")
    handler, level = StartIt(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with Client(server.url) as client:
            assert client.stat("f").size == 4
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        server.close()


def test_memcached_that_comes_back_is_waited_for(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    with Client(server.url, retries=0) as hasty, Client(server.url) as patient:
        hasty.put("f", b"old")
        memcached.kill()
        with pytest.raises(UnavailableError) as raised:
            hasty.get("f")
        assert raised.value.server == memcached.address
        [outcome, _] = together(lambda: patient.put("f", b"new"), memcached.start)
        assert not isinstance(outcome, Exception)
        time.sleep(PAUSE_SECONDS)  # then the other worker asks memcached again, too
        assert hasty.get("f") == b"new"


# --- answers that are none


def test_nobody_there() -> None:
    with nobody() as address:
        url = f"http://{address}"
        with Client(url, retries=0) as client, pytest.raises(UnavailableError) as raised:
            client.get("f")
    assert raised.value.server == url
    assert "memchunk serve" in str(raised.value)


def test_a_server_that_says_nothing() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1) as client,
        pytest.raises(UnavailableError, match="in time"),
    ):
        client.get("f")


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 x", "504 x"])
def test_a_proxy_that_does_not_reach_its_server(script: Callable[..., Script], status: str) -> None:
    server = script(answer(status, b"<h1>Sorry</h1>"))
    with Client(server.url, retries=0) as client, pytest.raises(UnavailableError):
        client.get("f")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (answer("500 x", problems.document(500, code="internal_error", message="m")), 500),
        (answer("404 Not Found", b"<h1>Not here</h1>"), 404),
        (answer("302 x", b"", "Location: /elsewhere"), 302),
        (answer("409 x", b"[" * 100_000), 409),
        (answer("409 x", {"code": "of another kind", "message": ["?"]}), 409),
        (answer("410 x", bytes(300_000)), 410),
        (answer("200 x", b"<h1>Welcome</h1>"), 200),
        (answer("200 x", [1]), 200),
        (answer("200 x", {"name": "f"}), 200),
        (answer("204 x"), 204),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["get", "stat"])
def test_a_server_that_is_no_memchunk(
    script: Callable[..., Script], verb: str, said: bytes, status: int
) -> None:
    server = script(said)
    with Client(server.url) as client, pytest.raises(UnexpectedAnswerError) as raised:
        getattr(client, verb)("f")
    assert raised.value.status == status
    assert raised.value.name == "f"
    assert server.url in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"01234567", b"0123456789"], ids=["none", "less", "more"])
def test_a_range_with_another_number_of_bytes(script: Callable[..., Script], body: bytes) -> None:
    server = script(
        answer("200 x", description(b"012345678")),
        answer("206 x", body, "Content-Range: bytes 0-8/9"),
    )
    with (
        Client(server.url) as client,
        client.open("f") as file,
        pytest.raises(UnexpectedAnswerError),
    ):
        file.read(100)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Range: bytes 0-3/4"],
        ["Content-Range: bytes 1-4/9"],
        [],
    ],
    ids=["too much", "another", "none"],
)
def test_a_range_that_was_not_asked_for(script: Callable[..., Script], headers: list[str]) -> None:
    server = script(answer("200 x", description(b"012345678")), answer("206 x", b"0123", *headers))
    with (
        Client(server.url) as client,
        client.open("f") as file,
        pytest.raises(UnexpectedAnswerError),
    ):
        file.read(2)


# --- who may


@pytest.mark.parametrize("way", ["token", "password", "user"])
def test_the_token(serve: Callable[..., Server], memcached_address: str, way: str) -> None:
    token = "s3cret/@ü"
    server = serve(SERVERS=memcached_address, TOKEN=token, WORKERS="1")
    encoded = "s3cret%2F%40%C3%BC"
    userinfo = {"token": "", "password": f"me:{encoded}@", "user": f"{encoded}@"}[way]
    url = server.url.replace("//", f"//{userinfo}")
    right = token if way == "token" else None
    with Client(url, token=right) as client, pytest.raises(NotFoundError):
        client.get("no such file")
    with Client(server.url, token="wrong") as client, pytest.raises(MemchunkError) as raised:
        client.get("f")
    assert isinstance(raised.value, UnexpectedAnswerError)
    assert raised.value.status == 401


def test_no_secret_in_a_message() -> None:
    with (
        nobody() as address,
        Client(f"http://me:s3cret@{address}/?x#y", retries=0) as client,
        pytest.raises(UnavailableError) as raised,
    ):
        client.get("f")
    assert "s3cret" not in f"{raised.value} {raised.value.server}"
    assert raised.value.server == f"http://{address}"


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": ""},
        {"url": "localhost:8000"},
        {"url": "ftp://host"},
        {"url": "http://"},
        {"url": "http://host:port"},
        {"url": "http://host", "token": "a\nb"},
        {"url": "http://host", "token": " "},
        {"url": "http://host", "timeout": 0},
        {"url": "http://host", "retries": -1},
    ],
    ids=str,
)
def test_arguments_that_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="."):
        Client(**arguments)  # type: ignore[arg-type]


def test_a_long_list_comes_in_pages(script: Callable[..., Script]) -> None:
    first = {"files": [description(b"", "a b"), description(b"", "c&d")], "next": "c&d"}
    last = {"files": [description(b"", "e")], "next": None}
    server = script(answer("200 x", first), answer("200 x", last))
    with Client(server.url) as client:
        assert [info.name for info in client.list("", limit=5)] == ["a b", "c&d", "e"]
    assert [request.split(b" ")[1] for request in server.requests] == [
        b"/files?prefix=&limit=5",
        b"/files?prefix=&limit=3&after=c%26d",
    ]


@pytest.mark.parametrize("page", [[], {}, {"files": [], "next": 7}, {"files": [7], "next": None}])
def test_a_list_that_is_none(script: Callable[..., Script], page: object) -> None:
    server = script(answer("200 x", page))
    with Client(server.url) as client, pytest.raises(UnexpectedAnswerError):
        list(client.list())


def test_a_rename_is_not_asked_twice(script: Callable[..., Script]) -> None:
    """The second time there would be nothing under the old name."""
    server = script(*[problem("unavailable", AT_ONCE)] * 2)
    with Client(server.url) as client, pytest.raises(UnavailableError):
        client.rename("a", "b")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "form", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_types_that_mean_a_form(form: str) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ValueError, match="form"):
        client.put("f", b"", content_type=form)


def test_a_server_under_a_path(script: Callable[..., Script]) -> None:
    server = script(answer("200 x", description(b"")))
    with Client(f"{server.url}/mem chunk/") as client:
        client.stat("a b")
    assert server.requests[0].startswith(b"GET /mem%20chunk/metadata/a%20b ")


def test_threads_share_a_client(client: Client, name: str) -> None:
    def round_trip(number: int) -> bool:
        content = os.urandom(100_000)
        client.put(f"{name}/{number}", content)
        return client.get(f"{name}/{number}") == content

    outcomes = together(*[lambda number=number: round_trip(number) for number in range(8)])
    assert outcomes == [True] * 8
