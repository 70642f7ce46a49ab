"""A connection that counts what passes over it, for an observer."""

from __future__ import annotations

from memchunk.breaker import Breaker
from memchunk.bulk import BulkClient
from memchunk.errors import UnavailableError
from memchunk.observer import Exchange
from memchunk.protocol import Buffer, Command
from memchunk.wire import Terms


class CountingClient(BulkClient):
    """A connection with commands under way, all of them counted."""

    def __init__(self, address: str, terms: Terms, breaker: Breaker) -> None:
        """See `BulkClient`."""
        super().__init__(address, terms, breaker)
        self._start_over()

    def _start_over(self) -> None:
        self._commands: dict[str, int] = {}
        self._bytes_sent = self._bytes_received = 0

    def _write(self, command: Command) -> None:
        super()._write(command)
        self._commands[command.verb] = self._commands.get(command.verb, 0) + 1

    def _flush(self, *more: Buffer) -> None:
        self._bytes_sent += len(self._outgoing) + sum(map(len, more))
        super()._flush(*more)

    def _receive(self, target: memoryview, *, whole: bool = False) -> int:
        count = super()._receive(target, whole=whole)
        self._bytes_received += count
        return count

    def exchange(self, error: UnavailableError | None) -> Exchange:
        """What has passed since this was last asked; `error` is what ended it."""
        done = Exchange(self.address, self._commands, self._bytes_sent, self._bytes_received, error)
        self._start_over()
        return done
