"""Chunks of the ASCII-image protocol per second, beside a Falcon handler that stores nothing.

`python -m benchmarks.images` takes about three minutes. Both parse the same JSON under the
same gunicorn settings; wrk sends it over 16 connections, each chunk once. Then 100,000 more
chunks, and how the workers' memory goes; and strace, where it is there, counts system calls.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import falcon

from benchmarks import lab
from benchmarks.http import CONNECTIONS, free_port, serving
from memchunk_api.settings import Settings

COMMAND = "python -m benchmarks.images"
CHUNK_BYTES = 256
MOST_CHUNKS = 200_000  # of one image
ROUNDS = 5
SECONDS = 2
SOAK_CHUNKS = 100_000
SOAK_SECONDS = 15
STRACE_SECONDS = 3
ATTACH_SECONDS = 1

# A chunk is sent once: `first` is beyond those that were sent before.
WRK = """
local id = {first} - 1
local data = string.rep("#", {size})
local headers = {{["Content-Type"] = "application/json"}}
function request()
  id = id + 1
  local body = string.format('{{"id": %d, "size": {size}, "data": "%s"}}', id, data)
  return wrk.format("POST", "{path}", headers, body)
end
"""


class Parsing:
    """What a Falcon application costs that parses a chunk and stores nothing."""

    def on_post(self, req: falcon.Request, resp: falcon.Response, **_sha256: str) -> None:
        chunk = json.loads(req.bounded_stream.read())
        if len(chunk["data"].encode()) != chunk["size"]:
            raise falcon.HTTPBadRequest
        resp.status = falcon.HTTP_201
        resp.data = b'{"id": %d}' % chunk["id"]


def parsing() -> falcon.App[Any, Any]:
    app: falcon.App[Any, Any] = falcon.App()
    app.add_route("/image/{sha256}/chunks", Parsing())
    return app


def start_memchunk(stack: ExitStack, home: Path) -> tuple[str, int]:
    """Its address, and the process id of its master."""
    port = free_port()
    command = [sys.executable, "-m", "memchunk_api", "serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    stack.enter_context(serving([*command, "--image-port", "0"], f"{url}/readyz", home))
    return url, master(f"--port {port}")


def start_parsing(stack: ExitStack, home: Path) -> tuple[str, int]:
    port, settings = free_port(), Settings()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--keep-alive", "15", "--log-level", "warning"]
    command += ["--workers", str(settings.workers), "--threads", str(settings.threads)]
    url = f"http://127.0.0.1:{port}"
    stack.enter_context(serving([*command, "benchmarks.images:parsing()"], f"{url}/none", home))
    return url, master(f"127.0.0.1:{port}")


def master(argument: str) -> int:
    """The child of this process that was started with `argument`."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for pid in map(int, children):
        if argument in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
            return pid
    raise SystemExit(f"no server was started with {argument}")


def workers(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        child
        for child in map(int, children)
        if "python" in Path(f"/proc/{child}/exe").resolve().name
    ]


def cpu_seconds(pids: list[int]) -> float:
    """The processor time of the processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_kib(pids: list[int]) -> int:
    found = 0
    for pid in pids:
        match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        assert match is not None
        found += int(match[1])
    return found


def threads(pids: list[int]) -> int:
    return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)


class Image:
    """An image that is never complete: chunk after chunk goes into it."""

    def __init__(self, url: str, *, register: bool) -> None:
        self._url = url
        self._register = register
        self._next = MOST_CHUNKS
        self._path = ""

    def send(self, seconds: int, home: Path) -> tuple[int, float]:
        """Chunks sent in about `seconds`, and per second; all of them stored."""
        if self._next > MOST_CHUNKS // 2:
            self._begin()
        script = home / "chunk.lua"
        script.write_text(WRK.format(first=self._next, size=CHUNK_BYTES, path=self._path))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), self._url]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"not every chunk was taken:\n{said}")
        rate = re.search(r"Requests/sec: +([\d.]+)", said)
        count = re.search(r"(\d+) requests in", said)
        assert rate is not None, said
        assert count is not None, said
        self._next += int(count[1]) + 10 * CONNECTIONS
        return int(count[1]), float(rate[1])

    def _begin(self) -> None:
        sha256 = secrets.token_hex(32)
        self._path, self._next = f"/image/{sha256}/chunks", 0
        if self._register:
            plan = {"sha256": sha256, "size": MOST_CHUNKS * CHUNK_BYTES, "chunk_size": CHUNK_BYTES}
            request = urllib.request.Request(
                f"{self._url}/image",
                json.dumps(plan).encode(),
                {"Content-Type": "application/json"},
                method="POST",
            )
            urllib.request.urlopen(request).close()


def system_calls(image: Image, pids: list[int], home: Path) -> float:
    """System calls of the workers for each chunk."""
    summary = home / "strace"
    command = ["strace", "-c", "-f", "-q", "-o", str(summary)]
    for pid in pids:
        command += ["-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
        time.sleep(ATTACH_SECONDS)
        count, _ = image.send(STRACE_SECONDS, home)
        tracer.terminate()
    total = re.search(
        r"^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s+(?:\d+\s+)?total", summary.read_text(), re.MULTILINE
    )
    assert total is not None, summary.read_text()
    return int(total[1]) / count


def main() -> None:
    for tool in ("wrk", "memcached"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing: install it (apt install {tool})")
    figures: dict[str, Any] = {"per_second": {}, "cpu_seconds_per_1000": {}}
    with ExitStack() as stack:

        def home() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory()))

        place = home()
        servers = {
            "memchunk": start_memchunk(stack, home()),
            "parsing": start_parsing(stack, home()),
        }
        images = {
            name: Image(url, register=name == "memchunk") for name, (url, _) in servers.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in servers}
        spent = dict.fromkeys(servers, 0.0)
        counts = dict.fromkeys(servers, 0)
        for turn in range(ROUNDS + 1):
            for name, (_, pid) in servers.items():
                before = cpu_seconds(workers(pid))
                count, rate = images[name].send(SECONDS, place)
                if turn:
                    rates[name].append(rate)
                    counts[name] += count
                    spent[name] += cpu_seconds(workers(pid)) - before
        for name in servers:
            figures["per_second"][name] = median(rates[name])
            figures["cpu_seconds_per_1000"][name] = 1000 * spent[name] / counts[name]
        if shutil.which("strace"):
            figures["system_calls_per_chunk"] = {
                name: system_calls(images[name], workers(pid), place)
                for name, (_, pid) in servers.items()
            }
        pids = workers(servers["memchunk"][1])
        resident, running, sent = [resident_kib(pids)], [threads(pids)], 0
        while sent < SOAK_CHUNKS:
            sent += images["memchunk"].send(SOAK_SECONDS, place)[0]
            resident.append(resident_kib(pids))
            running.append(threads(pids))
        figures["resident_kib"] = {
            "chunks": sent,
            "of_all_workers": resident,
            "threads": running,
        }
    report(figures)
    lab.save("images", COMMAND, figures)
    groups = {
        "chunks per second: more is better": figures["per_second"],
        "processor seconds for 1,000 chunks: less is better": figures["cpu_seconds_per_1000"],
    }
    lab.bars("images", "The ASCII-image protocol", "chunks of 256 bytes", groups, note=COMMAND)


def report(figures: dict[str, Any]) -> None:
    """The table, on standard output."""
    rates, spent = figures["per_second"], figures["cpu_seconds_per_1000"]
    calls = figures.get("system_calls_per_chunk", {})
    print(f"{'':12}{'per s':>8}{'x parsing':>11}{'CPU s/1000':>12}{'calls/chunk':>13}")
    for name, rate in rates.items():
        shown = f"{calls[name]:13.1f}" if name in calls else f"{'':13}"
        print(f"{name:12}{rate:8.0f}{rate / rates['parsing']:11.2f}{spent[name]:12.3f}{shown}")
    memory = figures["resident_kib"]
    print(f"workers' memory over {memory['chunks']} chunks, KiB: {memory['of_all_workers']}")
    # a connection that finds no thread at rest starts one, which stays; some 50 KiB each
    print(f"and their threads: {memory['threads']}")


if __name__ == "__main__":
    main()
