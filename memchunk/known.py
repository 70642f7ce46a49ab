"""Small files as this process last saw them: what to ask for together with their manifest.

Nothing but the number of round trips depends on it. What a file is now, the manifest says
that memcached gives; only the very bytes that were decoded before are not decoded again.
Pure: no clock, no socket.
"""

from __future__ import annotations

from collections import OrderedDict

from memchunk.manifest import Manifest

MAX_KNOWN = 1024  # files
SMALL_BYTES = 64 * 1024  # up to here, copying a file is quicker than another round trip


def is_small(manifest: Manifest) -> bool:
    """Whether a file is one chunk of so few bytes that it may come unasked for."""
    layout = manifest.layout
    return 0 < layout.size <= min(SMALL_BYTES, layout.chunk_size) and not layout.padding


class KnownFiles:
    """The small files that were lately read or stored. Shared between threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[bytes, Manifest]] = OrderedDict()

    def recall(self, name: str) -> Manifest | None:
        """The manifest that a file had when it was last seen, or None."""
        known = self._known.get(name)
        return None if known is None else known[1]

    def recognize(self, name: str, record: bytes) -> Manifest | None:
        """The manifest of a file whose record is still the same, byte by byte, or None."""
        known = self._known.get(name)
        return None if known is None or known[0] != record else known[1]

    def remember(self, record: bytes, manifest: Manifest) -> None:
        """Keep in mind what a record says, and for that no longer what was longest in mind."""
        self._known[manifest.name] = record, manifest
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def forget(self, name: str) -> None:
        """Know nothing of a file any more."""
        self._known.pop(name, None)
