"""Reports each request that is over, to the log and the metrics: gunicorn's hooks.

The application is done long before the last byte of a large file is sent, so it cannot.
"""

from __future__ import annotations

import time
from typing import Any

from memchunk_api import metrics
from memchunk_api.access import Facts, Record, facts_of
from memchunk_api.logs import RequestLog
from memchunk_api.metrics import Metrics


class Reporter:
    """Makes a `Record` of each request."""

    def __init__(self, counters: Metrics, log: RequestLog) -> None:
        self.metrics = counters
        self._log = log

    def begin(self, worker: Any, req: Any) -> None:
        """The headers of a request were read (gunicorn's `pre_request`)."""
        req.begun = time.perf_counter()

    def end(self, worker: Any, req: Any, environ: dict[str, Any], resp: Any) -> None:
        """Its answer was sent, as far as the client took it (gunicorn's `post_request`)."""
        if resp is None or resp.status is None:
            return  # it got no answer yet: see `refused`
        connection = environ["gunicorn.socket"]
        sent = resp.sent + connection.body_sent
        connection.body_sent = 0
        expected = 0 if resp._omits_body else resp.response_length or 0
        self._report(
            Record(
                method=req.method,
                status=resp.status_code,
                bytes_in=req.body.received,
                bytes_out=sent,
                aborted=sent < expected or not resp.headers_sent,
                seconds=time.perf_counter() - req.begun,
                facts=facts_of(environ),
            )
        )

    def refused(self, req: Any, status: int, facts: Facts, *, sent: int) -> None:
        """A request, None where it could not be read, was answered without the application."""
        self._report(
            Record(
                method=getattr(req, "method", None),
                status=status,
                bytes_in=0,
                bytes_out=sent,
                aborted=False,
                seconds=0.0,
                facts=facts,
            )
        )

    def left(self, arbiter: Any, worker: Any) -> None:
        """A worker has ended (gunicorn's `child_exit`)."""
        metrics.forget(worker.pid)

    def _report(self, record: Record) -> None:
        self.metrics.request(record)
        self._log.write(record)
