"""A connection that counts what passes over it, for an observer."""

from __future__ import annotations

from collections import Counter

from memchunk.bulk import BulkClient
from memchunk.errors import UnavailableError
from memchunk.observer import Exchange
from memchunk.protocol import Command


class CountingClient(BulkClient):
    """A connection with commands under way, all of them counted."""

    def __init__(self, address: str, *, timeout: float, connect_timeout: float) -> None:
        """See `BulkClient`."""
        super().__init__(address, timeout=timeout, connect_timeout=connect_timeout)
        self._start_over()

    def _start_over(self) -> None:
        self._commands: Counter[str] = Counter()
        self._bytes_sent = self._bytes_received = 0

    def send(self, command: Command) -> None:
        """See `BulkClient`."""
        super().send(command)
        self._commands[command.verb] += 1
        self._bytes_sent += len(command.line)
        if command.payload is not None:
            self._bytes_sent += sum(map(len, command.payload)) + 2

    def settings(self) -> dict[bytes, object]:
        """See `BulkClient`; its bytes are not counted."""
        self._commands["stats"] += 1
        return super().settings()

    def _receive_some(self, target: memoryview, flags: int = 0) -> int:
        count = super()._receive_some(target, flags)
        self._bytes_received += count
        return count

    def exchange(self, error: UnavailableError | None) -> Exchange:
        """What has passed since this was last asked; `error` is what ended it."""
        done = Exchange(self.address, self._commands, self._bytes_sent, self._bytes_received, error)
        self._start_over()
        return done
