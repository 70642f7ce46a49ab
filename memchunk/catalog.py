"""The listing: which names there are, in memcached, which itself cannot tell.

Writers leave a record in the journal with each name that they add or take away
(`memchunk.journal`); to list is to replay it and to ask for the manifests. The journal
is a hint, the manifests are the truth: no verb fails for want of a record, and a
record that was lost costs the listing only, until the name is written again or
`reindex` finds it.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from memchunk import journal, protocol
from memchunk.backend import Backend
from memchunk.errors import MemchunkError, StorageFullError, UnavailableError
from memchunk.expiry import NEVER
from memchunk.index import MANIFESTS_AT_ONCE, Index, manifest_keys
from memchunk.journal import SEGMENTS, SHARDS, Replay, token_of
from memchunk.manifest import Manifest
from memchunk.names import journal_key, manifest_key
from memchunk.protocol import EXPIRE_AT_ONCE, MAX_VALUE_BYTES, Command, Reply

log = logging.getLogger("memchunk")

SHARDS_AT_ONCE = 16
MAX_LATE = 1024  # records
MAX_COMPACTED = 8  # shards, in the course of one listing


class Catalog:
    """The names of a namespace. Safe to share between threads and over fork."""

    def __init__(self, backend: Backend, index: Index) -> None:
        self._backend = backend
        self._index = index
        self._segments = [0] * SHARDS  # where there was room last
        self._late: deque[tuple[int, bytes]] = deque(maxlen=MAX_LATE)

    def beside(self, manifest: Manifest) -> list[Command]:
        """What records a manifest in the very round trip that puts it; see `added`.

        Nothing where the record goes to another server: that one may be away.
        """
        command = self._append(manifest.name, journal.added(manifest.name, token_of(manifest)))
        own = manifest_key(self._backend.namespace, manifest.name)
        same = self._backend.server_of(command.key) is self._backend.server_of(own)
        return [command] if same else []

    def added(self, manifest: Manifest, replies: Sequence[Reply] = ()) -> None:
        """See that a manifest that was just put is recorded, after the `replies` to `beside`.

        Where memcached does not take the record, this is made up for later.
        """
        if not (replies and replies[0].word == "STORED"):
            record = journal.added(manifest.name, token_of(manifest))
            self._late.append((journal.shard_of(manifest.name), record))
        self.look_after(manifest)

    def look_after(self, manifest: Manifest) -> None:
        """See that there is room where a manifest is recorded, and write what is late.

        Also for one that was not put: its record stays until somebody looks.
        """
        try:
            if journal.is_time_to_look(token_of(manifest)):
                self._make_room(journal.shard_of(manifest.name))
            self._write_what_is_late()
        except MemchunkError as error:
            log.warning("%d names will be listed later: %s", len(self._late), error)

    def removed(self, manifest: Manifest) -> None:
        """Record that a manifest was taken away, which spares others to look for it."""
        record = journal.removed(manifest.name, token_of(manifest))
        try:
            self._backend.exchange([self._append(manifest.name, record)])
        except UnavailableError as error:
            log.info("%r stays in the journal: %s", manifest.name, error)

    def manifests(
        self, prefix: str = "", after: str | None = None, limit: int | None = None
    ) -> Iterator[Manifest]:
        """The manifests of all names that begin with `prefix` and come after `after`, in order.

        At most `limit` of them. A damaged manifest is left out. Raises `UnavailableError`.
        """
        replays = self._replay()
        recorded = [replay.names() for replay in replays]
        # by code points, which is the order of UTF-8's bytes, too
        names = sorted(
            name
            for each in recorded
            for name in each
            if name.startswith(prefix) and (after is None or name > after)
        )
        gone: Counter[int] = Counter()
        start = 0
        while start < len(names) and limit != 0:
            batch = names[start : start + min(MANIFESTS_AT_ONCE, limit or MANIFESTS_AT_ONCE)]
            found = self._index.find_all(batch)
            yield from found
            gone.update(journal.shard_of(name) for name in {*batch} - {m.name for m in found})
            start += len(batch)
            if limit is not None:
                limit -= len(found)
        self._tidy(
            shard
            for shard, each in enumerate(recorded)
            if journal.is_worth_compacting(replays[shard].records, len(each) - gone[shard])
        )

    def reindex(self) -> int:
        """Record the names that have a manifest and no record; how many they were.

        Raises `UnavailableError`, also where a server does not tell which items it holds,
        and `StorageFullError`.
        """
        known = {name for replay in self._replay() for name in replay.names()}
        found = 0
        for _, keys in manifest_keys(self._backend):
            records: dict[int, list[bytes]] = {}
            for manifest in self._index.load(keys):
                if manifest.name not in known:
                    record = journal.added(manifest.name, token_of(manifest))
                    records.setdefault(journal.shard_of(manifest.name), []).append(record)
                    found += 1
            for shard, lines in records.items():
                self._write(shard, b"".join(lines))
        return found

    def _append(self, name: str, record: bytes) -> Command:
        shard = journal.shard_of(name)
        key = journal_key(self._backend.namespace, shard, self._segments[shard])
        return protocol.store("append", key, NEVER, record)

    def _write_what_is_late(self) -> None:
        for _ in range(len(self._late)):
            try:
                late = self._late.popleft()
            except IndexError:  # another thread took the last
                return
            try:
                self._write(*late)
            except MemchunkError:
                self._late.appendleft(late)
                raise

    def _write(self, shard: int, records: bytes) -> None:
        """Append records to the first segment that has room for them.

        Raises `UnavailableError`, and `StorageFullError` where memcached has none.
        """
        for segment in range(self._segments[shard], SEGMENTS):
            key = journal_key(self._backend.namespace, shard, segment)
            # To an append, memcached gives one answer where the segment is full and where
            # there is none.
            for verb in ("add", "append"):
                [reply] = self._backend.exchange([protocol.store(verb, key, NEVER, records)])
                if reply.word == "STORED":
                    self._segments[shard] = segment
                    return
                if reply.word == "REFUSED":
                    raise StorageFullError(
                        f"memcached has no room for the journal ({reply.text}); "
                        "give it more memory (-m)"
                    )
        log.warning("the journal has no room for %d bytes; they are not listed", len(records))

    def _make_room(self, shard: int) -> None:
        """Look at the segment in use: is it time to compact it, or to go on to the next?"""
        segment = self._segments[shard]
        key = journal_key(self._backend.namespace, shard, segment)
        [reply] = self._backend.exchange([protocol.gets(key, MAX_VALUE_BYTES)])
        if reply.length < journal.ROLL_BYTES:
            return
        replay = Replay()
        replay.read(reply.value)
        if journal.is_worth_compacting(replay.records, len(replay.names())):
            self._compact(shard)
        elif segment + 1 < SEGMENTS:
            self._segments[shard] = segment + 1

    def _read(self, shards: Sequence[int]) -> list[list[tuple[str, Reply]]]:
        """The keys and the replies of all segments of these shards."""
        namespace = self._backend.namespace
        keys = [
            journal_key(namespace, shard, segment)
            for shard in shards
            for segment in range(SEGMENTS)
        ]
        replies = self._backend.exchange([protocol.gets(key, MAX_VALUE_BYTES) for key in keys])
        pairs = list(zip(keys, replies, strict=True))
        return [pairs[start : start + SEGMENTS] for start in range(0, len(pairs), SEGMENTS)]

    def _replay(self) -> list[Replay]:
        """What the journal says, by shard.

        From now on, records are added where there is room.
        """
        replays = []
        for start in range(0, SHARDS, SHARDS_AT_ONCE):
            shards = range(start, start + SHARDS_AT_ONCE)
            for shard, segments in zip(shards, self._read(shards), strict=True):
                replay = Replay()
                for _, reply in segments:
                    replay.read(reply.value)
                replays.append(replay)
                sizes = [reply.length for _, reply in segments]
                roomy = (i for i, size in enumerate(sizes) if size < journal.ROLL_BYTES)
                self._segments[shard] = next(roomy, SEGMENTS - 1)
        return replays

    def _tidy(self, wasteful: Iterable[int]) -> None:
        """Compact a few of the shards that hold much that is of no use."""
        for shard in islice(wasteful, MAX_COMPACTED):
            try:
                self._compact(shard)
            except MemchunkError as error:
                log.warning("shard %d of the journal is not compacted: %s", shard, error)

    def _compact(self, shard: int) -> None:
        """Leave only the names that have a manifest, each with the record of that.

        The manifests are looked up after the segments were read, and a name is recorded
        after its manifest was put: a name that comes meanwhile makes the `cas` fail.
        """
        [segments] = self._read([shard])
        replay = Replay()
        for _, reply in segments:
            replay.read(reply.value)
        found = self._index.find_all(sorted(replay.names()))
        standing = {manifest.name: token_of(manifest) for manifest in found}
        for key, reply in segments:
            shorter = journal.compacted(reply.value, standing)
            if len(shorter) < len(reply.value):
                exptime = NEVER if shorter else EXPIRE_AT_ONCE
                self._backend.exchange(
                    [protocol.store("cas", key, exptime, shorter, cas=reply.cas)]
                )
        self._segments[shard] = 0
