"""A server that says what a test has written down, and a source that can be sent only once."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import threading
from contextlib import suppress

from memchunk_api import problems

AT_ONCE = "Retry-After: 0"


class Script:
    """A server that answers each request, read to its end, with the next of the given answers.

    Attributes:
        requests: what came, head and body in one.
    """

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self._answers = iter(answers)
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def listen(self) -> None:
        """Let clients in. Until then nobody can connect."""
        self._listener.listen()
        self._thread.start()

    def close(self) -> None:
        """Stop, whether or not all answers were asked for."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            for answer in self._answers:
                connection, _ = self._listener.accept()
                with connection:
                    self.requests.append(_read_request(connection))
                    connection.sendall(answer)


def _read_request(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += stream.readline()
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
        if b"transfer-encoding" in fields:
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                body += stream.readline()
        else:
            body = stream.read(int(fields.get(b"content-length", 0)))
    return head + body


def answer(status: str, body: bytes | object = b"", *headers: str) -> bytes:
    """An answer with a body: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def problem(code: str, *headers: str) -> bytes:
    """The answer to what fails with the error of this code."""
    cls = next(cls for cls in problems.STATUS if getattr(cls, "code", None) == code)
    status = problems.STATUS[cls]
    document = problems.document(status, code=code, message=f"this is {code}")
    return answer(f"{int(status)} x", document, *headers)


def description(content: bytes, name: str = "f") -> dict[str, object]:
    """What a server says of a file with this content."""
    return {
        "name": name,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "chunk_count": 1,
        "chunk_size": 1,
        "content_type": "a/b",
        "created_at": "2026-01-02T03:04:05.006000+00:00",
        "expires_at": None,
    }


class Once(io.BytesIO):
    """A source that cannot go back."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation("seek")
