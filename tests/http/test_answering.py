"""How an answer goes out: checked, framed, and in one step where it is small."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.errors import InvalidResponseHeader  # type: ignore[import-untyped]

from memchunk_api.answering import Answer
from memchunk_api.connection import PacedSocket
from memchunk_api.framing import PacedParser


class Conversation:
    """A request that was read, and a client to whom each send of the answer comes by itself."""

    def __init__(self) -> None:
        self._client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server = PacedSocket(server)
        self._client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        config = Config()
        parsed = next(PacedParser(config, self._server, ("127.0.0.1", 1)))
        self.answer = Answer(parsed, self._server, config)

    def received(self) -> bytes:
        """What the oldest send brought."""
        return self._client.recv(1 << 16, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._client.close()
        self._server.close()


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    conversation = Conversation()
    yield conversation
    conversation.close()


def test_headers_and_a_small_body_leave_in_one_step(conversation: Conversation) -> None:
    conversation.answer.start_response("200 OK", [("content-length", "3"), ("x-a", "b")])
    conversation.answer.write(b"abc")
    conversation.answer.close()
    head, _, body = conversation.received().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\ncontent-length: 3\r\nx-a: b")
    assert body == b"abc"


def test_an_answer_without_a_body_leaves_at_its_end(conversation: Conversation) -> None:
    conversation.answer.start_response("204 No Content", [("x-a", "b")])
    assert not conversation.answer.headers_sent
    conversation.answer.close()
    assert conversation.received().endswith(b"\r\nx-a: b\r\n\r\n")


def test_a_body_of_unknown_length_goes_in_chunks(conversation: Conversation) -> None:
    conversation.answer.start_response("200 OK", [])
    conversation.answer.write(b"a" * 16)
    conversation.answer.write(b"b")
    conversation.answer.close()
    head, _, body = conversation.received().partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert body == b"10\r\n" + b"a" * 16 + b"\r\n"
    assert conversation.received() == b"1\r\nb\r\n"
    assert conversation.received() == b"0\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nx-b: c", "a\nb", "\x00", "\u20ac"])
def test_a_header_cannot_become_two(conversation: Conversation, value: str) -> None:
    with pytest.raises(InvalidResponseHeader):
        conversation.answer.start_response("200 OK", [("x-a", value), ("x-c", "d")])
