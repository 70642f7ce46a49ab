"""A stream becomes chunks, and a file with its commit.

Chunks go out under a generation of their own, where nobody looks for them, until the
commit (`memchunk.committing`). Until then nothing has changed for anyone, and a write that
fails takes its chunks along.
"""

from __future__ import annotations

from collections import deque

from memchunk import protocol
from memchunk.backend import Backend
from memchunk.bulk import CHUNKS_IN_FLIGHT, BulkClient
from memchunk.checksum import crc32
from memchunk.committing import Commit, Committer, crowded_out
from memchunk.digest import Checksums, ChecksumsInOne, Sha256
from memchunk.draft import Draft, Order
from memchunk.expiry import DRAFT_SECONDS
from memchunk.known import SMALL_BYTES
from memchunk.layout import MAX_CHUNK_BYTES, Rule
from memchunk.manifest import FileInfo
from memchunk.names import chunk_key
from memchunk.protocol import Command
from memchunk.sources import Blocks, Memory

WRITE_BUFFER_BYTES = CHUNKS_IN_FLIGHT * MAX_CHUNK_BYTES  # the most a put holds of a stream
ZEROS = memoryview(bytes(MAX_CHUNK_BYTES))


class Writer:
    """Writes files."""

    def __init__(self, backend: Backend, committer: Committer, *, compact: bool) -> None:
        self._backend = backend
        self._committer = committer
        self._compact = compact

    def write(self, order: Order, blocks: Blocks) -> FileInfo:
        """Store a file as ordered. Raises what `Store.put` names, and what the source raises."""
        self._committer.catch_up()
        draft = self._draft(order.name)
        try:
            commit = self._put(order, blocks, draft)
            self._committer.follow_up(commit)
        except BaseException:
            self._committer.give_up(draft)
            raise
        info = commit.manifest.info(replaced=commit.over is not None)
        # unasked, only a damaged file is replaced
        healed = info.replaced and not order.replace and order.if_match is None
        self._backend.observer.wrote(info, healed=healed)
        return info

    def _draft(self, name: str) -> Draft:
        """A draft of a new generation, cut to fit the server that will hold it."""
        generation = self._backend.new_generation(name)
        chunk_size = self._backend.server_of_chunks(generation).chunk_bytes
        return Draft(Rule(chunk_size, self._compact), generation)

    def _put(self, order: Order, blocks: Blocks, draft: Draft) -> Commit:
        if isinstance(blocks, Memory) and len(blocks.view) <= draft.rule.chunk_size:
            return self._put_one(order, blocks.view, draft)
        seen, _ = self._committer.look(order)
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
                raise crowded_out(order.name)
            draft.sha256, draft.crc32s = checksums.finish()
        return self._committer.commit(order, draft, seen)

    def _put_one(self, order: Order, content: memoryview, draft: Draft) -> Commit:
        """The only chunk, or none: in one round trip with the question what stands there.

        That of a small file also has the commit, where the name is likely to be free.
        """
        chunks = [content] if content else []
        draft.crc32s = [crc32(chunk) for chunk in chunks]
        commands = [self._chunk(draft, chunk) for chunk in chunks]
        with Sha256() as sha256:
            sha256.update(content)
            may_create = len(content) <= SMALL_BYTES and order.progress is None
            if may_create and self._committer.is_likely_new(order, draft):
                draft.sha256 = sha256.hexdigest()
                commit, seen, replies = self._committer.create(order, draft, commands)
                if commit is not None:
                    return commit
            else:
                seen, replies = self._committer.look(order, beside=commands)
            for command, reply in zip(commands, replies, strict=True):
                self._backend.insist_on_storing(command, reply)
            if order.progress is not None:
                order.progress(draft.size, len(content))
            draft.sha256 = sha256.hexdigest()
        return self._committer.commit(order, draft, seen)

    def _stream(self, order: Order, blocks: Blocks, draft: Draft, checksums: Checksums) -> None:
        """Store the chunks as the blocks come, a few of them under way at a time."""
        with self._backend.server_of_chunks(draft.generation).connection() as connection:
            under_way: deque[Command] = deque()
            try:
                for block in blocks.blocks(draft.rule.chunk_size):
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
        key = chunk_key(self._backend.namespace, draft.generation, draft.count - 1)
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
            self._backend.insist_on_storing(command, reply)
