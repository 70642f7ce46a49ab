"""What Prometheus is told: counters of requests, of memcached, and of each kind of loss.

All workers count together, in files that each of them maps into memory; whichever is
asked for /metrics adds them up.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TypeVar

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

import memchunk
from memchunk import errors
from memchunk_api.access import Record

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# From a small file in memory to the slowest client that is waited for.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# A client can send any word for a method: each would be a series of its own.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "OTHER"
NO_ROUTE = "none"

M = TypeVar("M", Counter, Histogram)

# prometheus-client asks with each count. A system call each time would take a quarter of it.
_process = cache(os.getpid)
os.register_at_fork(after_in_child=_process.cache_clear)


def share(directory: Path) -> None:
    """Let the processes that are forked from this one count together, by files in `directory`.

    To be called before a `Metrics` is made.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(_process)  # type: ignore[no-untyped-call]


def forget(pid: int) -> None:
    """A process has ended: what it held it holds no more; what it counted stays."""
    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


class Children(dict[tuple[str, ...], M]):
    """The children of a metric, by the values of its labels.

    prometheus-client takes as long to look one up as to count.
    """

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric: M = metric

    def __missing__(self, labels: tuple[str, ...]) -> M:
        child: M = self._metric.labels(*labels)
        self[labels] = child
        return child


class Metrics(memchunk.Observer):
    """The counters of a server. Safe to share between threads and over fork."""

    def __init__(self, directory: Path | None = None) -> None:
        """Count in this process alone, or with others: see `share`."""
        self._directory = directory
        self._registry = registry = CollectorRegistry()
        request = ("route", "method", "status")

        def counter(name: str, text: str, *labels: str) -> Children[Counter]:
            return Children(Counter(name, text, labels, registry=registry))

        self._requests = counter(
            "memchunk_http_requests",
            "Requests, by the code of the problem that they were answered with, if any.",
            *request,
            "error",
        )
        self._seconds = Children(
            Histogram(
                "memchunk_http_request_duration_seconds",
                "From the end of a request's headers to the end of its answer.",
                request,
                buckets=SECONDS,
                registry=registry,
            )
        )
        self._received = counter(
            "memchunk_http_received_bytes", "Bytes of request bodies.", "route", "method"
        )
        self._sent = counter(
            "memchunk_http_sent_bytes", "Bytes of answers' bodies.", "route", "method"
        )
        self._buffer_limit = Gauge(
            "memchunk_buffer_limit_bytes",
            "File data that all workers may hold in memory at once.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._buffer_used = Gauge(
            "memchunk_buffer_used_bytes",
            "File data that requests hold in memory.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._buffer_waiting = Gauge(
            "memchunk_buffer_waiting_bytes",
            "Memory for file data that requests wait for.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._operations = counter(
            "memchunk_memcached_operations", "Commands sent to a memcached.", "server", "command"
        )
        self._server_sent = counter(
            "memchunk_memcached_sent_bytes", "Bytes sent to a memcached.", "server"
        )
        self._server_received = counter(
            "memchunk_memcached_received_bytes", "Bytes received from a memcached.", "server"
        )
        self._server_errors = counter(
            "memchunk_memcached_errors",
            "Exchanges with a memcached that failed: it is away, too slow, or answers nonsense.",
            "server",
        )

        def files(what: str, text: str) -> Counter:
            return Counter(f"memchunk_files_{what}", text, registry=registry)

        self._written = files("written", "Files stored.")
        self._read = files("read", "Files read whole and verified.")
        self._healed = files("healed", "Files stored in the place of a damaged one.")
        # By the class of the error; the first that fits.
        self._losses = {
            errors.NotFoundError: files("absent", "Times that there was no file of a name."),
            errors.EvictedError: files("evicted", "Times that a file lacked evicted chunks."),
            errors.DigestMismatchError: None,  # the client's bytes were wrong: no loss
            errors.CorruptError: files("corrupt", "Times that a file's bytes were not its own."),
            errors.StorageFullError: files("refused", "Files that memcached had no room for."),
        }

    def expose(self) -> bytes:
        """All of them, in Prometheus's text format."""
        registry = self._registry
        if self._directory is not None:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, str(self._directory))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def request(self, record: Record) -> None:
        """A request is over."""
        route = record.facts.route or NO_ROUTE
        method = record.method if record.method in METHODS else OTHER_METHOD
        status = str(record.status)
        self._requests[route, method, status, record.facts.error or ""].inc()
        self._seconds[route, method, status].observe(record.seconds)
        self._received[route, method].inc(record.bytes_in)
        self._sent[route, method].inc(record.bytes_out)

    def buffer_limit(self, limit: int) -> None:
        """How many bytes this process may hold."""
        self._buffer_limit.set(limit)

    def buffered(self, used: int, waiting: int) -> None:
        """How many bytes this process holds now, and how many are waited for."""
        self._buffer_used.set(used)
        self._buffer_waiting.set(waiting)

    def exchanged(self, exchange: memchunk.Exchange) -> None:
        """See `memchunk.Observer`."""
        server = exchange.server
        for command, count in exchange.commands.items():
            self._operations[server, command].inc(count)
        self._server_sent[(server,)].inc(exchange.bytes_sent)
        self._server_received[(server,)].inc(exchange.bytes_received)
        # Also where there is none: a series that begins with its first error looks like none.
        failures = self._server_errors[(server,)]
        if exchange.error is not None:
            failures.inc()

    def failed(self, error: memchunk.MemchunkError) -> None:
        """See `memchunk.Observer`."""
        for kind, counter in self._losses.items():
            if isinstance(error, kind):
                if counter is not None:
                    counter.inc()
                return

    def wrote(self, info: memchunk.FileInfo, *, healed: bool) -> None:
        """See `memchunk.Observer`."""
        self._written.inc()
        if healed:
            self._healed.inc()

    def read(self, info: memchunk.FileInfo) -> None:
        """See `memchunk.Observer`."""
        self._read.inc()
