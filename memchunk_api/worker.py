"""gunicorn's threaded worker with paced sockets, problem documents and an orderly end."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors as http_errors, wsgi  # type: ignore[import-untyped]
from gunicorn.workers import gthread  # type: ignore[import-untyped]

from memchunk_api import access, problems
from memchunk_api.answering import Answer
from memchunk_api.connection import HEADER_PATIENCE_SECONDS, PacedSocket
from memchunk_api.framing import PacedParser
from memchunk_api.turns import Turns

# Clients that one process can wait for at once, each in a thread. Four processes, which is as
# many as there are by default, then need no more than the 1024 connections that memcached
# takes by default.
MOST_CLIENTS = 240

# How long a thread waits for the first byte on a connection before it leaves that to gunicorn.
FIRST_PATIENCE_SECONDS = 5.0

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


class Worker(gthread.ThreadWorker):  # type: ignore[misc]
    """One process: takes connections, and has a thread for each that it waits for or answers."""

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """The threads, of which `cfg.threads` work at once."""
        self._turns = Turns(self.cfg.threads)
        return ThreadPoolExecutor(max(MOST_CLIENTS, self.cfg.threads))

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
        # gunicorn would wait in the same way, but meanwhile nobody else should.
        if not conn.initialized and not conn.wait_for_data(FIRST_PATIENCE_SECONDS):
            return gthread._DEFER
        with self._turns.one():
            return self._answer(conn)

    def _answer(self, conn: Any) -> Any:
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

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Answer one request as gunicorn would; whether the connection stays open."""
        environ: dict[str, Any] = {}
        answer = None
        try:
            self.cfg.pre_request(self, req)
            answer, environ = wsgi.create(
                req, conn.sock, conn.client, conn.server, self.cfg, response_class=Answer
            )
            environ["wsgi.multithread"] = True
            if not self.alive or len(self.keepalived_conns) >= self.max_keepalived:
                answer.force_close()
            blocks = self.wsgi(environ, answer.start_response)
            try:
                for block in blocks:
                    answer.write(block)
                answer.close()
            finally:
                if hasattr(blocks, "close"):
                    blocks.close()
            return not answer.should_close()
        except OSError:
            raise  # the client is gone
        except Exception:
            if answer is None or not answer.headers_sent:
                raise
            self.log.exception("cannot complete an answer")
            return False
        finally:
            self.cfg.post_request(self, req, environ, answer)

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
