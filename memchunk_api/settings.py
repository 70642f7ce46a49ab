"""What the server can be told, read from a mapping of environment variables.

One frozen value, checked once, before anything is started. Defaults live here
and nowhere else. No I/O: the environment, with flags laid over it, is handed in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from memchunk.factory import LayoutName

MIB = 1024 * 1024

# One GET holds its whole file, so a smaller budget could never serve the
# largest file that may be stored (50 MiB), nor could a smaller memcached keep it.
LEAST_BUFFER_MIB = 50
LEAST_MEMCACHED_MIB = 64

# memcached counts seconds up to January 2038; a default that runs past it
# would make every write fail.
LONGEST_TTL_SECONDS = 10 * 365 * 24 * 3600

# The library lets go of chunks an hour after a put that never ended. With this
# patience and the least rate of `connection.py`, 50 MiB take less than that.
LONGEST_BODY_TIMEOUT_SECONDS = 300


def default_workers() -> int:
    """One process per core that this process may use, four at most.

    Each worker may hold its own budget of buffers, so that a big machine does
    not silently promise itself gigabytes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(4, cores or 1))


class SettingsError(ValueError):
    """A setting that cannot be used; the message is one line and names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `memchunk serve` can be told.

    Attributes:
        host: the address to listen on.
        port: its TCP port; 0 lets the system choose a free one.
        image_port: the port of the ASCII-image protocol; None turns it off.
        servers: memcached addresses; empty starts a private memcached.
        memory_mib: MiB for the private memcached.
        namespace: what every key starts with; None leaves the library's own.
        layout: `"steady"` or `"compact"`: see `memchunk.connect`.
        default_ttl: seconds that a file is kept where the request does not say; None is for ever.
        token: the secret that requests must bring; None lets everyone in.
        buffer_bytes: bytes of file data that one worker process may hold at once.
        workers: worker processes.
        threads: how many requests each works on at once; those that wait for a client, or move
            a large file, do not count.
        body_timeout: seconds without a byte after which a request body is given up.
        grace: seconds that requests under way get to end once the server is told to stop.
        access_log: whether every request has a line in the log, or only one that failed here.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    image_port: int | None = 4444
    servers: tuple[str, ...] = ()
    memory_mib: int = 1024
    namespace: str | None = None
    layout: LayoutName = "steady"
    default_ttl: int | None = None
    token: str | None = field(default=None, repr=False)
    buffer_bytes: int = 256 * MIB
    workers: int = field(default_factory=default_workers)
    # While one of them waits for memcached the other has the interpreter, of which there is one
    # in a process: more would only take it from each other.
    threads: int = 2
    body_timeout: int = 30
    # Docker kills after 10 s, and memcached must have been ended by then.
    grace: int = 8
    access_log: bool = True

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """The settings that `environ` describes; an unset or empty variable means the default.

        Raises:
            SettingsError: a variable holds what cannot be used.
        """
        default = cls()
        read = _Reader(environ)
        image_port = read.integer("MEMCHUNK_IMAGE_PORT", 4444, least=0, most=65_535)
        if environ.get("MEMCHUNK_IMAGE_PORT") == "":
            image_port = 0  # set to nothing is how a compose file turns it off
        return cls(
            host=read.text("MEMCHUNK_HOST") or default.host,
            port=read.integer("MEMCHUNK_PORT", default.port, least=0, most=65_535),
            image_port=image_port or None,
            servers=read.addresses("MEMCHUNK_SERVERS"),
            memory_mib=read.integer(
                "MEMCHUNK_MEMORY", default.memory_mib, least=LEAST_MEMCACHED_MIB, most=MIB
            ),
            namespace=read.text("MEMCHUNK_NAMESPACE"),
            layout=read.layout("MEMCHUNK_LAYOUT"),
            default_ttl=read.integer("MEMCHUNK_DEFAULT_TTL", 0, least=0, most=LONGEST_TTL_SECONDS)
            or None,
            token=read.text("MEMCHUNK_TOKEN"),
            buffer_bytes=MIB
            * read.integer(
                "MEMCHUNK_BUFFER_MEMORY",
                default.buffer_bytes // MIB,
                least=LEAST_BUFFER_MIB,
                most=MIB,
            ),
            workers=read.integer("MEMCHUNK_WORKERS", default.workers, least=1, most=256),
            threads=read.integer("MEMCHUNK_THREADS", default.threads, least=1, most=1024),
            body_timeout=read.integer(
                "MEMCHUNK_BODY_TIMEOUT",
                default.body_timeout,
                least=1,
                most=LONGEST_BODY_TIMEOUT_SECONDS,
            ),
            grace=read.integer("MEMCHUNK_GRACE", default.grace, least=1, most=3600),
            access_log=read.switch("MEMCHUNK_ACCESS_LOG", default=default.access_log),
        )


class _Reader:
    """Typed look-ups in an environment, whose errors name the variable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, variable: str) -> str | None:
        value = self._environ.get(variable, "")
        # A stray newline from a file of secrets would make a token that no
        # client can send; better said now than found out by a 401.
        if any(character < " " or character == "\x7f" for character in value):
            raise SettingsError(f"{variable} must not contain control characters")
        # Bytes of the environment that are not UTF-8 come as halves of surrogate pairs.
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise SettingsError(f"{variable} must be UTF-8")
        return value.strip() or None

    def integer(self, variable: str, default: int, *, least: int, most: int) -> int:
        value = self.text(variable)
        if value is None:
            return default
        # The length is checked first: int() refuses thousands of digits with a riddle.
        if value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most:
            return int(value)
        raise SettingsError(
            f"{variable} must be a whole number from {least} to {most}, not {value[:40]!r}"
        )

    def switch(self, variable: str, *, default: bool) -> bool:
        match self.text(variable):
            case None:
                return default
            case "on" | "off" as value:
                return value == "on"
            case other:
                raise SettingsError(f"{variable} must be on or off, not {other[:40]!r}")

    def layout(self, variable: str) -> LayoutName:
        match self.text(variable):
            case None | "steady":
                return "steady"
            case "compact":
                return "compact"
            case other:
                raise SettingsError(f"{variable} must be steady or compact, not {other[:40]!r}")

    def addresses(self, variable: str) -> tuple[str, ...]:
        parts = (part.strip() for part in (self.text(variable) or "").split(","))
        return tuple(part for part in parts if part)
