"""Every verb, in any order, with damage done behind the store's back, beside a model in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace as changed_copy

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

import memchunk
from memchunk import (
    AlreadyExistsError,
    ChangedError,
    CorruptError,
    EvictedError,
    FileInfo,
    NotFoundError,
)
from tests.faults.contents import contents
from tests.faults.sweep import orphans
from tests.items import Items, flipped
from tests.servers import LocalMemcached

CHUNK_BYTES = 15 * 1024
SMALL_SLOTS = ("-o", "slab_chunk_max=16384")
names = st.sampled_from(["a", "b", "c/d"])
sizes = st.sampled_from([0, 30, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES - 5, 9 * CHUNK_BYTES])
ttls = st.sampled_from([None, 1000, 100_000])
types = st.sampled_from(["text/plain", "image/png"])


@dataclass(frozen=True)
class File:
    """What the model knows of a file.

    Attributes:
        lost: the chunks that were taken away.
        is_altered: whether a chunk has other bytes than it had.
        is_damaged: whether the manifest has.
        is_listed: whether there is a record in the journal.
    """

    data: bytes
    info: FileInfo
    generation: str
    lost: frozenset[int] = field(default=frozenset())
    is_altered: bool = False
    is_damaged: bool = False
    is_listed: bool = True

    @property
    def is_whole(self) -> bool:
        return not (self.lost or self.is_altered or self.is_damaged)


class Model(RuleBasedStateMachine):
    """A store, and what it has to hold."""

    address: str

    def __init__(self) -> None:
        super().__init__()
        namespace = "m" + secrets.token_hex(6)
        self.store = memchunk.connect(self.address, namespace=namespace)
        self.items = Items(self.address, namespace)
        self.files: dict[str, File] = {}
        self.forgotten: set[str] = set()  # generations that nothing names any more
        self.turn = 0

    def teardown(self) -> None:
        left = set(orphans(self.items))
        self.store.close()
        self.items.close()
        assert left == self.forgotten

    # --- what the model expects ---

    def contents(self, size: int) -> bytes:
        self.turn += 1
        return contents(f"turn {self.turn}", size) if size else b""

    def written(self, name: str, data: bytes, info: FileInfo) -> None:
        before = self.files.get(name)
        assert info.replaced == (before is not None)
        self.gone(name)
        self.files[name] = File(data, info, self.items.manifest(name)["generation"])

    def gone(self, name: str) -> None:
        """A file was deleted or replaced: its chunks are gone, if anybody knew them."""
        before = self.files.pop(name, None)
        if before is not None and before.is_damaged and len(before.lost) < before.info.chunk_count:
            self.forgotten.add(before.generation)

    def expect(self, act: Callable[[], object], *errors: type[Exception] | None) -> bool:
        """Do it, and see the first of the `errors` that is not None; whether there was none."""
        expected = next(filter(None, errors), None)
        if expected is None:
            act()
            return True
        with pytest.raises(expected) as caught:
            act()
        assert caught.type is expected
        return False

    def read_error(self, name: str, *, bytes_matter: bool = True) -> type[Exception] | None:
        file = self.files.get(name)
        if file is None:
            return NotFoundError
        if file.is_damaged:
            return CorruptError
        if file.lost:
            return EvictedError
        return CorruptError if file.is_altered and bytes_matter else None

    def match_error(self, name: str, sha256: str | None) -> type[Exception] | None:
        file = self.files.get(name)
        if sha256 is None:
            return None
        if file is None:
            return NotFoundError
        return ChangedError if file.is_damaged or file.info.sha256 != sha256 else None

    def match(self, name: str, choice: int) -> str | None:
        """Nothing, the right sha256 or a wrong one."""
        file = self.files.get(name)
        return (None, file.info.sha256 if file else "0" * 64, "0" * 64)[choice]

    # --- verbs ---

    @rule(name=names, size=sizes, ttl=ttls, replace=st.booleans())
    def put(self, name: str, size: int, ttl: int | None, replace: bool) -> None:
        data = self.contents(size)
        file = self.files.get(name)
        taken = AlreadyExistsError if file and file.is_whole and not replace else None
        self.expect(
            lambda: self.written(name, data, self.store.put(name, data, replace=replace, ttl=ttl)),
            taken,
        )

    @rule(name=names, size=sizes, choice=st.integers(1, 2))
    def put_over(self, name: str, size: int, choice: int) -> None:
        data, sha256 = self.contents(size), self.match(name, choice)
        assert sha256 is not None
        self.expect(
            lambda: self.written(name, data, self.store.put(name, data, if_match=[sha256])),
            self.match_error(name, sha256),
        )

    @rule(name=names, size=sizes, replace=st.booleans(), seed=st.randoms(use_true_random=False))
    def upload(self, name: str, size: int, replace: bool, seed: object) -> None:
        data = self.contents(size)
        file = self.files.get(name)
        if file and file.is_whole and not replace:
            with pytest.raises(AlreadyExistsError):
                self.store.uploads.create(name, len(data), 7000)
            return
        upload = self.store.uploads.create(name, len(data), 7000, replace=replace)
        parts = list(range(upload.part_count))
        seed.shuffle(parts)  # type: ignore[attr-defined]
        for index in parts:
            self.store.uploads.put_part(upload.id, index, data[index * 7000 : (index + 1) * 7000])
        self.written(name, data, self.store.uploads.finish(upload.id))

    @rule(name=names)
    def get(self, name: str) -> None:
        def act() -> None:
            assert self.store.get(name) == self.files[name].data

        self.expect(act, self.read_error(name))

    @rule(name=names)
    def read_into(self, name: str) -> None:
        def act() -> None:
            buffer = bytearray(20 * CHUNK_BYTES)
            length = self.store.read_into(name, buffer)
            assert buffer[:length] == self.files[name].data

        self.expect(act, self.read_error(name))

    @rule(name=names, start=st.integers(0, 10 * CHUNK_BYTES), length=st.integers(1, CHUNK_BYTES))
    def read_from(self, name: str, start: int, length: int) -> None:
        def act() -> None:
            with self.store.open(name) as stream:
                stream.seek(start)
                assert stream.read(length) == self.files[name].data[start : start + length]

        if self.read_error(name) in (None, NotFoundError):  # else it depends on the chunks
            self.expect(act, self.read_error(name))

    @rule(name=names)
    def stat(self, name: str) -> None:
        def act() -> None:
            assert self.store.stat(name) == self.files[name].info

        error = self.read_error(name, bytes_matter=False)
        self.expect(act, error)
        assert (name in self.store) == (error is None)
        if error is EvictedError:
            with pytest.raises(EvictedError) as caught:
                self.store.stat(name)
            assert set(caught.value.missing) == self.files[name].lost

    @rule(name=names, choice=st.integers(0, 2))
    def delete(self, name: str, choice: int) -> None:
        sha256 = self.match(name, choice)
        absent = NotFoundError if name not in self.files else None
        done = self.expect(
            lambda: self.store.delete(name, if_match=None if sha256 is None else [sha256]),
            absent,
            self.match_error(name, sha256),
        )
        if done:
            self.gone(name)

    @rule(name=names, new=names, replace=st.booleans(), choice=st.integers(0, 2))
    def rename(self, name: str, new: str, replace: bool, choice: int) -> None:
        target = self.files.get(new)
        match = self.match(name, choice)
        taken = name != new and target and target.is_whole and not replace
        moves = name != new or None
        done = self.expect(
            lambda: self.store.update(
                name, new_name=new, replace=replace, if_match=None if match is None else [match]
            ),
            NotFoundError if name not in self.files else None,
            CorruptError if self.files.get(name) and self.files[name].is_damaged else None,
            self.match_error(name, match),
            moves and self.read_error(name, bytes_matter=False),
            AlreadyExistsError if taken else None,
        )
        if done and moves:
            self.gone(new)
            file = self.files.pop(name)
            info = changed_copy(file.info, name=new)
            self.files[new] = changed_copy(file, info=info, is_listed=True)

    @rule(name=names, ttl=ttls)
    def touch(self, name: str, ttl: int | None) -> None:
        if self.expect(
            lambda: self.store.touch(name, ttl=ttl), self.read_error(name, bytes_matter=False)
        ):
            assert (self.store.stat(name).expires_at is None) == (ttl is None)
        if name in self.files and not self.files[name].is_damaged:
            self.noticed(name)

    @rule(name=names, content_type=types)
    def retype(self, name: str, content_type: str) -> None:
        error = self.read_error(name, bytes_matter=False)
        done = self.expect(
            lambda: self.store.update(name, content_type=content_type),
            None if error is EvictedError else error,
        )
        if done and content_type != self.files[name].info.content_type:
            self.noticed(name)

    def noticed(self, name: str) -> None:
        """A manifest was put again: its record is, too, and the model takes over what it says."""
        file = self.files[name]
        [info] = [info for info in self.store.list(name) if info.name == name]
        assert (info.sha256, info.created_at) == (file.info.sha256, file.info.created_at)
        self.files[name] = changed_copy(file, info=info, is_listed=True)

    @rule(prefix=st.sampled_from(["", "a", "c/", "x"]), limit=st.sampled_from([None, 0, 1, 5]))
    def list(self, prefix: str, limit: int | None) -> None:
        expected = [
            self.files[name].info
            for name in sorted(self.files)
            if name.startswith(prefix)
            and self.files[name].is_listed
            and not self.files[name].is_damaged
        ]
        assert list(self.store.list(prefix, limit=limit)) == expected[:limit]

    @rule()
    def reindex(self) -> None:
        unlisted = {
            name for name, file in self.files.items() if not file.is_listed and not file.is_damaged
        }
        assert self.store.reindex() == len(unlisted)
        for name in unlisted:
            self.files[name] = changed_copy(self.files[name], is_listed=True)

    # --- damage ---

    def sound(self, name: str) -> File | None:
        file = self.files.get(name)
        return None if file is None or file.is_damaged else file

    @rule(name=names, number=st.integers(0, 8))
    def lose_a_chunk(self, name: str, number: int) -> None:
        file = self.sound(name)
        if file and number < file.info.chunk_count and number not in file.lost:
            self.items.lose(name, number)
            self.files[name] = changed_copy(file, lost=file.lost | {number})

    @rule(name=names, number=st.integers(0, 8))
    def alter_a_chunk(self, name: str, number: int) -> None:
        file = self.sound(name)
        if file and number < file.info.chunk_count and not file.lost and not file.is_altered:
            value = self.items.chunk(name, number)
            self.items.overwrite(name, number, flipped(value, len(value) // 2))
            self.files[name] = changed_copy(file, is_altered=True)

    @rule(name=names)
    def lose_a_manifest(self, name: str) -> None:
        file = self.files.pop(name, None)
        if file:
            assert self.items.client.delete(self.items.manifest_key(name))
            if len(file.lost) < file.info.chunk_count:
                self.forgotten.add(file.generation)

    @rule(name=names)
    def alter_a_manifest(self, name: str) -> None:
        file = self.sound(name)
        if file:
            key = self.items.manifest_key(name)
            value = self.items.client.get(key)
            self.items.client.set(key, flipped(value, value.index(b'"sha256":"') + 20))
            self.files[name] = changed_copy(file, is_damaged=True)

    @precondition(lambda self: self.files)
    @rule()
    def lose_the_journal(self) -> None:
        for key in self.items.journal():
            self.items.client.delete(key)
        for name, file in self.files.items():
            self.files[name] = changed_copy(file, is_listed=False)


@pytest.mark.timeout(4000)
def test_every_verb_as_the_model_says(
    start_memcached: Callable[..., LocalMemcached], torture: int
) -> None:
    address = start_memcached("-m", "256", *SMALL_SLOTS).address
    run_state_machine_as_test(
        type("Model", (Model,), {"address": address}),
        settings=settings(
            max_examples=30 * torture,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
