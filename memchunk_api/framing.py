"""How gunicorn reads a request: into memory of ours without a copy, counted, and to its end.

With `answering.py`, `connection.py`, `worker.py` and `server.py` the only modules that know how
gunicorn works inside.
"""

from __future__ import annotations

from typing import Any

from gunicorn.http.body import (  # type: ignore[import-untyped]
    Body,
    ChunkedReader,
    LengthReader,
)
from gunicorn.http.message import Request  # type: ignore[import-untyped]
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]


class CountedBody(Body):  # type: ignore[misc]
    """A request body.

    Attributes:
        received: how many bytes of it were read.
    """

    def __init__(self, reader: Any) -> None:
        super().__init__(reader)
        self.received = 0

    def _read_reader(self, size: int) -> bytes:
        data: bytes = super()._read_reader(size)
        self.received += len(data)
        return data


class LengthBody(CountedBody):
    """The body of a request with a Content-Length, which can be read into a buffer.

    gunicorn's own `read` copies every byte four times.
    """

    def read(self, size: int) -> bytes:
        """Some bytes, `size` at most; none at the end of the body, or of the connection."""
        block = memoryview(bytearray(min(size, self.reader.length)))
        return bytes(block[: self.readinto(block)])

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of `buffer`; 0 at the end of the body, or of the connection."""
        reader = self.reader
        target = buffer[: reader.length]
        if not target:
            return 0
        held = reader.unreader.take_buffered()
        if held:
            # What came along with the headers, and perhaps with it the next request.
            count = min(len(held), len(target))
            target[:count] = held[:count]
            if count < len(held):
                reader.unreader.unread(held[count:])
        else:
            count = reader.unreader.sock.recv_into(target)
        reader.length -= count
        self.received += count
        return count


class PacedRequest(Request):  # type: ignore[misc]
    """A request whose connection is closed where its body was not read to the end.

    gunicorn would announce that the connection stays, read on for a while, and then
    close it all the same, perhaps under the client's next request.
    """

    body: CountedBody

    def __init__(self, *args: Any) -> None:
        """Read the request's headers."""
        super().__init__(*args)
        # gunicorn would send `100 Continue` before the application runs, and so ask
        # for a body that is refused a moment later. `body.py` sends it, if at all.
        self._expected_100_continue = False

    def _peer_is_trusted_proxy(self) -> bool:
        # gunicorn would look for the client's address among none.
        return False

    def set_body_reader(self) -> None:
        """Find out how the body is framed."""
        super().set_body_reader()
        reader = self.body.reader
        kind = LengthBody if isinstance(reader, LengthReader) else CountedBody
        self.body = kind(reader)

    def should_close(self) -> bool:
        """Whether this is the last request on its connection, as far as it is known now."""
        reader = self.body.reader
        is_read = reader.parser is None if isinstance(reader, ChunkedReader) else not reader.length
        return not is_read or bool(super().should_close())


class PacedParser(RequestParser):  # type: ignore[misc]
    """Finds such requests on a connection."""

    mesg_class = PacedRequest

    def finish_body(self, *_limits: Any, **_more: Any) -> bool:
        """Nothing is left to read: see `PacedRequest.should_close`."""
        return True
