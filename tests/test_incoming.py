"""What a connection receives, however the network cuts it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from memchunk.incoming import MAX_LINE_BYTES, RECEIVE_BYTES, Incoming

LINES = st.binary(max_size=MAX_LINE_BYTES // 2).filter(lambda line: b"\r" not in line)
VALUES = st.binary(max_size=100) | st.integers(0, 3 * RECEIVE_BYTES).map(bytes)


class Cut:
    """What is sent, received in pieces of at most so many bytes."""

    def __init__(self, sent: bytes, most: int) -> None:
        self.left = sent
        self._most = most

    def receive(self, target: memoryview, *, whole: bool = False) -> int:
        """As much as is wanted, where it is `whole`; else a piece."""
        assert self.left, "more is asked for than was sent"
        piece = self.left[: len(target) if whole else min(len(target), self._most)]
        target[: len(piece)] = piece
        self.left = self.left[len(piece) :]
        return len(piece)


@given(
    parts=st.lists(st.tuples(LINES, VALUES), max_size=5),
    most=st.integers(1, 50) | st.just(10**6),
    how=st.sampled_from(["value", "read_into", "skip"]),
)
def test_lines_and_values_come_whole_and_in_order(
    parts: list[tuple[bytes, bytes]], most: int, how: str
) -> None:
    cut = Cut(b"".join(line + b"\r\n" + value for line, value in parts), most)
    incoming = Incoming()
    for line, value in parts:
        assert incoming.line(cut.receive) == line
        if how == "value":
            assert incoming.value(cut.receive, len(value)) == value
        elif how == "read_into":
            target = bytearray(len(value))
            incoming.read_into(cut.receive, memoryview(target))
            assert target == value
        else:
            incoming.skip(cut.receive, len(value))
    assert incoming.is_empty
    assert cut.left == b""


@pytest.mark.parametrize("most", [1, 1000, 10**6])
def test_a_line_without_an_end_is_given_up(most: int) -> None:
    cut = Cut(b"x" * 10**6, most)
    with pytest.raises(ConnectionError, match="without an end"):
        Incoming().line(cut.receive)
    assert len(cut.left) >= 10**6 - RECEIVE_BYTES


def test_what_came_can_be_forgotten() -> None:
    cut = Cut(b"old\r\nrest of the old", 10**6)
    incoming = Incoming()
    assert incoming.line(cut.receive) == b"old"
    assert not incoming.is_empty
    incoming.clear()
    assert incoming.is_empty
    assert incoming.line(Cut(b"new\r\n", 10**6).receive) == b"new"
