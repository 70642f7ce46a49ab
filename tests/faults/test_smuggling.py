"""Requests of which two readers may think differently where they end.

A proxy that reads such a request otherwise than the server behind it lets one client's bytes
become another's request (RFC 9112 section 11.2). So each is refused, and its connection closed;
what follows is never taken for a request.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st

from tests.http.serving import Server, request

HIDDEN = request("PUT", "/files/smuggled", "Content-Length: 3", body=b"bad")
LENGTH = str(len(HIDDEN))

SHAPES = {
    "length and chunked": [f"Content-Length: {LENGTH}", "Transfer-Encoding: chunked"],
    "chunked and length": ["Transfer-Encoding: chunked", "Content-Length: 4"],
    "two lengths": ["Content-Length: 0", f"Content-Length: {LENGTH}"],
    "a list of lengths": [f"Content-Length: 0, {LENGTH}"],
    "the same length twice": ["Content-Length: 0", "Content-Length: 0"],
    "negative length": ["Content-Length: -1"],
    "length with a sign": ["Content-Length: +0"],
    "hexadecimal length": ["Content-Length: 0x0"],
    "length with a space inside": ["Content-Length: 0 0"],
    "huge length": ["Content-Length: " + "9" * 30],
    "no length": ["Content-Length: "],
    "length with a space before the colon": ["Content-Length : 0"],
    "chunked with a space before the colon": ["Transfer-Encoding : chunked"],
    "length in a folded line": ["X: y", f" Content-Length: {LENGTH}"],
    "folded length": ["Content-Length:", " 0"],
    "folded chunked": ["Transfer-Encoding:", " chunked"],
    "xchunked": ["Transfer-Encoding: xchunked"],
    "chunked, identity": ["Transfer-Encoding: chunked, identity"],
    "identity, chunked": ["Transfer-Encoding: identity, chunked"],
    "chunked twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "chunked in quotes": ['Transfer-Encoding: "chunked"'],
    "chunked after a vertical tab": ["Transfer-Encoding: \x0bchunked"],
    "chunked and nothing": ["Transfer-Encoding: chunked,"],
    "null in a length": ["Content-Length: 0\x00"],
    "carriage return alone": ["X: y\rContent-Length: 0"],
}

CHUNKS = {
    "negative size": b"-1\r\n",
    "size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size with an underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "size that is no number": b"three\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "huge size": b"f" * 40 + b"\r\nabc\r\n0\r\n\r\n",
    "more bytes than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "fewer bytes than its size": b"5\r\nabc\r\n0\r\n\r\n",
    "no end of line after the bytes": b"3\r\nabc0\r\n\r\n",
    "line feed alone": b"3\nabc\n0\n\n",
    "line feed in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "an extension without an end": b"3;" + b"x" * 100_000,
}


@pytest.fixture(scope="module")
def server(memcached_address: str) -> Iterator[Server]:
    running = Server(SERVERS=memcached_address, NAMESPACE="smuggle", WORKERS="1", BODY_TIMEOUT="1")
    yield running
    running.stop()


def everything(server: Server, sent: bytes) -> bytes:
    """All that the server says to these bytes, until it closes the connection."""
    with server.connect() as connection:
        connection.sendall(sent)
        said = b""
        try:
            while received := connection.recv(65_536):
                said += received
        except ConnectionResetError:
            pass
    return said


def assert_nothing_smuggled(server: Server, said: bytes) -> None:
    assert said.count(b"HTTP/1.1 ") == 1, said
    with server.client() as http:
        assert http.get("/files/smuggled").status_code == 404
        assert http.get("/files/carrier").status_code == 404


@pytest.mark.parametrize("shape", SHAPES)
def test_headers_that_leave_open_where_a_request_ends(server: Server, shape: str) -> None:
    said = everything(server, request("PUT", "/files/carrier", *SHAPES[shape]) + HIDDEN)
    assert said[9:12] in (b"400", b"413"), said
    assert_nothing_smuggled(server, said)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_chunks_that_are_none(server: Server, chunk: str) -> None:
    head = request("PUT", "/files/carrier", "Transfer-Encoding: chunked")
    said = everything(server, head + CHUNKS[chunk] + HIDDEN)
    assert said[9:12] in (b"400", b"408"), said  # huge: it is waited for, in vain
    assert_nothing_smuggled(server, said)


def test_lines_that_end_with_a_line_feed_alone(server: Server) -> None:
    said = everything(server, b"GET /livez HTTP/1.1\nHost: here\n\n" + HIDDEN)
    assert said[9:12] == b"400", said
    assert_nothing_smuggled(server, said)


@pytest.mark.parametrize(
    "header", ["X" * 9000 + ": x", "X: " + "x" * 9000, "X: " + "x" * 5_000_000]
)
def test_a_header_that_is_too_large(server: Server, header: str) -> None:
    said = everything(server, request("PUT", "/files/carrier", header) + HIDDEN)
    assert said[9:12] == b"431", said
    assert_nothing_smuggled(server, said)


def test_too_many_headers(server: Server) -> None:
    said = everything(server, request("GET", "/livez", *[f"X-{i}: x" for i in range(5000)]))
    assert said[9:12] == b"431", said


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("PUT", "/files/carrier", ["Content-Length: 52428801"], b"413"),
        ("POST", "/files/%ff", [f"Content-Length: {LENGTH}0"], b"400"),
        ("BREW", "/livez", [f"Content-Length: {LENGTH}0"], b"400"),
        ("PUT", "/files/carrier", [f"Content-Length: {LENGTH}0", "Content-Encoding: x"], b"415"),
    ],
)
def test_a_body_that_was_refused_is_no_request(
    server: Server, method: str, path: str, headers: list[str], status: bytes
) -> None:
    said = everything(server, request(method, path, *headers) + HIDDEN)
    assert said[9:12] == status, said
    assert_nothing_smuggled(server, said)


HEADER = st.sampled_from(
    [header for shape in SHAPES.values() for header in shape]
    + ["Content-Length: 3", "Expect: 100-continue", "Connection: keep-alive", "\t", "Host: there"]
)
TAIL = st.sampled_from([b"", b"abc", b"0\r\n\r\n", b"\r\n", *CHUNKS.values(), HIDDEN])


def test_no_mixture_of_them_is_the_servers_fault(server: Server, torture: int) -> None:
    @settings(max_examples=150 * torture, deadline=None)
    @given(st.lists(HEADER, max_size=4), st.lists(TAIL, max_size=3))
    def mixture(headers: list[str], tails: list[bytes]) -> None:
        sent = request("POST", "/files?name=mixture", *headers) + b"".join(tails)
        answer = server.exchange(sent)
        assert answer.status < 500

    mixture()
