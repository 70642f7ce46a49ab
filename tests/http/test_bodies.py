"""Bodies as clients really send them: cut short, stalled, chunked, lying."""

from __future__ import annotations

import socket

import httpx
import pytest

from memchunk import MAX_FILE_BYTES
from memchunk_api.connection import PacedSocket
from tests.http.serving import Answer, Server, assert_absent, chunked, read_answer, request
from tests.http.test_writes import digest

BIG = b"0123456789abcdef" * 100_000  # 1.6 MB: four chunks


def put_chunked(server: Server, name: str, body: bytes, *headers: str) -> Answer:
    head = request("PUT", f"/files/{name}", "Transfer-Encoding: chunked", *headers)
    return server.exchange(head + body)


# --- raw bodies with a length


@pytest.mark.parametrize("missing", [1, 1000, len(BIG) - 1, len(BIG)])
def test_a_body_cut_short_stores_nothing(server: Server, name: str, missing: int) -> None:
    head = request("PUT", f"/files/{name}", f"Content-Length: {len(BIG)}")
    answer = server.exchange(head, BIG[: len(BIG) - missing])
    assert answer.status == 400
    assert f"of {len(BIG)} bytes" in answer.problem()["detail"]
    assert_absent(server, name)


def test_a_body_cut_short_leaves_the_old_file(server: Server, name: str) -> None:
    """Promise 3, a failed write changes nothing."""
    with server.client() as http:
        http.put(f"/files/{name}", content=b"old")
        head = request("PUT", f"/files/{name}", f"Content-Length: {len(BIG)}")
        assert server.exchange(head, BIG[:-1]).status == 400
        assert http.get(f"/files/{name}").content == b"old"


def test_a_reset_connection_stores_nothing(server: Server, name: str) -> None:
    with server.connect() as connection:
        connection.sendall(request("PUT", f"/files/{name}", f"Content-Length: {len(BIG)}"))
        connection.sendall(BIG[:-1])
        # Linger 0: closing sends a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert_absent(server, name)


@pytest.mark.parametrize("sent", [0, len(BIG) - 1])
def test_a_stalled_body_is_given_up(server: Server, name: str, sent: int) -> None:
    head = request("PUT", f"/files/{name}", f"Content-Length: {len(BIG)}")
    answer = server.exchange(head, BIG[:sent], finish=False)
    assert answer.status == 408
    assert answer.problem()["code"] == "request_timeout"
    assert_absent(server, name)


def test_a_trickling_body_is_given_up(server: Server, name: str) -> None:
    """A byte now and then keeps no thread for ever."""
    with server.connect() as connection:
        connection.sendall(request("PUT", f"/files/{name}", f"Content-Length: {len(BIG)}"))
        connection.settimeout(0.1)
        answer = b""
        for _ in range(300):
            try:
                connection.sendall(b"x")
                answer = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            break
        assert b" 408 " in answer
    assert_absent(server, name)


def test_who_sends_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is always something to read: every recv finds a byte."""
    monkeypatch.setattr("memchunk_api.connection.LEAST_BYTES_PER_SECOND", 10**9)
    ours, theirs = socket.socketpair()
    paced = PacedSocket(ours)
    paced.expect(0.05)
    with theirs, paced:
        theirs.sendall(b"x" * 100_000)
        with pytest.raises(TimeoutError, match="too slow"):
            all(iter(lambda: paced.recv(1), b""))


def test_who_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memchunk_api.connection.SEND_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr("memchunk_api.connection.LEAST_BYTES_PER_SECOND", 10**9)
    ours, theirs = socket.socketpair()
    with theirs, PacedSocket(ours) as paced, pytest.raises(TimeoutError, match="too slow"):
        paced.sendall(bytes(10_000_000))


def test_bytes_beyond_the_length_are_another_request(server: Server, name: str) -> None:
    head = request("PUT", f"/files/{name}", "Content-Length: 3")
    assert server.exchange(head, b"abcdef").status == 201
    with server.client() as http:
        assert http.get(f"/files/{name}").content == b"abc"


def test_two_requests_in_one_go(server: Server, name: str) -> None:
    with server.connect() as connection:
        connection.sendall(
            request("PUT", f"/files/{name}", "Content-Length: 3", body=b"abc")
            + request("GET", f"/files/{name}", "Connection: close")
        )
        with connection.makefile("rb") as stream:
            everything = stream.read()
    assert everything.startswith(b"HTTP/1.1 201 ")
    assert b"HTTP/1.1 200 OK" in everything
    assert everything.endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize("length", ["-1", "1.5", "abc", "+3", "\xb2", "9" * 5000])
def test_malformed_lengths(server: Server, name: str, length: str) -> None:
    answer = server.exchange(request("PUT", f"/files/{name}", f"Content-Length: {length}"))
    assert answer.status in (400, 413)
    assert answer.problem()["detail"]
    assert_absent(server, name)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 3", "Content-Length: 3"],
        ["Content-Length: 3", "Content-Length: 4"],
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Content-Length: 3", "Host: there"],
        ["Content-Length: 3", "Content-Type: a/b", "Content-Type: c/d"],
        ["Content-Length: 3", "Bad Name: x"],
        ["Content-Length: 3", "Null: a\x00b"],
        ["Content-Length: 3", ": no name"],
        ["Content-Length: 3", "Transfer-Encoding: gzip"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: nonsense"],
        ["Content-Length: 3", "Content-Range: bytes 0-2/3"],
        ["Content-Length: 3", "X" * 9000 + ": x"],
        ["Content-Length: 3", *[f"X-{i}: x" for i in range(200)]],
    ],
)
def test_malformed_headers(server: Server, name: str, headers: list[str]) -> None:
    answer = server.exchange(request("PUT", f"/files/{name}", *headers, body=b"abc"))
    assert answer.status in (400, 431)
    assert answer.problem()["detail"]
    assert_absent(server, name)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("nonsense", 400),
        ("GET /livez", 400),
        ("GET /livez HTTP/3.0", 400),
        ("get /livez HTTP/1.1", 400),
        ("GET livez HTTP/1.1", 400),
        ("GET /" + "x" * 9000 + " HTTP/1.1", 414),
        ("BREW /livez HTTP/1.1", 400),
        ("GET /livez?\xff HTTP/1.1", 400),
    ],
)
def test_malformed_request_lines(server: Server, line: str, status: int) -> None:
    answer = server.exchange(line.encode("latin-1") + b"\r\nHost: here\r\n\r\n")
    assert answer.status == status
    assert answer.problem()["detail"]


def test_a_content_coding_is_refused(http: httpx.Client, name: str) -> None:
    headers = {"Content-Encoding": "gzip"}
    refused = http.put(f"/files/{name}", content=b"x", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")


# --- answers before the body


def test_too_large_is_said_before_the_body(server: Server, name: str) -> None:
    head = request("PUT", f"/files/{name}", f"Content-Length: {MAX_FILE_BYTES + 1}")
    answer = server.exchange(head, finish=False)
    assert answer.status == 413
    assert answer.problem()["code"] == "too_large"


@pytest.mark.parametrize(
    ("path", "length", "more", "status"),
    [
        ("/files/a", MAX_FILE_BYTES + 1, [], 413),
        ("/files/a//b", 10, [], 400),
        ("/files/a?ttl=never", 10, [], 400),
        ("/files/a", 10, ["If-Match: *"], 412),
        ("/files/a", MAX_FILE_BYTES, ['If-Match: "x"'], 412),
        ("/files/a", 10, ["Sec-Fetch-Site: cross-site"], 403),
    ],
)
def test_who_waits_for_100_continue_hears_the_refusal_instead(
    server: Server, path: str, length: int, more: list[str], status: int
) -> None:
    headers = [f"Content-Length: {length}", "Expect: 100-continue", *more]
    answer = server.exchange(request("PUT", path, *headers), finish=False)
    assert answer.status == status
    assert "100 Continue" not in answer.head
    assert "connection: close" in answer.head.lower()


def test_who_waits_for_100_continue_hears_that_there_is_a_file(
    server: Server, http: httpx.Client, name: str
) -> None:
    http.put(f"/files/{name}", content=b"x")
    headers = ["Content-Length: 10", "Expect: 100-continue"]
    answer = server.exchange(request("POST", f"/files/{name}", *headers), finish=False)
    assert answer.status == 409


def test_an_http_1_0_client_gets_no_100_continue(server: Server, name: str) -> None:
    head = request("PUT", f"/files/{name}", "Content-Length: 3", "Expect: 100-continue")
    answer = server.exchange(head.replace(b"HTTP/1.1", b"HTTP/1.0"), b"abc")
    assert answer.status == 201


def test_another_expectation_is_refused(server: Server, name: str) -> None:
    head = request("PUT", f"/files/{name}", "Content-Length: 3", "Expect: miracles")
    answer = server.exchange(head, b"abc")
    assert (answer.status, answer.problem()["code"]) == (417, "expectation_failed")


def test_100_continue_comes_when_the_body_is_wanted(server: Server, name: str) -> None:
    with server.connect() as connection:
        headers = ["Content-Length: 3", "Expect: 100-continue"]
        connection.sendall(request("PUT", f"/files/{name}", *headers))
        assert read_answer(connection).status == 100
        connection.sendall(b"abc")
        assert read_answer(connection).status == 201


def test_an_early_answer_reaches_a_client_that_goes_on_sending(
    server: Server, http: httpx.Client, name: str
) -> None:
    http.put(f"/files/{name}", content=b"x")
    head = request("POST", f"/files/{name}", f"Content-Length: {MAX_FILE_BYTES}")
    assert server.exchange(head, bytes(MAX_FILE_BYTES), finish=False).status == 409


# --- chunked bodies


def test_a_chunked_body(server: Server, name: str) -> None:
    body = chunked(BIG[:1], BIG[1:600_000], BIG[600_000:])
    assert put_chunked(server, name, body).status == 201
    with server.client() as http:
        assert http.get(f"/files/{name}").content == BIG


def test_an_empty_chunked_body(server: Server, name: str) -> None:
    assert put_chunked(server, name, chunked()).status == 201
    with server.client() as http:
        assert http.get(f"/files/{name}").content == b""


def test_extensions_and_trailers_are_not_content(server: Server, name: str) -> None:
    body = b'3;a=b;c="d"\r\nabc\r\n0\r\nExpires: never\r\n\r\n'
    assert put_chunked(server, name, body).status == 201
    with server.client() as http:
        assert http.get(f"/files/{name}").content == b"abc"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"3\r\nab",
        b"3\r\nabc",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0\r\n",
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"x\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"3 3\r\nabc\r\n0\r\n\r\n",
        b"f" * 9000,
        b"3;" + b"x" * 20_000 + b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 1000,
    ],
)
def test_broken_chunked_bodies_store_nothing(server: Server, name: str, body: bytes) -> None:
    answer = put_chunked(server, name, body)
    assert answer.status == 400
    assert answer.problem()["detail"]
    assert_absent(server, name)


@pytest.mark.parametrize("sent", [b"5\r\nab", b"2\r\nab\r\n"])
def test_a_stalled_chunked_body(server: Server, name: str, sent: bytes) -> None:
    head = request("PUT", f"/files/{name}", "Transfer-Encoding: chunked")
    assert server.exchange(head + sent, finish=False).status == 408
    assert_absent(server, name)


def test_an_endless_chunked_body_is_counted(server: Server, name: str) -> None:
    head = request("PUT", f"/files/{name}", "Transfer-Encoding: chunked")
    block = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    answer = server.exchange(head, *[block] * 51, finish=False)
    assert answer.status == 413
    assert_absent(server, name)


def test_a_digest_of_a_chunked_body(server: Server, name: str) -> None:
    wrong = put_chunked(server, name, chunked(b"abc"), f"Content-Digest: {digest(b'x', 'sha-512')}")
    assert wrong.status == 422
    assert_absent(server, name)
    right = put_chunked(
        server, name, chunked(b"abc"), f"Content-Digest: {digest(b'abc', 'sha-512')}"
    )
    assert right.status == 201
