"""The server killed, stopped and reloaded under load: what it said is stored can be read."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.faults.contents import contents
from tests.http.serving import Server
from tests.servers import LocalMemcached

WRITERS = 8
ROUNDS = 5
SIZES = [10, 60_000, 70_000, 600_000]


class Writers:
    """Clients that put file after file, each under a name of its own. A context manager.

    Attributes:
        stored: the sha256 of each file that was answered with 2xx, by name.
        failed: how many requests were not answered.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.stored: dict[str, str] = {}
        self.failed = 0
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=[n]) for n in range(WRITERS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        at = random.Random(number)
        turn = 0
        while not self._over.is_set():
            turn += 1
            name = f"{number}/{turn}"
            content = contents(f"{number}-{turn}", at.choice(SIZES))
            try:
                with httpx.Client(base_url=self.url, verify=False, timeout=30) as http:
                    answer = http.put(f"/files/{name}", content=content)
            except httpx.TransportError:
                self.failed += 1
                time.sleep(0.02)
                continue
            if answer.is_success:
                self.stored[name] = hashlib.sha256(content).hexdigest()
            else:
                self.wrong.append(f"{answer.status_code} {answer.text}")


@pytest.mark.parametrize("blow", ["kill a worker", "reload", "stop and start"])
def test_what_was_answered_is_there(
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
    torture: int,
    blow: str,
) -> None:
    for seed in range(torture):
        strike(blow, serve, start_memcached("-m", "2048"), random.Random(seed))


def strike(
    blow: str, serve: Callable[..., Server], memcached: LocalMemcached, at: random.Random
) -> None:
    server = serve(SERVERS=memcached.address, WORKERS="2")
    with Writers(server.url) as writers:
        for _ in range(ROUNDS):
            time.sleep(at.uniform(0.1, 1.0))
            match blow:
                case "kill a worker":
                    os.kill(at.choice(server.workers()), signal.SIGKILL)
                case "reload":
                    server.signal(signal.SIGHUP)
                case "stop and start":
                    server.signal(signal.SIGTERM)
                    server.wait()
                    server = serve(SERVERS=memcached.address, WORKERS="2")
                    writers.url = server.url
    fresh = serve(SERVERS=memcached.address)
    with fresh.client() as http:
        for name, sha256 in writers.stored.items():
            answer = http.get(f"/files/{name}")
            assert answer.status_code == 200, (name, answer.text)
            assert hashlib.sha256(answer.content).hexdigest() == sha256
    print(f"{blow}: {len(writers.stored)} files read back, {writers.failed} without an answer")
    assert writers.wrong == []
    assert len(writers.stored) > WRITERS
    if blow == "reload":
        assert writers.failed == 0
