"""The real server as a process of its own, and the means to talk to it badly."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 60
ANSWER_SECONDS = 30


class Server:
    """`memchunk serve` on free ports; runs when made, until `stop`.

    Attributes:
        url: where it is, without a slash at the end.
        port: the same as a number.
    """

    def __init__(self, *flags: str, **environ: str) -> None:
        """Start it; `environ` are variables without their MEMCHUNK_."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "memchunk_api", "serve", "--port", "0", *flags],
            env={
                **{key: value for key, value in os.environ.items() if "MEMCHUNK" not in key},
                "MEMCHUNK_IMAGE_PORT": "0",
                **{f"MEMCHUNK_{key}": value for key, value in environ.items()},
            },
            stdout=self._log,
            stderr=self._log,
        )
        try:
            found = self.wait_for_log(r"serves (http://\S+:(\d+)) ")
        except BaseException:
            self.stop()
            raise
        self.url, self.port = found[1], int(found[2])

    def log(self) -> str:
        """All it has written so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode()

    def wait_for_log(self, pattern: str) -> re.Match[str]:
        """Wait until it has written what matches `pattern`."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            # Whether it has ended is asked first: what it wrote before that is then in the log.
            ended = self._process.poll() is not None
            found = re.search(pattern, self.log())
            if found is not None:
                return found
            if ended:
                break
            time.sleep(0.01)
        raise AssertionError(f"nothing matches {pattern!r} in:\n{self.log()}")

    @property
    def pid(self) -> int:
        """The master process."""
        return self._process.pid

    def workers(self) -> list[int]:
        """The worker processes, once there are any."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            python = [pid for pid in map(int, children) if "python" in _command(pid)]
            if python:
                return python
            time.sleep(0.01)
        raise AssertionError("no worker started")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        self._process.send_signal(number)

    def wait(self, seconds: float = START_SECONDS) -> int:
        """Wait until it has ended; its exit status."""
        return self._process.wait(seconds)

    def stop(self) -> None:
        """End it, and see that nothing it was asked made it write a traceback."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(START_SECONDS)
        finally:
            log = self.log()
            self._log.close()
        assert "Traceback" not in log, log

    def client(self, **options: Any) -> httpx.Client:
        """A client for it; to be closed."""
        # There is no TLS here, and to read the certificates would take longer than most tests.
        options = {"verify": False, "timeout": ANSWER_SECONDS} | options
        return httpx.Client(base_url=self.url, **options)

    def connect(self) -> socket.socket:
        """A plain connection; to be closed."""
        return socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS)

    def exchange(self, *parts: bytes, finish: bool = True) -> Answer:
        """Send bytes as they are, by default end the sending side, and read one answer."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            return read_answer(connection)


class Answer:
    """An answer as it came over a plain connection.

    Attributes:
        head: status line and headers; body: what followed.
    """

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head.decode("latin-1")
        self.body = body

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.split(" ")[1])

    def problem(self) -> dict[str, Any]:
        """The problem document that it is."""
        assert "application/problem+json" in self.head, self.head
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        return found


def read_answer(connection: socket.socket) -> Answer:
    """Read one answer with a Content-Length (or none), 100 Continue included."""
    with connection.makefile("rb") as stream:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            assert line, f"the connection ended after {head!r}"
            head += line
        length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
        return Answer(head, stream.read(int(length[1])) if length else b"")


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """A request as bytes, with no header but those given and Host."""
    lines = [f"{method} {path} HTTP/1.1", "Host: here", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*blocks: bytes) -> bytes:
    """Blocks in chunked coding (RFC 9112 section 7.1), with the end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks) + b"0\r\n\r\n"


def assert_absent(server: Server, name: str) -> None:
    """There is no such file."""
    with server.client() as http:
        assert http.get(f"/files/{name}").status_code == 404


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""  # it has ended meanwhile
