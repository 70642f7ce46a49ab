"""memcached's commands and replies, as far as memchunk uses them (protocol.txt).

Only the classic text commands, with replies, and `mg` as a probe: proxies and hosted
memcached understand the rest.
Pure: what they look like, not how they travel.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview

# An exptime in the past: memcached stores the item, and it is gone. Over 30 days it is a
# time, here in 1970; twemproxy hangs up on a negative one.
EXPIRE_AT_ONCE = 30 * 24 * 3600 + 1
JOIN_BYTES = 16 * 1024  # up to here, copying a value beside its command is the quicker way
MAX_VALUE_BYTES = 1024**3  # memcached's largest item size (-I)

# memcached has read the value and thrown it away: the connection is still in step.
REFUSALS = (
    b"SERVER_ERROR out of memory",
    b"SERVER_ERROR Out of memory during read",  # of a value larger than one slot
    b"SERVER_ERROR object too large",
)


class Unique(bytes):
    """The unique number of one state of an item.

    A memcached that was started again gives the same numbers to other states. So it is
    good on connections only that were open before it was asked for.

    Attributes:
        asked_at: when that was, in seconds of a clock that only goes forward.
    """

    asked_at: float = math.inf


class Reply(NamedTuple):
    """What memcached answered.

    Attributes:
        word: `STORED`, `NOT_FOUND` and so on; `VALUE` or `END` to a get; `REFUSED`
            where memcached had no room for a value.
        length: the number of bytes of a value, whether or not it fitted.
        value: the value itself, where no buffers were given for it.
        cas: the unique number of the item (a `Unique`), to a `gets`.
        text: the whole line, of a refusal.
    """

    word: str
    length: int = 0
    value: bytes = b""
    cas: bytes = b""
    text: str = ""


def _words(*words: str) -> dict[bytes, Reply]:
    return {word.encode(): Reply(word) for word in words}


# The replies of one line to each kind of command.
STORES = _words("STORED", "NOT_STORED", "EXISTS", "NOT_FOUND")
TOUCHES = _words("TOUCHED", "NOT_FOUND")
DELETES = _words("DELETED", "NOT_FOUND")
PROBES = _words("HD", "EN", "ERROR")  # the last where it does not know `mg`
VALUES = _words("END")  # or a value, and then that


class Command(NamedTuple):
    """One command: its line, the value it sends, or where the value it asks for goes.

    Attributes:
        verb: its first word.
        key: the key that it is about.
        line: the command line, with its end; and a small value that follows it.
        words: the replies of one line that may answer it.
        payload: the parts of a larger value, none of a small one; None where none is sent.
        into: buffers to fill, one after the other, with the value that comes back.
        limit: without `into`, the most bytes that a value may have.
        asked_at: of a `cas`, when its unique number was asked for: see `Unique`.
    """

    verb: str
    key: str
    line: bytes
    words: dict[bytes, Reply]
    payload: tuple[Buffer, ...] | None = None
    into: tuple[memoryview, ...] = ()
    limit: int = 0
    asked_at: float = math.inf


def get(key: str, *into: memoryview, limit: int = 0) -> Command:
    """Fetch a value into buffers, or one of at most `limit` bytes.

    A value of another length than the buffers fills none of them.
    """
    return Command("get", key, f"get {key}\r\n".encode(), VALUES, None, into, limit)


def gets(key: str, limit: int) -> Command:
    """Fetch a value of at most `limit` bytes with its cas unique number."""
    return Command("gets", key, f"gets {key}\r\n".encode(), VALUES, None, (), limit)


def store(verb: str, key: str, exptime: int, *payload: Buffer, cas: bytes = b"") -> Command:
    """Store a value, made of the parts of `payload`, by `set`, `add` or `cas`."""
    length = sum(map(len, payload))
    unique, asked_at = "", math.inf
    if cas:
        unique = f" {cas.decode()}"
        asked_at = cas.asked_at if isinstance(cas, Unique) else math.inf
    line = f"{verb} {key} 0 {exptime} {length}{unique}\r\n".encode()
    if length <= JOIN_BYTES:
        line, payload = b"".join((line, *payload, b"\r\n")), ()
    return Command(verb, key, line, STORES, payload, (), 0, asked_at)


def touch(key: str, exptime: int) -> Command:
    """Set when an item expires."""
    return Command("touch", key, f"touch {key} {exptime}\r\n".encode(), TOUCHES)


def delete(key: str) -> Command:
    """Delete an item."""
    return Command("delete", key, f"delete {key}\r\n".encode(), DELETES)


def dump() -> Command:
    """Ask for a line about each item: its key, percent-encoded, and more (`lru_crawler`).

    By the hash table: along the LRU, items that move meanwhile are passed over.
    """
    return Command("lru_crawler", "", b"lru_crawler metadump hash\r\n", {})


def probe(key: str) -> Command:
    """Ask whether an item is there, without its value: `HD` or `EN`.

    With `u` the question does not count as a use: a chunk that was asked after and then
    stored for good would look used twice, and outlive younger ones (memcached's
    segmented LRU).
    """
    return Command("mg", key, f"mg {key} u\r\n".encode(), PROBES)


# Ask for the server's settings: lines of `STAT name value`, then `END`.
SETTINGS = Command("stats", "", b"stats settings\r\n", {})
