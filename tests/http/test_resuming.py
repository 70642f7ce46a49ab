"""Large files, which a client goes on sending after a break: `Client.put` and `memchunk put`."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from memchunk import (
    AlreadyExistsError,
    ChangedError,
    LockedError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)
from memchunk_api import resuming
from memchunk_api.client import Client
from memchunk_api.exchange import UnexpectedAnswerError
from memchunk_api.sending import ONE_REQUEST_BYTES
from tests.http.commanding import CommandLine
from tests.http.scripted import AT_ONCE, Once, Script, answer, description, problem
from tests.http.serving import Server
from tests.throttle import FULL_SPEED, Throttle
from tests.together import together

CONTENT = os.urandom(24 * 1024 * 1024)
LARGE = bytes(ONE_REQUEST_BYTES + 1)
RATE = 8e6  # bytes per second

CREATED = answer("201 x", b"", "Location: /uploads/one")
CREATED_AGAIN = answer("201 x", b"", "Location: http://elsewhere/under/uploads/two")
ALL_THERE = answer("204 x", b"", f"Upload-Offset: {len(LARGE)}")
STORED = answer("200 x", description(LARGE))


def asked(server: Script) -> list[str]:
    """The methods and paths of the requests so far."""
    return [" ".join(each.decode("latin-1").split(" ", 2)[:2]) for each in server.requests]


# --- a server that is started anew


@pytest.fixture
def start(
    serve: Callable[..., Server], memcached_address: str, namespace: str
) -> Callable[..., Server]:
    """A function that starts a server, or another one on the same files."""

    def start(*flags: str) -> Server:
        return serve(*flags, SERVERS=memcached_address, NAMESPACE=namespace, WORKERS="1", GRACE="1")

    return start


@pytest.fixture
def send(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Throttle], object]:
    """A function that sends CONTENT as `big`: `Client.put`, or `memchunk put`."""

    def by_client(throttle: Throttle) -> object:
        with Client(f"http://127.0.0.1:{throttle.port}") as client:
            return client.put("big", CONTENT)

    def by_command_line(throttle: Throttle) -> object:
        (tmp_path / "big").write_bytes(CONTENT)
        command = CommandLine(tmp_path, f"http://127.0.0.1:{throttle.port}")
        done = command("put", "big")
        assert (done.status, done.err) == (0, "")
        return done

    return by_client if request.param == "client" else by_command_line


@pytest.mark.parametrize(
    ("send", "number"),
    [("client", signal.SIGKILL), ("command line", signal.SIGTERM)],
    indirect=["send"],
    ids=["client, SIGKILL", "command line, SIGTERM"],
)
def test_a_server_that_is_started_anew_gets_the_rest(
    start: Callable[..., Server], send: Callable[[Throttle], object], number: signal.Signals
) -> None:
    first = start()
    workers = first.workers()
    throttle = Throttle(first.port, RATE)

    def restart() -> Server:
        throttle.wait_until_passed(len(CONTENT) // 2)
        throttle.rate = RATE / 100  # so that it cannot end in the time that is left to it
        first.signal(number)
        first.wait()
        for worker in workers:  # without their master they would end what they have begun
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        throttle.rate = FULL_SPEED
        return start("--port", str(first.port))

    [sent, second] = together(lambda: send(throttle), restart)
    throttle.close()
    assert not isinstance(sent, Exception), sent
    assert isinstance(second, Server), second
    with second.client() as http:
        assert http.get("/files/big").content == CONTENT
    assert '"route": "/uploads"' not in second.log()  # it went on, and did not start again


def test_what_is_given_up_leaves_nothing_behind(start: Callable[..., Server]) -> None:
    server = start()

    def interrupt(done: int, _: int | None) -> None:
        if done > len(CONTENT) // 2:
            raise KeyboardInterrupt

    with Client(server.url) as client, pytest.raises(KeyboardInterrupt):
        client.put("big", CONTENT, progress=interrupt)
    server.wait_for_log(r'"method": "DELETE", "route": "/uploads/\{upload_id\}".*"status": 204')


# --- as with a small file


def test_what_is_known_of_a_large_file(server: Server, name: str) -> None:
    told: list[tuple[int, int | None]] = []
    with Client(server.url) as client:
        first = client.put(
            name,
            CONTENT,
            ttl=500.5,
            content_type="image/png",
            progress=lambda *now: told.append(now),
        )
        assert (first.name, first.size, first.content_type) == (name, len(CONTENT), "image/png")
        assert first.sha256 == hashlib.sha256(CONTENT).hexdigest()
        assert first.expires_at is not None
        assert 501 <= (first.expires_at - first.created_at).total_seconds() < 503
        assert not first.replaced
        assert told == sorted(told)
        assert told[-1] == (len(CONTENT), len(CONTENT))
        with pytest.raises(AlreadyExistsError):
            client.put(name, LARGE)
        second = client.put(name, io.BytesIO(LARGE), replace=True)
        assert second.replaced
        assert client.stat(name) == second
        assert not client.put(name + "2", LARGE, replace=True).replaced


def test_what_cannot_be_sent_twice_goes_in_one_request(script: Callable[..., Script]) -> None:
    server = script(answer("201 x", description(LARGE)))
    with Client(server.url) as client:
        client.put("f", Once(LARGE))
    assert asked(server) == ["POST /files/f"]


@pytest.mark.parametrize(
    ("size", "options", "request_line"),
    [
        (ONE_REQUEST_BYTES, {}, "POST /files/f"),
        (ONE_REQUEST_BYTES + 1, {"if_match": ["0" * 64]}, "PUT /files/f"),
    ],
    ids=["small", "if_match"],
)
def test_what_goes_in_one_request(
    script: Callable[..., Script], size: int, options: dict[str, Any], request_line: str
) -> None:
    server = script(answer("201 x", description(bytes(size))))
    with Client(server.url) as client:
        client.put("f", bytes(size), **options)
    assert asked(server) == [request_line]


# --- servers in trouble


def test_an_upload_that_the_server_has_forgotten_begins_anew_once(
    script: Callable[..., Script],
) -> None:
    gone = problem("not_found")
    server = script(CREATED, gone, CREATED_AGAIN, ALL_THERE, STORED)
    with Client(server.url) as client:
        assert client.put("f", LARGE).size == len(LARGE)
    assert asked(server) == [
        *("POST /uploads", "PATCH /uploads/one", "POST /uploads", "PATCH /uploads/two"),
        "GET /metadata/f",
    ]
    hopeless = script(CREATED, gone, CREATED_AGAIN, gone)
    with Client(hopeless.url) as client, pytest.raises(NotFoundError):
        client.put("f", LARGE)


def test_a_server_that_has_less_than_was_sent_gets_the_rest(script: Callable[..., Script]) -> None:
    server = script(
        CREATED,
        b"HTTP/1.1 ",  # and it is gone
        answer("200 x", b"", "Upload-Offset: 8000000"),
        ALL_THERE,
        STORED,
    )
    told: list[int] = []
    with Client(server.url) as client:
        client.put("f", LARGE, progress=lambda done, _: told.append(done))
    asking, going_on = server.requests[2:4]
    assert asking.startswith(b"POST /uploads/one ")
    assert b"X-HTTP-Method-Override: HEAD" in asking
    assert b"Upload-Offset: 8000000" in going_on
    assert going_on.partition(b"\r\n\r\n")[2] == LARGE[8_000_000:]
    assert told.index(len(LARGE)) < len(told) - 1
    assert told[told.index(len(LARGE)) + 1] > 8_000_000


def test_an_upload_that_is_locked_is_waited_for(script: Callable[..., Script]) -> None:
    locked = problem("locked", AT_ONCE)
    offset = answer("200 x", b"", "Upload-Offset: 0")
    server = script(CREATED, *[locked] * 3, offset, locked, ALL_THERE, STORED)
    with Client(server.url) as client:
        assert client.put("f", LARGE).size == len(LARGE)


def test_patience_has_an_end(
    script: Callable[..., Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "PATIENCE_SECONDS", 0.5)
    locked = problem("locked", AT_ONCE)
    offset = answer("200 x", b"", "Upload-Offset: 0")
    server = script(CREATED, *[locked, offset] * 100)
    with Client(server.url, retries=0) as client, pytest.raises(LockedError):
        client.put("f", LARGE)
    away = script(CREATED)
    with Client(away.url, retries=0, timeout=0.2) as client, pytest.raises(UnavailableError):
        client.put("f", LARGE)


def test_a_server_that_is_full_is_told_to_forget_the_rest(script: Callable[..., Script]) -> None:
    server = script(CREATED, problem("storage_full"), answer("204 x"))
    with Client(server.url) as client, pytest.raises(StorageFullError):
        client.put("f", LARGE)
    assert asked(server)[-1] == "DELETE /uploads/one"


def test_a_server_that_is_away_once_it_has_all_is_waited_for(
    script: Callable[..., Script],
) -> None:
    server = script(CREATED, ALL_THERE, b"HTTP/1.1 ", STORED)
    with Client(server.url) as client:
        assert client.put("f", LARGE).size == len(LARGE)


def test_a_file_that_was_replaced_at_once_is_not_taken_for_ones_own(
    script: Callable[..., Script],
) -> None:
    server = script(CREATED, ALL_THERE, answer("200 x", description(b"of somebody else")))
    with Client(server.url) as client, pytest.raises(ChangedError, match="was stored"):
        client.put("f", LARGE)


@pytest.mark.parametrize(
    "answers",
    [
        [answer("201 x")],
        [answer("201 x", b"", "Location: /elsewhere")],
        [CREATED, answer("204 x"), answer("204 x")],
        [CREATED, answer("204 x", b"", "Upload-Offset: x"), answer("204 x")],
    ],
    ids=["no location", "another location", "no offset", "nonsense"],
)
def test_a_server_that_is_no_memchunk(script: Callable[..., Script], answers: list[bytes]) -> None:
    server = script(*answers)
    with Client(server.url) as client, pytest.raises(UnexpectedAnswerError):
        client.put("f", LARGE)
