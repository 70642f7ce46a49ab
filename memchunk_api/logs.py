"""The log: a line of JSON for each request, on standard output, and for each fault, on stderr.

People at a terminal get lines for people. No header, no query string and no body is ever
written, and whatever a client sent is escaped.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote

from memchunk_api.access import Record

STDOUT = 1


def for_people() -> bool:
    """Whether somebody reads along: standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def request_line(record: Record, now: datetime) -> str:
    """A request as one line of JSON."""
    facts = record.facts
    line: dict[str, object] = {
        "ts": _timestamp(now),
        "method": record.method,
        "route": facts.route,
        "name": facts.name,
        "status": record.status,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "duration_seconds": round(record.seconds, 6),
        "request_id": facts.request_id,
        "error": facts.error,
    }
    if record.aborted:
        line["aborted"] = True
    if facts.cause is not None:
        line["cause"] = facts.cause
    return json.dumps(line)


def readable_request_line(record: Record, now: datetime) -> str:
    """A request as one line for people."""
    facts = record.facts
    path = (facts.route or "?").replace("{name}", quote(facts.name or "?"))
    what = f"{now:%H:%M:%S} {record.status} {quote(record.method or '?')} {path}"
    moved = f"{record.bytes_in} B in, {record.bytes_out} B out, {record.seconds * 1000:.1f} ms"
    failure = ", aborted" if record.aborted else ""
    if facts.error is not None:
        failure += f", {facts.error}"
    if facts.cause is not None:
        failure += f": {_printable(facts.cause)}"
    return f"{what}  {moved}{failure}"


class RequestLog:
    """Writes a line for each request, or only for those that the server failed."""

    def __init__(self, *, only_failures: bool = False) -> None:
        self._only_failures = only_failures
        self._line = readable_request_line if for_people() else request_line

    def write(self, record: Record) -> None:
        """Write its line, in one system call, so that those of other processes stay apart."""
        if self._only_failures and record.status < 500:
            return
        line = self._line(record, datetime.now(UTC))
        with suppress(OSError):  # nobody reads the log any more; files are served all the same
            os.write(STDOUT, line.encode() + b"\n")


class JsonFormatter(logging.Formatter):
    """Formats what the logging module is told as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, object] = {
            "ts": _timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := getattr(record, "request_id", None)) is not None:
            line["request_id"] = request_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def formatter() -> logging.Formatter:
    """Formats messages for whoever reads the log."""
    if for_people():
        return logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    return JsonFormatter()


def announce(text: str) -> None:
    """Say how the server was started, on standard output."""
    if not for_people():
        now = _timestamp(datetime.now(UTC))
        text = json.dumps({"ts": now, "level": "info", "logger": "memchunk", "message": text})
    with suppress(OSError):
        os.write(STDOUT, text.encode() + b"\n")


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
