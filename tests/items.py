"""What lies in memcached, seen and changed behind the library's back."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote

from pymemcache.client.base import Client

from memchunk import names
from tests.servers import connect


class Items:
    """The items of one namespace."""

    def __init__(self, address: str, namespace: str) -> None:
        self.address = address
        self.namespace = namespace
        self.client = Client(address, timeout=10, default_noreply=False)

    def close(self) -> None:
        self.client.close()

    def all(self) -> dict[str, int]:
        """Each item's key and when it expires, in seconds since 1970, or -1; not the journal."""
        return {key: exp for key, exp in self._everything().items() if not self._is_journal(key)}

    def bytes_of_all(self) -> int:
        """How much memory the items of all namespaces take."""
        return int(self.client.stats()[b"bytes"])

    def delete_all(self) -> None:
        """Leave nothing in this namespace."""
        self.client.delete_many(list(self._everything()), noreply=True)

    def journal(self) -> list[str]:
        """The keys of the journal's segments."""
        return sorted(key for key in self._everything() if self._is_journal(key))

    def _is_journal(self, key: str) -> bool:
        return key.startswith(f"{self.namespace}:j:")

    def _everything(self) -> dict[str, int]:
        found = {}
        for line in metadump(self.address):
            fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
            key = unquote(fields["key"])
            if key.startswith(self.namespace + ":"):
                found[key] = int(fields["exp"])
        return found

    def chunks(self) -> list[str]:
        """The keys of all chunks."""
        return sorted(key for key in self.all() if key.startswith(f"{self.namespace}:c"))

    def manifest_key(self, name: str) -> str:
        return names.manifest_key(self.namespace, name)

    def manifest(self, name: str) -> dict[str, Any]:
        """The manifest's record."""
        record: dict[str, Any] = json.loads(self.client.get(self.manifest_key(name)))
        return record

    def chunk_key(self, name: str, index: int) -> str:
        return names.chunk_key(self.namespace, self.manifest(name)["generation"], index)

    def chunk(self, name: str, index: int) -> bytes:
        value = self.client.get(self.chunk_key(name, index))
        assert isinstance(value, bytes)
        return value

    def lose(self, name: str, *indices: int) -> None:
        """Delete chunks, as an eviction would."""
        for index in indices:
            assert self.client.delete(self.chunk_key(name, index))

    def overwrite(self, name: str, index: int, value: bytes) -> None:
        """Put other bytes in the place of a chunk."""
        assert self.client.set(self.chunk_key(name, index), value)


def metadump(address: str) -> list[str]:
    """A line for each item."""
    # by the hash table: along the LRU, items that move meanwhile are passed over
    with connect(address) as connection, connection.makefile("rb") as replies:
        while True:
            connection.sendall(b"lru_crawler metadump hash\r\n")
            lines = []
            for line in replies:
                if line.startswith((b"END", b"BUSY")):
                    break
                lines.append(line.decode())
            if not line.startswith(b"BUSY"):
                return lines
            time.sleep(0.05)


def flipped(value: bytes, position: int) -> bytes:
    """`value` with one bit changed."""
    return value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
