"""What a change still owes: work that nobody waits for, put off while a server is away."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from memchunk.errors import MemchunkError
from memchunk.server import Server

log = logging.getLogger("memchunk")

MAX_OWED = 1024

Act = Callable[[], None]


class Owed:
    """Acts that are still to be done, each on one server. May be done twice, or never."""

    def __init__(self) -> None:
        self._acts: deque[tuple[Server, Act]] = deque(maxlen=MAX_OWED)

    def do(self, server: Server, act: Act) -> None:
        """Do it now, or later where that cannot be."""
        try:
            act()
        except BaseException as error:
            self.do_later(server, act)
            if not isinstance(error, MemchunkError):
                raise
            log.warning("chunks will be freed later: %s", error)

    def do_later(self, server: Server, act: Act) -> None:
        """Keep it for `catch_up`."""
        self._acts.append((server, act))

    def catch_up(self) -> None:
        """Do what was kept. A server that is still away is not asked."""
        for _ in range(len(self._acts)):
            try:
                server, act = self._acts.popleft()
            except IndexError:  # another thread took the last
                return
            if server.is_away:
                self.do_later(server, act)
            else:
                self.do(server, act)
