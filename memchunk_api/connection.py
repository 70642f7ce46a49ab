"""The server's side of one TCP connection: how long it waits for a client.

gunicorn's threads read and write without any deadline; `PacedSocket` gives them
one, and `Worker` hands it to them and turns gunicorn's own errors into problem
documents.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors as http_errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from memchunk_api import access, problems
from memchunk_api.framing import PacedParser

# The average a client must keep up once its patience is used up. At this rate
# 50 MiB take 53 minutes, a little less than the library gives a put.
LEAST_BYTES_PER_SECOND = 16 * 1024

HEADER_PATIENCE_SECONDS = 30.0
SEND_PATIENCE_SECONDS = 30.0

# How long a thread waits for the next request on its connection before it leaves that
# to gunicorn.
NEXT_PATIENCE_SECONDS = 0.002

# After an answer that comes before the body was read, the rest of it is read and
# thrown away for this long, so that the client gets to see the answer rather
# than a reset (RFC 9112 section 9.6).
LINGER_SECONDS = 2.0
LINGER_BLOCK_BYTES = 256 * 1024

_REQUEST_STATUS = {
    http_errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    http_errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    http_errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}
# What gunicorn counts among the errors in a request, though no request can cause it.
_OUR_FAULT = (
    http_errors.InvalidResponseHeader,
    http_errors.InvalidResponseHeaderName,
    http_errors.ConfigurationProblem,
)


class PacedSocket(socket.socket):
    """A socket on which nobody can hold a thread for ever, 1 byte at a time.

    Waiting ends with `TimeoutError` after `patience` seconds without a byte, and
    also when fewer than `LEAST_BYTES_PER_SECOND` came on average, the first
    `patience` seconds not counted. Its errno says that the connection is gone,
    because that is how gunicorn treats it: no answer, no traceback.

    Attributes:
        body_sent: the bytes that `send_body` has sent.

    It is the kernel that keeps the time. Python's own timeouts take a system call more
    for each transfer, and gunicorn sets some ten of them per request; every one lets
    go of the interpreter lock, which under load takes far longer than the call.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over `connection`, which is dead from here on."""
        family, kind, proto = connection.family, connection.type, connection.proto
        super().__init__(family, kind, proto, fileno=connection.detach())
        super().settimeout(None)
        self.body_sent = 0
        self._limit: float | None = None
        self.expect(HEADER_PATIENCE_SECONDS)

    def settimeout(self, seconds: float | None, /) -> None:
        """Let no transfer take longer than this either."""
        self._limit = seconds

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001 - as gunicorn calls it
        """Take the limit away, or let nothing wait (longer than the kernel's clock ticks)."""
        self._limit = None if flag else 0.0

    def gettimeout(self) -> float | None:
        """The limit that was set."""
        return self._limit

    def expect(self, patience: float) -> None:
        """Start counting anew: the client is to send something now."""
        self._patience = patience
        self._waited = 0.0
        self._received = 0

    def has_more(self, seconds: float) -> bool:
        """Whether within `seconds` there is something to receive, be it the end."""
        self._allow(socket.SO_RCVTIMEO, seconds)
        try:
            super().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a connection that is broken: who reads from it finds out
        return True

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive; see the class for what ends the waiting."""
        started = self._allow_to_receive()
        try:
            data = super().recv(size, flags)
        except BlockingIOError:
            raise _too_slow() from None
        self._count(started, len(data))
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0, /) -> int:
        """Receive into `buffer`; see the class for what ends the waiting."""
        started = self._allow_to_receive()
        try:
            count = super().recv_into(buffer, size, flags)
        except BlockingIOError:
            raise _too_slow() from None
        self._count(started, count)
        return count

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of `data`, at `LEAST_BYTES_PER_SECOND` after a first patience."""
        remaining = SEND_PATIENCE_SECONDS + len(data) / LEAST_BYTES_PER_SECOND
        deadline = time.monotonic() + remaining
        left = memoryview(data)
        while left:
            self._allow(socket.SO_SNDTIMEO, remaining)
            try:
                left = left[super().send(left, flags) :]
            except BlockingIOError:
                raise _too_slow() from None
            remaining = deadline - time.monotonic()

    def send_body(self, data: Any, /) -> None:
        """Send some of an answer's body past gunicorn, and count it in `body_sent`."""
        self.sendall(data)
        self.body_sent += len(data)

    def _allow_to_receive(self) -> float:
        """Set how long the client may take now, and return when that began."""
        earned = self._patience + self._received / LEAST_BYTES_PER_SECOND
        self._allow(socket.SO_RCVTIMEO, min(earned - self._waited, self._patience))
        return time.monotonic()

    def _count(self, started: float, received: int) -> None:
        # Only what was spent in here: a memcached that dawdles is not the client's fault.
        self._waited += time.monotonic() - started
        self._received += received

    def _allow(self, option: int, seconds: float) -> None:
        if seconds <= 0:  # also where something could be moved: it comes too late
            raise _too_slow()
        if self._limit is not None:
            seconds = min(seconds, self._limit)
        # To the kernel 0 means for ever.
        whole, part = divmod(max(int(seconds * 1_000_000), 1), 1_000_000)
        self.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", whole, part))


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker with paced sockets, problem documents and an orderly end."""

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - as gunicorn calls it
        """Accept connections, or let them wait; once told to stop, refuse them."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            # gunicorn listens to the end, and a client would wait for an answer until then.
            for listener in self.sockets:
                listener.close()

    def enqueue_req(self, conn: Any) -> None:
        """A connection has, or soon will have, a request to read."""
        if not isinstance(conn.sock, PacedSocket):
            conn.sock = PacedSocket(conn.sock)
            conn.parser = PacedParser(self.cfg, conn.sock, conn.client)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Read and answer a request, and those that follow at once, in a thread of the pool."""
        while True:
            conn.sock.expect(HEADER_PATIENCE_SECONDS)
            keep = super().handle(conn)
            # To give the connection back, and to get it again, takes gunicorn longer than
            # to read and answer a small request.
            patience = NEXT_PATIENCE_SECONDS if self.alive else LINGER_SECONDS
            if keep is not True or self._others_wait() or not conn.sock.has_more(patience):
                break
        if keep is True and not self.alive:
            keep = False
        if keep is False:
            # With the last process of a container ends its network, and what a slow client
            # has not received by then is lost: whoever stops waits until it is done.
            may_wait = not self.alive and not self._others_wait()
            _linger(conn.sock, self.cfg.graceful_timeout if may_wait else LINGER_SECONDS)
        return keep

    def _others_wait(self) -> bool:
        """Whether there are more requests than threads."""
        return not self.tpool._work_queue.empty()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that never reached the application."""
        status = _status(exc)
        request_id = access.new_request_id()
        cause = None
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            cause = repr(exc)
            extra = {"request_id": request_id}
            self.log.error("cannot answer a request", exc_info=exc, extra=extra)
            message = "the server failed; its log says why"
        else:
            message = str(exc) or status.phrase
        code = problems.HTTP_CODES[status]
        problem = problems.document(status, code=code, message=message)
        body = json.dumps(problem).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"Connection: close\r\nContent-Type: {problems.MEDIA_TYPE}\r\n"
            f"Cache-Control: no-store\r\nX-Request-ID: {request_id}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        if req is not None and req.method == "HEAD":
            body = b""
        with suppress(OSError):  # nobody is listening any more
            client.sendall(head.encode("ascii") + body)
        facts = access.Facts(request_id, error=code, cause=cause)
        self.app.reporter.refused(req, status.value, facts, sent=len(body))


def _too_slow() -> TimeoutError:
    return TimeoutError(errno.ECONNRESET, "the client is too slow")


def _status(error: Exception) -> HTTPStatus:
    if isinstance(error, http_errors.ParseException) and not isinstance(error, _OUR_FAULT):
        return _REQUEST_STATUS.get(type(error), HTTPStatus.BAD_REQUEST)
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _linger(connection: PacedSocket, seconds: float) -> None:
    """Close the sending side, and give the client `seconds` to read the answer and hang up.

    gunicorn does so too, but in the one thread that accepts connections.
    """
    deadline = time.monotonic() + seconds
    with suppress(OSError):  # closed already, or silent
        connection.shutdown(socket.SHUT_WR)
        while (remaining := deadline - time.monotonic()) > 0:
            connection.expect(remaining)
            if not connection.recv(LINGER_BLOCK_BYTES):
                break
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # so that gunicorn's own lingering ends at once
