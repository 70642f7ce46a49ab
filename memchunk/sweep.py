"""Chunks that no manifest names: they are found, and given an end.

Who is killed between taking a manifest away and freeing its chunks leaves them without
an end to their life. Nothing is deleted here: such chunks get the lifetime of a draft.

Chunks get more than that only once a manifest names them, so those that none names are
not needed. But a look at all manifests is no single moment: a rename may carry one past it,
and a write that is taken back puts an older one in its place again. So there are two looks
before anything is done, and two afterwards, and what one of these finds gets its lifetime
back. To miss both of the latter, a file must be renamed in each; the second rename begins
after the chunks were given an end, and every rename begins by giving them the lifetime
of the file. A write that is taken back ends so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from memchunk import manifest as codec, protocol
from memchunk.amend import Amender
from memchunk.backend import Backend
from memchunk.errors import CorruptError
from memchunk.expiry import DRAFT_SECONDS
from memchunk.index import manifest_keys
from memchunk.manifest import MAX_MANIFEST_BYTES, Manifest, UnknownVersionError
from memchunk.names import chunk_prefix, generation_of
from memchunk.server import Server

LOOKS = 2
CLOCK_SECONDS = 60  # that memcached's clock may be ahead of ours; by one it is now and then anyway


def sweep(backend: Backend, amender: Amender) -> int:
    """Let chunks that no manifest names expire within the hour; of how many writes they were.

    Raises `UnavailableError`, also where a server does not tell which items it holds, and
    `CorruptError` where a manifest has a version that is not known here.
    """
    left = _lasting(backend)
    for _ in range(LOOKS):
        _take_named(left, backend)
    for generation, count in left.items():
        backend.touch_chunks(generation, count, DRAFT_SECONDS)
    for _ in range(LOOKS):
        for manifest in _take_named(left, backend):
            amender.settle(manifest)
    return len(left)


def _take_named(generations: dict[str, int], backend: Backend) -> list[Manifest]:
    """Take those out of `generations` that a manifest names; the manifests."""
    if not generations:
        return []
    return [
        manifest
        for server, keys in manifest_keys(backend)
        for manifest in _load(server, keys)
        if generations.pop(manifest.generation, None) is not None
    ]


def _lasting(backend: Backend) -> dict[str, int]:
    """The generations with chunks that outlast a draft; how many there are at most of each."""
    latest = time.time() + DRAFT_SECONDS + CLOCK_SECONDS
    counts: dict[str, int] = {}
    for server in backend.servers.values():
        for key, expires in server.items(chunk_prefix(backend.namespace)):
            chunk = generation_of(key)  # somebody else may use the namespace, too
            if chunk is not None and expires > latest:
                generation, index = chunk
                counts[generation] = max(counts.get(generation, 0), index + 1)
    return counts


def _load(server: Server, keys: Sequence[str]) -> Iterator[Manifest]:
    for reply in server.exchange([protocol.gets(key, MAX_MANIFEST_BYTES) for key in keys]):
        try:
            yield codec.decode(reply.value, None)
        except UnknownVersionError:
            raise
        except CorruptError:  # or gone since
            continue
