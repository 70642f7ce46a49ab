"""A client of the ASCII-image protocol, and as a program a test of any server that speaks it.

`python -m benchmarks.ascii_images --files 300 --chunk-size 256` sends files of random ASCII
art, their chunks shuffled among all files and over many connections, downloads each image
twice, compares hashes, and prints SUCCESS!
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

SHADES = " .:-=+*#%@"
TIMEOUT_SECONDS = 120
MOST_TRIES = 100
RETRY_SECONDS = 0.2


class ProtocolError(Exception):
    """The server did not do what the protocol says."""


@dataclass(frozen=True)
class Art:
    """A picture in ASCII, and how it is to be cut."""

    data: bytes
    chunk_size: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def chunk_count(self) -> int:
        return -(-len(self.data) // self.chunk_size)

    def registration(self) -> dict[str, object]:
        return {"sha256": self.sha256, "size": len(self.data), "chunk_size": self.chunk_size}

    def chunk(self, index: int) -> dict[str, object]:
        data = self.data[index * self.chunk_size :][: self.chunk_size]
        return {"id": index, "size": len(data), "data": data.decode("ascii")}


def draw(chance: random.Random, size: int, width: int = 80) -> bytes:
    """`size` bytes of a picture: lines of shades."""
    lines = -(-size // (width + 1))
    picture = "\n".join("".join(chance.choices(SHADES, k=width)) for _ in range(lines))
    return (picture + "\n").encode()[:size]


class Connection:
    """One connection to the server, opened anew where it was closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._http = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_SECONDS
        )

    def post(self, path: str, document: dict[str, object]) -> int:
        """The status of the answer. A server that is busy (503) is asked again."""
        body = json.dumps(document).encode()
        for _ in range(MOST_TRIES):
            status, _ = self._ask("POST", path, body, {"Content-Type": "application/json"})
            if status != http.client.SERVICE_UNAVAILABLE:
                return status
            time.sleep(RETRY_SECONDS)
        raise ProtocolError(f"POST {path}: still 503 after {MOST_TRIES} tries")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of the answer."""
        return self._ask("GET", path)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        self._http.request(method, path, body, headers or {})
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._http.close()


def expect(what: str, status: int, expected: int) -> None:
    if status != expected:
        raise ProtocolError(f"{what}: {status}, not {expected}")


def deal(items: Iterable[tuple[Art, int]], hands: int) -> list[Iterator[tuple[Art, int]]]:
    """The items dealt like cards, so that chunks of one file go over many connections."""
    cards = list(items)
    return [islice(cards, hand, None, hands) for hand in range(hands)]


def play(url: str, arts: list[Art], *, connections: int, chance: random.Random) -> None:
    """Send and get back all of them. Raises `ProtocolError`."""

    def register(share: list[Art]) -> None:
        connection = Connection(url)
        for art in share:
            expect("register", connection.post("/image", art.registration()), 201)
        connection.close()

    def send(share: Iterator[tuple[Art, int]]) -> None:
        connection = Connection(url)
        for art, index in share:
            status = connection.post(f"/image/{art.sha256}/chunks", art.chunk(index))
            expect(f"chunk {index} of {art.sha256}", status, 201)
        connection.close()

    def fetch(share: list[Art]) -> None:
        connection = Connection(url)
        for art in share:
            for _ in range(2):
                status, data = connection.get(f"/image/{art.sha256}")
                expect(f"get {art.sha256}", status, 200)
                if hashlib.sha256(data).hexdigest() != art.sha256:
                    raise ProtocolError(f"{art.sha256} came back as something else")
        connection.close()

    shares = [arts[hand::connections] for hand in range(connections)]
    chunks = [(art, index) for art in arts for index in range(art.chunk_count)]
    chance.shuffle(chunks)
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(register, shares))
        list(pool.map(send, deal(chunks, connections)))
        list(pool.map(fetch, shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:4444")
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--most-bytes", type=int, default=20_000)
    parser.add_argument("--chunk-size", type=int, default=256)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    arts = [
        Art(draw(chance, chance.randint(1, given.most_bytes)), given.chunk_size)
        for _ in range(given.files)
    ]
    arts = list({art.sha256: art for art in arts}.values())  # tiny ones may be the same
    began = time.perf_counter()
    try:
        play(given.url, arts, connections=given.connections, chance=chance)
    except (ProtocolError, OSError) as error:
        sys.exit(f"FAILED: {error}")
    seconds = time.perf_counter() - began
    count = sum(art.chunk_count for art in arts)
    print(f"{len(arts)} images, {count} chunks, {seconds:.1f} s")
    print("SUCCESS!")


if __name__ == "__main__":
    main()
