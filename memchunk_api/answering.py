"""How gunicorn writes an answer: its headers checked at once, and sent with what comes first.

With `framing.py`, `connection.py`, `worker.py` and `server.py` the only modules that know how
gunicorn works inside.
"""

from __future__ import annotations

from gunicorn.http.wsgi import HEADER_VALUE_RE, Response  # type: ignore[import-untyped]


class Answer(Response):  # type: ignore[misc]
    """An answer. That of a small file has fourteen headers, and leaves in one step."""

    headers_sent: bool

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the application's headers, of which none is about the connection.

        gunicorn looks at them one by one, which takes longer than to send them.
        """
        if not HEADER_VALUE_RE.fullmatch("".join(map("".join, headers))):
            super().process_headers(headers)  # which says what is wrong with which
        self.headers = headers
        length = dict(headers).get("content-length")
        if length is not None:
            self.response_length = int(length)

    def send_headers(self) -> None:
        """Not by themselves: see `_send`."""

    def close(self) -> None:
        """The body is complete."""
        if self.chunked:
            self._send(b"0\r\n\r\n")
        elif not self.headers_sent:
            self._send(b"")

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        if not self.headers_sent:
            given = [f"{name}: {value}\r\n" for name, value in self.headers]
            head = "".join([*self.default_headers(), *given, "\r\n"])
            data = head.encode("latin-1") + data
        self.sock.sendall(data)
        self.headers_sent = True
