"""Which manifest stands under a name: look it up, put one there, take it away.

A manifest is only ever put by `add` or by `cas` against the one seen before, and
only taken away by `cas`, so no change that somebody else made is overwritten
unseen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from memchunk import manifest as codec, protocol
from memchunk.backend import Backend
from memchunk.errors import AlreadyExistsError, ChangedError, CorruptError, NotFoundError
from memchunk.expiry import exptime
from memchunk.known import KnownFiles, is_small
from memchunk.manifest import MAX_MANIFEST_BYTES, Manifest
from memchunk.names import manifest_key, manifest_prefix
from memchunk.protocol import Command, Reply
from memchunk.server import Server

MANIFESTS_AT_ONCE = 128


class Entry(NamedTuple):
    """What stands under a name at one moment.

    Attributes:
        cas: the unique number of that state of the item.
        manifest: the manifest, or None where it is damaged.
        damage: how it is damaged, or None.
    """

    cas: bytes
    manifest: Manifest | None
    damage: CorruptError | None


class Creation(NamedTuple):
    """What became of a manifest that was put where nothing was expected.

    Attributes:
        done: whether it was put.
        ahead: the replies to the commands ahead of it.
        beside: the replies to those beside it.
    """

    done: bool
    ahead: list[Reply]
    beside: list[Reply]


class Index:
    """The manifests of a namespace."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known = KnownFiles()

    def server_of(self, name: str) -> Server:
        """The server that holds the manifest of `name`."""
        return self._backend.server_of(manifest_key(self._backend.namespace, name))

    def look(self, name: str, beside: Sequence[Command] = ()) -> tuple[Entry | None, list[Reply]]:
        """What stands under `name`, or None; with the replies to the commands `beside` it.

        They go in the same round trip where they concern the same server.
        """
        key = manifest_key(self._backend.namespace, name)
        reply, *others = self._backend.exchange([protocol.gets(key, MAX_MANIFEST_BYTES), *beside])
        return self._entry(name, key, reply), others

    def find(self, name: str) -> Manifest:
        """The manifest of `name`. Raises `NotFoundError` and `CorruptError`."""
        manifest, _ = self.find_beside(name)
        return manifest

    def find_beside(
        self, name: str, beside: Sequence[Command] = ()
    ) -> tuple[Manifest, list[Reply]]:
        """The manifest of `name`, and the replies to the commands `beside` it: see `look`."""
        entry, replies = self.look(name, beside)
        if entry is None:
            raise not_found(name)
        return readable(entry), replies

    def recall(self, name: str) -> Manifest | None:
        """The manifest of a small file as it was last seen, on the server of its chunk; or None."""
        return self._known.recall(name)

    def find_all(self, names: Sequence[str]) -> list[Manifest]:
        """The manifests of those `names` that have one which is not damaged, in order."""
        return self.load([manifest_key(self._backend.namespace, name) for name in names])

    def load(self, keys: Sequence[str]) -> list[Manifest]:
        """The manifests under those `keys` that hold one which is not damaged, in order."""
        replies = self._backend.exchange([protocol.gets(key, MAX_MANIFEST_BYTES) for key in keys])
        found = []
        for key, reply in zip(keys, replies, strict=True):
            with suppress(CorruptError):
                manifest = codec.decode(reply.value, None)
                if key == manifest_key(self._backend.namespace, manifest.name):
                    found.append(manifest)
        return found

    def put(
        self, manifest: Manifest, over: Entry | None, beside: Sequence[Command] = ()
    ) -> tuple[bool, list[Reply]]:
        """Put a manifest under its name if what stands there is still `over`.

        Returns whether it was, and the replies to the commands `beside` it, which are
        carried out after it, and mostly also where it was not. Raises `StorageFullError`.
        """
        record, command = self._storing(manifest, over)
        reply, *others = self._backend.exchange([command, *beside])
        done = self._backend.insist(command, reply).word == "STORED"
        if done:
            self._remember(command.key, record, manifest)
        return done, others

    def create(
        self, manifest: Manifest, ahead: Sequence[Command], beside: Sequence[Command]
    ) -> Creation:
        """Put a manifest if nothing stands under its name, in one round trip with all it needs.

        The commands `ahead` of it and `beside` it must concern the same server; they are carried
        out before and after it, whether or not it was put.
        """
        record, add = self._storing(manifest, over=None)
        replies = self._backend.exchange([*ahead, add, *beside])
        done = replies.pop(len(ahead)).word == "STORED"
        if done:
            self._remember(add.key, record, manifest)
        return Creation(done, replies[: len(ahead)], replies[len(ahead) :])

    def remove(self, name: str, seen: Entry) -> bool:
        """Take the manifest of `name` away if it is still the one `seen`; whether it was."""
        self._known.forget(name)
        return self._backend.remove(manifest_key(self._backend.namespace, name), seen.cas)

    def _storing(self, manifest: Manifest, over: Entry | None) -> tuple[bytes, Command]:
        """The record of a manifest, and what stores it over `over`, or where there is nothing."""
        record = codec.encode(manifest)
        command = protocol.store(
            "add" if over is None else "cas",
            manifest_key(self._backend.namespace, manifest.name),
            exptime(manifest.expires, time.time()),
            record,
            cas=b"" if over is None else over.cas,
        )
        return record, command

    def _entry(self, name: str, key: str, reply: Reply) -> Entry | None:
        if reply.word == "END":
            self._known.forget(name)
            return None
        manifest = self._known.recognize(name, reply.value)
        if manifest is None:
            try:
                manifest = codec.decode(reply.value, name)
            except CorruptError as damage:
                return Entry(reply.cas, None, damage)
            self._remember(key, reply.value, manifest)
        return Entry(reply.cas, manifest, None)

    def _remember(self, key: str, record: bytes, manifest: Manifest) -> None:
        """Keep in mind a manifest whose chunk can be asked for in the same round trip."""
        if is_small(manifest) and self._backend.are_together(key, manifest.generation):
            self._known.remember(record, manifest)
        else:
            self._known.forget(manifest.name)


def manifest_keys(backend: Backend) -> Iterator[tuple[Server, list[str]]]:
    """The keys of all manifests: a server, and some of those that it holds, one after another.

    It may hold some that belong on another one. Raises `UnavailableError`, also where a
    server does not tell which items it holds.
    """
    for server in backend.servers.values():
        keys = [key for key, _ in server.items(manifest_prefix(backend.namespace))]
        for start in range(0, len(keys), MANIFESTS_AT_ONCE):
            yield server, keys[start : start + MANIFESTS_AT_ONCE]


def readable(entry: Entry) -> Manifest:
    """The manifest of an entry. Raises `CorruptError` where it is damaged."""
    if entry.manifest is None:
        assert entry.damage is not None
        raise entry.damage
    return entry.manifest


def stands(seen: Entry | None, manifest: Manifest) -> bool:
    """Whether what was seen is the same write as `manifest`."""
    return (
        seen is not None
        and seen.manifest is not None
        and seen.manifest.generation == manifest.generation
    )


def not_found(name: str) -> NotFoundError:
    """The error for a name that has no file."""
    return NotFoundError(
        f"there is no file {name!r}; it was never stored, or it was deleted or has expired",
        name=name,
    )


def already_exists(name: str) -> AlreadyExistsError:
    """The error for a name that has an intact file."""
    return AlreadyExistsError(
        f"there is a file {name!r} already; choose another name, or replace it (replace=True)",
        name=name,
    )


def changed(name: str) -> ChangedError:
    """The error for a name that holds another file than the one expected."""
    return ChangedError(
        f"{name!r} is not the file that was expected; look at it again, then decide", name=name
    )
