"""A stream becomes chunks and a manifest.

Chunks go out under a generation of their own, where nobody looks for them; the
manifest is the commit. Until then nothing has changed for anyone, and a write that
fails takes its chunks along.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from memchunk import protocol
from memchunk.amend import Amender
from memchunk.backend import Backend
from memchunk.bulk import CHUNKS_IN_FLIGHT, BulkClient
from memchunk.catalog import Catalog
from memchunk.checksum import crc32
from memchunk.deadline import unhurried
from memchunk.digest import Checksums, ChecksumsInOne, Sha256
from memchunk.draft import Draft, Order
from memchunk.errors import (
    ChangedError,
    DigestMismatchError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)
from memchunk.expiry import DRAFT_SECONDS, chunk_exptime
from memchunk.index import Entry, Index, already_exists, changed, stands
from memchunk.layout import MAX_CHUNK_BYTES, Rule
from memchunk.manifest import FileInfo, Manifest
from memchunk.protocol import Command, Reply
from memchunk.reader import Reader
from memchunk.sources import Blocks, Memory

WRITE_BUFFER_BYTES = CHUNKS_IN_FLIGHT * MAX_CHUNK_BYTES  # the most a put holds of a stream
MAX_COMMITS = 100
ZEROS = memoryview(bytes(MAX_CHUNK_BYTES))


class Writer:
    """Writes the files of an index."""

    def __init__(
        self,
        backend: Backend,
        index: Index,
        reader: Reader,
        amender: Amender,
        catalog: Catalog,
        *,
        compact: bool,
    ) -> None:
        self._backend = backend
        self._index = index
        self._reader = reader
        self._amender = amender
        self._catalog = catalog
        self._compact = compact

    def _draft(self, name: str) -> Draft:
        """A draft of a new generation, cut to fit the server that will hold it."""
        generation = self._backend.new_generation(name)
        chunk_size = self._backend.server_of_chunks(generation).chunk_bytes
        return Draft(Rule(chunk_size, self._compact), generation)

    def write(self, order: Order, blocks: Blocks) -> FileInfo:
        """Store a file as ordered. Raises what `Store.put` names, and what the source raises."""
        self._amender.catch_up()
        draft = self._draft(order.name)
        try:
            seen = self._send(order, blocks, draft)
            if order.sha256 is not None and order.sha256 != draft.sha256:
                raise DigestMismatchError(
                    f"the bytes for {order.name!r} do not have the sha256 that was announced; "
                    "send them again",
                    name=order.name,
                )
            manifest = draft.manifest(order, time.time())
            commit = self._commit(order, manifest, seen)
        except _OutcomeUnknownError as unknown:  # where it was not put, its chunks expire as drafts
            self._amender.doubt(unknown.manifest, unknown.over)
            raise unknown.error from unknown.error.__cause__
        except BaseException:
            self._backend.free(draft.generation, draft.count)
            raise
        self._follow_up(manifest, commit)
        info = manifest.info(replaced=commit.over is not None)
        # unasked, only a damaged file is replaced
        healed = info.replaced and not order.replace and order.if_match is None
        self._backend.observer.wrote(info, healed=healed)
        return info

    def _send(self, order: Order, blocks: Blocks, draft: Draft) -> Entry | None:
        """Check the order against what stands under the name, and store the chunks."""
        if isinstance(blocks, Memory) and len(blocks.view) <= draft.rule.chunk_size:
            return self._send_one(order, blocks.view, draft)
        seen = self._look(order)
        server = self._backend.server_of_chunks(draft.generation)
        with Sha256(away_from=server.processor) as sha256:
            if isinstance(blocks, Memory):
                chunks = list(blocks.blocks(draft.rule.chunk_size))
                checksums: Checksums = ChecksumsInOne(sha256, blocks.view, chunks)
            else:
                checksums = Checksums(sha256)
            self._stream(order, blocks, draft, checksums)
            # the last of them are still being hashed
            if draft.count > 1 and self._backend.missing_chunks(draft.generation, draft.count):
                raise self._crowded_out(order.name)
            draft.sha256, draft.crc32s = checksums.finish()
        return seen

    def _send_one(self, order: Order, content: memoryview, draft: Draft) -> Entry | None:
        """The only chunk, or none, in the same round trip as the question what stands there."""
        with Sha256() as sha256:
            sha256.update(content)
            chunks = [content] if content else []
            draft.crc32s = [crc32(chunk) for chunk in chunks]
            commands = [self._chunk(draft, chunk) for chunk in chunks]
            found, replies = self._index.look(order.name, beside=commands)
            draft.sha256 = sha256.hexdigest()
        seen = self._amender.at_rest(order.name, found)
        self._check(order, seen)
        for command, reply in zip(commands, replies, strict=True):
            self._check_stored(command, reply)
        if order.progress is not None:
            order.progress(draft.size, len(content))
        return seen

    def _stream(self, order: Order, blocks: Blocks, draft: Draft, checksums: Checksums) -> None:
        """Store the chunks as the blocks come, a few of them under way at a time."""
        with self._backend.server_of_chunks(draft.generation).connection() as connection:
            under_way: deque[Command] = deque()
            try:
                for block in unhurried(blocks.blocks(draft.rule.chunk_size)):
                    checksums.add(block)
                    command = self._chunk(draft, block)
                    connection.send(command)
                    under_way.append(command)
                    self._collect(connection, under_way, keep=CHUNKS_IN_FLIGHT - 1)
                    checksums.wait(under_way=CHUNKS_IN_FLIGHT - 1)
                    if order.progress is not None:
                        order.progress(draft.size, blocks.size)
                self._collect(connection, under_way, keep=0)
            except BaseException:
                connection.drain()  # or memcached would store them after they were freed
                raise

    def _chunk(self, draft: Draft, block: memoryview) -> Command:
        """The command that stores `block` as the draft's next chunk."""
        draft.size += len(block)
        draft.count += 1
        # a block that does not fill a chunk is the last
        is_last = len(block) < draft.rule.chunk_size
        padding = draft.rule.lay_out(draft.size).padding if is_last else 0
        [key] = self._backend.chunk_keys(draft.generation, [draft.count - 1])
        return protocol.store(
            "set", key, DRAFT_SECONDS, block, *([ZEROS[:padding]] if padding else [])
        )

    def _collect(self, connection: BulkClient, under_way: deque[Command], keep: int) -> None:
        """Read the replies to all but the youngest `keep` commands."""
        while len(under_way) > keep:
            command = under_way.popleft()
            reply = connection.receive()
            if reply.word == "REFUSED":  # nothing new goes out while memcached makes room
                self._collect(connection, under_way, keep=0)
            self._check_stored(command, reply)

    def _check_stored(self, command: Command, reply: Reply) -> None:
        if self._backend.insist(command, reply).word != "STORED":
            server = self._backend.server_of(command.key)
            raise UnavailableError(
                f"{server.address} answered {reply.word} to a set; check what runs there",
                server=server.address,
            )

    def _look(self, order: Order) -> Entry | None:
        """What stands under the name, checked against the order."""
        found, _ = self._index.look(order.name)
        seen = self._amender.at_rest(order.name, found)
        self._check(order, seen)
        return seen

    def _check(self, order: Order, seen: Entry | None) -> None:
        """Raise where what stands under the name must not be written over."""
        if order.if_match is not None:
            if seen is None:
                raise NotFoundError(
                    f"there is no file {order.name!r} to replace; leave if_match out to create it",
                    name=order.name,
                )
            if seen.manifest is None or seen.manifest.sha256 not in order.if_match:
                raise changed(order.name)
        elif seen is not None and not order.replace and self._reader.is_worth_keeping(seen):
            raise already_exists(order.name)

    def _commit(self, order: Order, manifest: Manifest, seen: Entry | None) -> _Commit:
        """Put the manifest in place."""
        record = self._catalog.beside(manifest)
        touches = self._settling(manifest)
        for _ in range(MAX_COMMITS):
            try:
                done, replies = self._index.put(manifest, over=seen, beside=[*record, *touches])
            except StorageFullError:
                raise  # refused: nothing was put
            except UnavailableError as error:
                if not self._is_committed(manifest):
                    raise _OutcomeUnknownError(error, manifest, seen) from error
                return _Commit(seen, [], settled=False)
            except BaseException as error:  # interrupted: perhaps it was put
                raise _OutcomeUnknownError(error, manifest, seen) from error
            if done:
                settled = all(reply.word == "TOUCHED" for reply in replies[len(record) :])
                recorded = replies[: len(record)]
                return _Commit(seen, recorded, settled=settled and manifest.expires is None)
            seen = self._look(order)
        raise ChangedError(
            f"{order.name!r} was changed {MAX_COMMITS} times while being written, or the "
            "connection was lost as often; try again",
            name=order.name,
        )

    def _settling(self, manifest: Manifest) -> Sequence[Command]:
        keys = self._backend.chunk_keys(manifest.generation, range(manifest.layout.chunk_count))
        exptime = chunk_exptime(manifest.expires, time.time())
        return [protocol.touch(key, exptime) for key in keys]

    def _is_committed(self, manifest: Manifest) -> bool:
        """Whether the manifest is seen to stand although memcached did not say so."""
        try:
            seen, _ = self._index.look(manifest.name)
        except UnavailableError:
            return False
        return stands(seen, manifest)

    def _follow_up(self, manifest: Manifest, commit: _Commit) -> None:
        """See that a file that stands is listed and keeps its chunks; free the one before it."""
        before = None if commit.over is None else commit.over.manifest
        try:
            self._catalog.added(manifest, commit.recorded)
            intact = commit.settled or self._amender.settle(manifest)
        except BaseException:
            self._amender.doubt(manifest, before)
            raise
        if not intact:
            self._amender.put_back(manifest, before)
            self._backend.free(manifest.generation, manifest.layout.chunk_count)
            raise self._crowded_out(manifest.name)
        if before is not None:
            self._amender.release(before)

    def _crowded_out(self, name: str) -> StorageFullError:
        return StorageFullError(
            f"memcached evicted the beginning of {name!r} before its end was stored; "
            "give it more memory (-m)",
            name=name,
        )


class _Commit(NamedTuple):
    """A manifest was put in its place.

    Attributes:
        over: what stood there before, or None.
        recorded: the replies to its record in the journal.
        settled: whether its chunks are known to stay as long as it does.
    """

    over: Entry | None
    recorded: Sequence[Reply]
    settled: bool


class _OutcomeUnknownError(Exception):
    """The commit was sent and its answer not seen: the file may be there, now or in a moment."""

    def __init__(self, error: BaseException, manifest: Manifest, over: Entry | None) -> None:
        super().__init__(error)
        self.error = error
        self.manifest = manifest
        self.over = None if over is None else over.manifest
