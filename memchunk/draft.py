"""What a put asks for, and what it has stored so far: the makings of a manifest.

Pure: the clock and the random bits are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memchunk.errors import DigestMismatchError
from memchunk.expiry import expiry
from memchunk.layout import Rule
from memchunk.manifest import Manifest

Progress = Callable[[int, int | None], object]


class Order(NamedTuple):
    """What a put asks for: the arguments of `Store.put` but the source."""

    name: str
    content_type: str
    replace: bool = False
    if_match: Collection[str] | None = None
    ttl: int | float | None = None
    sha256: str | None = None
    progress: Progress | None = None


@dataclass(slots=True)
class Draft:
    """The chunks of a write that has no manifest yet.

    Attributes:
        size: how many bytes they hold, without padding.
        count: how many chunks they are.
        crc32s: of each of them, once all are stored.
        sha256: of the whole file, in hex, then.
        offered: the manifest that may stand since, and what it then replaced; None as long as
            it is certain that none stands.
    """

    rule: Rule
    generation: str
    size: int = 0
    count: int = 0
    crc32s: Sequence[int] = ()
    sha256: str = ""
    offered: tuple[Manifest, Manifest | None] | None = None

    def manifest(self, order: Order, now: float) -> Manifest:
        """The manifest that makes these chunks the file that was ordered.

        Raises `DigestMismatchError` where they are not what was announced.
        """
        if order.sha256 is not None and order.sha256 != self.sha256:
            raise DigestMismatchError(
                f"the bytes for {order.name!r} do not have the sha256 that was announced; "
                "send them again",
                name=order.name,
            )
        return Manifest(
            name=order.name,
            sha256=self.sha256,
            layout=self.rule.lay_out(self.size),
            generation=self.generation,
            content_type=order.content_type,
            created_ms=int(now * 1000),
            expires=expiry(order.ttl, now),
            crc32s=tuple(self.crc32s),
        )
