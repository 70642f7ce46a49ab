"""The journal: append-only records of names, from which the listing is replayed.

Each name has a shard by its hash, and a shard has a few segments, which are memcached
items that writers append to, without a lock. A record says that a name was added, or
that it was removed; a token ties a removal to the addition that it takes back, so that
it makes no difference in which order they arrive. Whatever a segment lacks, or holds
too much, the manifests put right: the journal only says where to look.
Pure: bytes in, names out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from memchunk.manifest import Manifest

SHARDS = 128
SEGMENTS = 8  # of each shard
ROLL_BYTES = 256 * 1024  # a segment that has so many is left for the next one
LOOK_EVERY = 256  # how many records are added, on average, before one looks at the size

# An item begins with a record, and each record with the end of the one before: of one
# that was torn, only its own name is lost.
_ADDED, _REMOVED = b"+", b"-"
_TOKEN_CHARS = 8


def shard_of(name: str) -> int:
    """The shard of a name, from 0."""
    return hashlib.sha256(name.encode()).digest()[0] % SHARDS


def token_of(manifest: Manifest) -> str:
    """What tells this stay of a file under its name from all others: 8 hex digits."""
    return (manifest.move or manifest.generation)[:_TOKEN_CHARS]


def added(name: str, token: str) -> bytes:
    """The record of a name that has a file."""
    return b"\n%b%b %b" % (_ADDED, token.encode(), name.encode())


def removed(name: str, token: str) -> bytes:
    """The record of a name that has the file of that token no more."""
    return b"\n%b%b %b" % (_REMOVED, token.encode(), name.encode())


def is_time_to_look(token: str) -> bool:
    """Whether the record of this token is one after which to look at the segment's size.

    Nobody counts the records of all writers; tokens are random, and one in 256 will do.
    """
    return int(token, 16) % LOOK_EVERY == 0


@dataclass(slots=True)
class Replay:
    """What the segments of a shard say, whatever the order they are read in.

    Attributes:
        records: how many records there were.
    """

    records: int = 0
    _added: set[bytes] = field(default_factory=set)
    _removed: set[bytes] = field(default_factory=set)

    def read(self, segment: bytes) -> None:
        """Take a segment in. What is no record is passed over."""
        lines = segment.split(b"\n")
        self.records += len(lines) - 1
        self._added.update(line[1:] for line in lines if line[:1] == _ADDED)
        self._removed.update(line[1:] for line in lines if line[:1] == _REMOVED)

    def names(self) -> set[str]:
        """The names that have a file, as far as the journal knows."""
        alive = {record[_TOKEN_CHARS + 1 :] for record in self._added - self._removed}
        return {name for each in alive if (name := _text(each)) is not None}


def compacted(segment: bytes, standing: Mapping[str, str]) -> bytes:
    """A segment with one record for each name that it adds and that has a file.

    Args:
        segment: what it is now.
        standing: the token of the file under each name, looked up after `segment` was
            read. A name keeps no other record: another segment may take that one back.
    """
    replay = Replay()
    replay.read(segment)
    return b"".join(
        added(name, standing[name]) for name in sorted(replay.names()) if name in standing
    )


def is_worth_compacting(records: int, names: int) -> bool:
    """Whether most of so many records are of no use to a shard that has so many files."""
    return records > 2 * names + 64


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:  # torn
        return None
