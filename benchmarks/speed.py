"""How fast 50 MiB move, beside sha256 alone and other clients: `python -m benchmarks.speed`.

Whatever verifies a transfer by sha256 takes at least as long as that; memchunk moves the
bytes in its shadow, and so does a bare socket (`benchmarks.bare`), which keeps no promise. The
peers cut the file into pieces of 1,000,000 bytes by hand, and hash it too. All over TCP on
loopback.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pymemcache.client.base import Client

import memchunk
from benchmarks.bare import Bare
from benchmarks.lab import apart, bars, save, take_turns
from memchunk.embedded import Memcached

COMMAND = "python -m benchmarks.speed"
SIZE = 50 * 1024 * 1024
PIECE = 1_000_000
ROUNDS = 21
ADDRESS, REDIS_PORT = "127.0.0.1:21911", 21912

Act = Callable[[], object]
Makers = dict[str, Callable[[], Act]]


def peer(
    name: str,
    content: bytes,
    connect: Callable[[], tuple[Callable[[str, bytes], object], Callable[[str], bytes]]],
) -> Makers:
    """A client that has only single values: what a program does with it by hand."""
    cut = [(f"p{i}", i, i + PIECE) for i in range(0, len(content), PIECE)]

    def writer() -> Act:
        put, _ = connect()

        def write() -> None:
            hashlib.sha256(content)
            for key, start, stop in cut:
                put(key, content[start:stop])

        return write

    def reader() -> Act:
        put, get = connect()
        for key, start, stop in cut:
            put(key, content[start:stop])
        digest = hashlib.sha256(content).digest()

        def read() -> None:
            found = b"".join([get(key) for key, _, _ in cut])
            assert hashlib.sha256(found).digest() == digest

        return read

    return {f"put: {name}": writer, f"get: {name}": reader}


def memchunk_makers(content: bytes, path: Path) -> Makers:
    def kept() -> memchunk.Store:
        store = memchunk.connect(ADDRESS)
        store.put("kept", content, replace=True)
        return store

    def reading_into() -> Act:
        store, buffer = kept(), bytearray(SIZE)
        return lambda: store.read_into("kept", buffer)

    def getting() -> Act:
        store = kept()
        return lambda: store.get("kept")

    def putting(source: bytes | Path) -> Act:
        store = memchunk.connect(ADDRESS)
        return lambda: store.put("f", source, replace=True)

    return {
        "put: memchunk put(bytes)": lambda: putting(content),
        "put: memchunk put(path)": lambda: putting(path),
        "get: memchunk read_into(buffer)": reading_into,
        "get: memchunk get()": getting,
    }


def bare_makers(content: bytes) -> Makers:
    def bare() -> Bare:
        host, port = ADDRESS.split(":")
        return Bare(host, int(port), SIZE)

    def putting() -> Act:
        socket = bare()
        return lambda: socket.put(content)

    def reading_into() -> Act:
        socket, buffer = bare(), bytearray(SIZE)
        assert socket.put(content) == socket.read_into(buffer)
        assert buffer == content
        return lambda: socket.read_into(buffer)

    return {"put: a bare socket": putting, "get: a bare socket": reading_into}


def redis_makers(content: bytes, stack: ExitStack) -> Makers:
    import redis

    server = subprocess.Popen(
        ["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    stack.callback(server.wait)
    stack.callback(server.terminate)
    client = redis.Redis(port=REDIS_PORT)
    for _ in range(100):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    client.close()

    def connect() -> Any:
        client = redis.Redis(port=REDIS_PORT)
        return client.set, client.get

    return peer("redis-py with hiredis", content, connect)


def contestants(content: bytes, path: Path, stack: ExitStack) -> Makers:
    def pymemcache() -> Any:
        host, port = ADDRESS.split(":")
        client = Client((host, int(port)), default_noreply=False, no_delay=True)
        return client.set, client.get

    makers: Makers = {"sha256 alone": lambda: lambda: hashlib.sha256(content)}
    makers |= memchunk_makers(content, path)
    makers |= bare_makers(content)
    makers |= peer("pymemcache set/get loop", content, pymemcache)
    try:
        import pylibmc

        def libmemcached() -> Any:
            client = pylibmc.Client([ADDRESS], behaviors={"tcp_nodelay": True})
            return client.set, client.get

        makers |= peer("pylibmc", content, libmemcached)
    except ImportError:
        print("missing: pylibmc (pip install pylibmc)", file=sys.stderr)
    if shutil.which("redis-server"):
        try:
            makers |= redis_makers(content, stack)
        except ImportError:
            print("missing: redis-py (pip install 'redis[hiredis]')", file=sys.stderr)
    else:
        print("missing: redis-server", file=sys.stderr)
    return makers


def measure() -> dict[str, float]:
    """Seconds of each contestant."""
    with ExitStack() as stack:
        stack.enter_context(Memcached(1024, address=ADDRESS))
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir=shared))
        path = Path(directory) / "content"
        content = os.urandom(SIZE)
        path.write_bytes(content)
        makers = contestants(content, path, stack)
        acts = {name: stack.enter_context(apart(make)) for name, make in makers.items()}
        return take_turns(acts, rounds=ROUNDS)


def main() -> None:
    """Measure, print a table, and write JSON and SVG."""
    if len(sys.argv) > 1:  # the one figure that needs another environment
        with Memcached(1024, address=ADDRESS):
            content = os.urandom(SIZE)
            makers = memchunk_makers(content, Path())
            only = {
                "sha256 alone": lambda: hashlib.sha256(content),
                "get()": makers["get: memchunk get()"](),
            }
            times = take_turns(only, rounds=ROUNDS)
            print(times["get()"] / times["sha256 alone"])
        return
    times = measure()
    tuned = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed", "tuned"],
        env={**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
        capture_output=True,
        text=True,
        check=True,
    )
    sha256 = times["sha256 alone"]
    times["get: memchunk get(), hugetlb=1"] = float(tuned.stdout) * sha256
    figures = {}
    print(f"{'50 MiB':44}{'ms':>8}{'÷ sha256':>10}{'ahead of pymemcache':>22}")
    for name, seconds in sorted(times.items()):
        rival = times.get(f"{name[:3]}: pymemcache set/get loop", seconds)
        figures[name] = {
            "ms": round(seconds * 1000, 1),
            "to_sha256": round(seconds / sha256, 2),
            "ahead_of_pymemcache": round(rival / seconds, 2),
        }
        ahead = f"{rival / seconds:.2f}" if ":" in name else ""
        print(f"{name:44}{seconds * 1000:8.1f}{seconds / sha256:10.2f}{ahead:>22}")
    save("speed", COMMAND, figures)
    groups = {
        heading: {
            name.removeprefix(prefix): seconds * 1000
            for name, seconds in times.items()
            if name.startswith(prefix) or ":" not in name
        }
        for heading, prefix in (("storing it", "put: "), ("reading it", "get: "))
    }
    bars("speed", "A file of 50 MiB, hashed with sha256", "ms, less is better", groups)


if __name__ == "__main__":
    main()
