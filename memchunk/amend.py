"""Changes to a file that move no chunk: delete, and update with all that it covers."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from memchunk.backend import Backend
from memchunk.catalog import Catalog
from memchunk.errors import StorageFullError
from memchunk.expiry import CLOCK_SECONDS, KEEP, Keep, chunk_exptime, expiry
from memchunk.index import Entry, Index, already_exists, changed, not_found, readable, stands
from memchunk.manifest import FileInfo, Manifest
from memchunk.moves import MAX_ATTEMPTS, Moves, too_busy
from memchunk.owed import Owed
from memchunk.reader import Reader, evicted


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update asks for: the arguments of `Store.update` but the name."""

    new_name: str | None = None
    content_type: str | None = None
    ttl: int | float | Keep | None = KEEP
    replace: bool = False
    if_match: Collection[str] | None = None

    def apply(self, manifest: Manifest, now: float) -> Manifest:
        """The manifest with all these changes but the name's."""
        return manifest._replace(
            expires=manifest.expires if self.ttl is KEEP else expiry(self.ttl, now),
            content_type=self.content_type or manifest.content_type,
        )


class Amender:
    """Amends the manifests of an index."""

    def __init__(self, backend: Backend, index: Index, reader: Reader, catalog: Catalog) -> None:
        self._backend = backend
        self._index = index
        self._reader = reader
        self._catalog = catalog
        self._owed = Owed()
        self._moves = Moves(backend, index)

    def delete(self, name: str, if_match: Collection[str] | None) -> None:
        """Delete a file. Raises what `Store.delete` names."""
        for _ in range(MAX_ATTEMPTS):
            seen, _ = self._index.look(name)
            entry = self._moves.at_rest(name, seen)
            if entry is None:
                raise not_found(name)
            if if_match is not None and (
                entry.manifest is None or entry.manifest.sha256 not in if_match
            ):
                raise changed(name)
            if self._index.remove(name, entry):
                if entry.manifest is not None:
                    self.release(entry.manifest)
                    self._catalog.removed(entry.manifest)
                return
        raise too_busy(name)

    def update(self, name: str, changes: Changes) -> FileInfo:
        """Change what a file is called, said to be, or when it expires: see `Store.update`."""
        to = None if changes.new_name == name else changes.new_name
        for _ in range(MAX_ATTEMPTS):
            manifest, entry = self._see(name)
            if changes.if_match is not None and manifest.sha256 not in changes.if_match:
                raise changed(name)
            amended = changes.apply(manifest, time.time())
            if to is None and amended == manifest and changes.ttl is KEEP:
                return manifest.info()
            if not self._moves.leave_origin(manifest):
                self._index.remove(name, entry)  # the file is there, and the chunks are its own
                continue
            if changes.ttl is not KEEP and _outlives(amended.expires, manifest.expires):
                missing = self._touch_chunks(amended)
            else:
                # a rename may carry the file past a sweep
                missing = [] if to is None else self._touch_chunks(manifest)
            if missing:
                self._reader.successor(manifest, missing)  # raises, unless it was replaced
                continue
            if to is None:
                info = self._stay(amended, entry, changes)
            else:
                info = self._move(amended, entry, to, changes)
            if info is not None:
                return info
        raise too_busy(name)

    def settle(self, manifest: Manifest) -> bool:
        """Let the chunks expire after their manifest; False where it stands and some are gone.

        Somebody else may change the manifest's expiry meanwhile, and touch the chunks
        before or after: whoever comes last sees what the manifest says in the end.
        """
        for _ in range(MAX_ATTEMPTS):
            expires = math.inf if manifest.expires is None else manifest.expires
            if expires <= time.time():
                return True  # perhaps it was renamed, and has got another lifetime since
            missing = self._touch_chunks(manifest)
            seen, _ = self._index.look(manifest.name)
            if seen is None or seen.manifest is None or not stands(seen, manifest):
                # It was replaced or deleted, or has just expired, and its chunks go, too; or it
                # was renamed, and perhaps stays for good since: then they must not go before it.
                if time.time() < expires - CLOCK_SECONDS < math.inf:
                    self._touch_chunks(manifest._replace(expires=None))
                return True
            if missing:
                return False
            if seen.manifest.expires == manifest.expires:
                return True
            manifest = seen.manifest
        raise too_busy(manifest.name)

    def _touch_chunks(self, manifest: Manifest) -> list[int]:
        exptime = chunk_exptime(manifest.expires, time.time())
        return self._backend.touch_chunks(manifest.generation, manifest.layout.chunk_count, exptime)

    def _stay(self, manifest: Manifest, entry: Entry, changes: Changes) -> FileInfo | None:
        """Put a manifest over `entry`; None where others changed something meanwhile."""
        with self._seen_to_later(manifest):
            record = self._catalog.beside(manifest)
            done, replies = self._index.put(manifest, over=entry, beside=record)
            if not done:
                return None
            self._catalog.added(manifest, replies)
            self._settle(manifest, changes)
        return manifest.info()

    def _move(
        self, manifest: Manifest, entry: Entry, new: str, changes: Changes
    ) -> FileInfo | None:
        """Take `entry` away and put a manifest under another name; None as `_stay` does."""
        target = self._target(new, replace=changes.replace)
        # as it was but for the mark: a rename that comes to nothing changes nothing
        moving = readable(entry)._replace(
            move=secrets.token_hex(16),
            moved_from=None,
            moving_to=new,
            moving_since=int(time.time()),
        )
        marked, _ = self._index.put(moving, over=entry)
        if not marked:
            return None
        moved = manifest._replace(name=new, move=moving.move, moved_from=manifest.name)
        over = None if target is None else target.manifest
        # perhaps it was put: the mark stays, and whoever comes next looks
        with self._seen_to_later(moved, over):
            record = self._catalog.beside(moved)
            try:
                done, replies = self._index.put(moved, over=target, beside=record)
            except StorageFullError:
                self._moves.unmark(moving)
                raise
            if not done:
                self._moves.unmark(moving)
                return None
            self._catalog.added(moved, replies)
            if not self._moves.leave_origin(moved):
                self.put_back(moved, over)
                return None
            self._catalog.removed(manifest)
            if over is not None:
                self.release(over)
            self._settle(moved, changes)
        return moved.info(replaced=target is not None)

    def _settle(self, manifest: Manifest, changes: Changes) -> None:
        if changes.ttl is not KEEP and not self.settle(manifest):
            raise evicted(manifest, self._reader.missing(manifest))

    def at_rest(self, name: str, entry: Entry | None) -> Entry | None:
        """What stands under a name, once it is not on its way to another: see `Moves`."""
        return self._moves.at_rest(name, entry)

    def _target(self, new: str, *, replace: bool) -> Entry | None:
        seen, _ = self._index.look(new)
        target = self._moves.at_rest(new, seen)
        if target is None or replace:
            return target
        if self._reader.is_worth_keeping(target):
            raise already_exists(new)
        return target

    def release(self, manifest: Manifest) -> None:
        """Free the chunks of a manifest that has been taken away; later, if it cannot be now."""
        self._owed.do(self._index.server_of(manifest.name), partial(self._release, manifest))

    def _release(self, manifest: Manifest) -> None:
        if self._moves.leave_origin(manifest):
            self._backend.free(manifest.generation, manifest.layout.chunk_count)

    def put_back(self, manifest: Manifest, before: Manifest | None) -> None:
        """Put back what `manifest` replaced; where others replaced that one since, free it."""
        for _ in range(MAX_ATTEMPTS):
            seen, _ = self._index.look(manifest.name)
            if seen is None or seen.manifest is None or not _is(seen.manifest, manifest):
                break
            if before is None:
                if self._index.remove(manifest.name, seen):
                    return
            elif self._index.put(before, over=seen)[0]:
                self.settle(before)
                return
        else:
            raise too_busy(manifest.name)
        if before is not None:
            self.release(before)

    @contextmanager
    def _seen_to_later(self, manifest: Manifest, over: Manifest | None = None) -> Iterator[None]:
        """Where the block, which puts a manifest, is left by an exception, `doubt` it."""
        try:
            yield
        except BaseException:
            self.doubt(manifest, over)
            raise

    def take_back(self, manifest: Manifest, before: Manifest | None) -> None:
        """Put back what a write replaced whose chunks made way, and free what is left of them."""
        # in this order, for nobody would free them where the answer to putting back is lost
        self._backend.free(manifest.generation, manifest.layout.chunk_count)
        self.put_back(manifest, before)

    def doubt(
        self, manifest: Manifest, over: Manifest | None = None, *, written: bool = False
    ) -> None:
        """Look later whether a manifest was put, over another one, and do then what follows.

        Where its chunks were `written` for it, it does not stay without them.
        """
        resolve = partial(self._resolve, manifest, over, written=written)
        self._owed.do_later(self._index.server_of(manifest.name), resolve)

    def _resolve(self, manifest: Manifest, over: Manifest | None, *, written: bool) -> None:
        seen, _ = self._index.look(manifest.name)
        if seen is None or seen.manifest is None or not _is(seen.manifest, manifest):
            return
        self._catalog.added(seen.manifest)
        if not self._moves.leave_origin(seen.manifest):
            self.put_back(seen.manifest, over)
        elif not self.settle(seen.manifest) and written:
            self.take_back(seen.manifest, over)
        elif over is not None:
            self.release(over)

    def catch_up(self) -> None:
        """Do what could not be done when it was its time."""
        self._owed.catch_up()
        self._backend.free_what_is_left()

    def _see(self, name: str) -> tuple[Manifest, Entry]:
        seen, _ = self._index.look(name)
        entry = self._moves.at_rest(name, seen)
        if entry is None:
            raise not_found(name)
        return readable(entry), entry


def _is(seen: Manifest, manifest: Manifest) -> bool:
    """Whether it is the same write under the same name, by the same rename."""
    return (seen.generation, seen.move) == (manifest.generation, manifest.move)


def _outlives(expires: int | None, other: int | None) -> bool:
    return expires is None or (other is not None and expires > other)
