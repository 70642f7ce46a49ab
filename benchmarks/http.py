"""memchunk over HTTP: 50 MiB with curl beside nginx, 4 KiB with wrk beside a Falcon `hello`.

`python -m benchmarks.http` takes about a minute, on the loopback alone. curl's times
are those it reports itself: they leave out what starting curl takes, which is a third
of hashing 50 MiB and has nothing to do with any server. `hello` is served by the gunicorn that
serves memchunk, with its workers, threads, hooks and log: see `benchmarks/hello.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import lab
from memchunk_api.settings import Settings

COMMAND = "python -m benchmarks.http"
LARGE_BYTES = 50 * 1024 * 1024
SMALL_BYTES = 4 * 1024
LARGE_ROUNDS = 15
SMALL_ROUNDS = 5
SMALL_SECONDS = 2
CONNECTIONS = 16
START_SECONDS = 20
MEMORY = Path("/dev/shm")
PACKAGES = {"curl": "curl", "nginx": "nginx", "wrk": "wrk", "memcached": "memcached"}

NGINX = """
daemon off; {user} worker_processes {workers}; pid {home}/nginx.pid; error_log stderr error;
events {{}}
http {{
    access_log off; sendfile on; tcp_nopush on;
    client_max_body_size 64m; client_body_buffer_size 1m; client_body_temp_path {home}/body;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {home}/files; dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""

# Every PUT has a name of its own, so that a file is made and none replaced.
WRK = """
local thread_count = 0
function setup(thread) thread:set("id", thread_count); thread_count = thread_count + 1 end
local body, count = string.rep("x", {size}), 0
function request()
  if "{method}" == "GET" then return wrk.format("GET", "{path}") end
  count = count + 1
  return wrk.format("PUT", "{path}/" .. id .. "-" .. count, nil, body)
end
"""


@contextmanager
def serving(command: list[str], url: str, home: Path) -> Iterator[None]:
    """A server, from its first answer on until the block ends, however it does."""
    with (home / "log").open("w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"{command[0]} does not serve:\n{log.read().decode()}")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    """Whether anything speaks HTTP there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def start_memchunk(stack: ExitStack, home: Path) -> str:
    port = free_port()
    command = [sys.executable, "-m", "memchunk_api", "serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    stack.enter_context(serving([*command, "--image-port", "0"], f"{url}/readyz", home))
    return f"{url}/files"


def start_nginx(stack: ExitStack, home: Path) -> str:
    port = free_port()
    (home / "files").mkdir()
    (home / "nginx.conf").write_text(
        NGINX.format(
            home=home,
            port=port,
            workers=Settings().workers,
            user="user root;" if os.geteuid() == 0 else "",
        )
    )
    command = ["nginx", "-e", "stderr", "-p", str(home), "-c", str(home / "nginx.conf")]
    url = f"http://127.0.0.1:{port}"
    stack.enter_context(serving(command, f"{url}/none", home))
    return url


def start_hello(stack: ExitStack, home: Path) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}/files"
    command = [sys.executable, "-m", "benchmarks.hello", str(port)]
    stack.enter_context(serving(command, f"{url}/hello", home))
    return url


class Curl:
    """Transfers by curl, each with the time that curl says it took."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def act(self, label: str, *arguments: str) -> Callable[[], None]:
        """One transfer, to be called again and again."""
        command = ["curl", "-sSf", "-o", os.devnull, "-w", "%{time_total}", *arguments]

        def transfer() -> None:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            self.times.setdefault(label, []).append(float(done.stdout))

        return transfer


def large(servers: dict[str, str], home: Path) -> dict[str, float]:
    """Seconds for sha256 alone, and for a PUT and a GET of each server."""
    data = os.urandom(LARGE_BYTES)
    file = home / "large"
    file.write_bytes(data)
    curl = Curl()
    acts: dict[str, Callable[[], object]] = {"sha256": lambda: hashlib.sha256(data).digest()}
    for label, url in servers.items():
        acts[f"{label} PUT"] = curl.act(f"{label} PUT", "-T", str(file), f"{url}/large")
        acts[f"{label} GET"] = curl.act(f"{label} GET", f"{url}/large")
    walls = lab.take_turns(acts, rounds=LARGE_ROUNDS)
    for label, url in servers.items():
        with urllib.request.urlopen(f"{url}/large") as answer:
            if answer.read() != data:
                raise SystemExit(f"{label} gave other bytes than it got")
    return {
        label: median(curl.times[label][1:]) if label in curl.times else wall
        for label, wall in walls.items()
    }


def small(servers: dict[str, str], home: Path) -> dict[str, float]:
    """Requests per second of a GET and a PUT of each server."""
    rates: dict[str, list[float]] = {}
    for url in servers.values():
        request = urllib.request.Request(f"{url}/small", bytes(SMALL_BYTES), method="PUT")
        urllib.request.urlopen(request).close()
    for turn in range(SMALL_ROUNDS + 1):
        for method in ("GET", "PUT"):
            for label, url in servers.items():
                path = "small" if method == "GET" else f"small-{secrets.token_hex(4)}"
                rate = wrk(method, url, f"/files/{path}", home / "request.lua")
                if turn:
                    rates.setdefault(f"{label} {method}", []).append(rate)
    return {label: median(each) for label, each in rates.items()}


def wrk(method: str, url: str, path: str, script: Path) -> float:
    """Requests per second, all of them answered as they should be."""
    script.write_text(WRK.format(size=SMALL_BYTES, method=method, path=path))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SMALL_SECONDS}s", "-s", str(script), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"not every {method} was answered:\n{said}")
    found = re.search(r"Requests/sec: +([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def report(figures: dict[str, Any]) -> None:
    """The tables, on standard output."""
    if times := figures.get("large_seconds"):
        print(f"\n50 MiB, curl, median of {LARGE_ROUNDS}\n")
        print(f"{'':16}{'ms':>8}{'x sha256':>10}")
        for label, seconds in times.items():
            print(f"{label:16}{seconds * 1000:8.1f}{seconds / times['sha256']:10.2f}")
    if rates := figures.get("small_per_second"):
        settings = Settings()
        print(
            f"\n4 KiB, wrk with {CONNECTIONS} connections, median of {SMALL_ROUNDS}; "
            f"{settings.workers} workers, {settings.threads} threads each\n"
        )
        print(f"{'':16}{'per s':>8}{'x hello':>10}")
        for label, rate in rates.items():
            print(f"{label:16}{rate:8.0f}{rate / rates['hello ' + label.split()[-1]]:10.2f}")


def draw(figures: dict[str, Any]) -> None:
    groups: dict[str, dict[str, float]] = {}
    if times := figures.get("large_seconds"):
        groups["50 MiB with curl, ms: less is better"] = {k: v * 1000 for k, v in times.items()}
    if rates := figures.get("small_per_second"):
        groups["4 KiB with wrk, requests per second: more is better"] = rates
    lab.bars("http", "memchunk over HTTP", "loopback", groups, note=COMMAND)


def main() -> None:
    missing = {tool for tool in PACKAGES if shutil.which(tool) is None}
    for tool in sorted(missing):
        print(f"{tool} is missing: install it (apt install {PACKAGES[tool]})", file=sys.stderr)
    if "memcached" in missing or {"curl", "wrk"} <= missing:
        raise SystemExit("nothing can be measured without it")
    if not MEMORY.is_dir():
        raise SystemExit(f"{MEMORY} is missing: nginx would be measured with a disk")
    figures: dict[str, Any] = {}
    with ExitStack() as stack:

        def home() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))

        memchunk = start_memchunk(stack, home())
        if "curl" not in missing:
            servers = {"memchunk": memchunk}
            if "nginx" not in missing:
                servers["nginx"] = start_nginx(stack, home())
            figures["large_seconds"] = large(servers, home())
        if "wrk" not in missing:
            servers = {"memchunk": memchunk, "hello": start_hello(stack, home())}
            figures["small_per_second"] = small(servers, home())
    report(figures)
    lab.save("http", COMMAND, figures)
    draw(figures)


if __name__ == "__main__":
    main()
