from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import memchunk
from memchunk.embedded import Memcached


def ended(path: str) -> bool:
    """Whether nothing answers at a unix socket, and its directory is gone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not Path(path).parent.exists():
            return True
        time.sleep(0.02)
    return False


def test_a_private_memcached() -> None:
    with Memcached(64) as memcached:
        path = memcached.address.removeprefix("unix:")
        assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
        with memchunk.connect(memcached.address) as store:
            store.put("f", bytes(1_000_000))
            assert store.get("f") == bytes(1_000_000)
    assert ended(path)
    memcached.close()


@pytest.mark.parametrize("closes", [False, True])
def test_it_ends_at_once_though_a_child_was_forked_since(closes: bool) -> None:
    with Memcached() as memcached:
        path = memcached.address.removeprefix("unix:")
        child = os.fork()
        if not child:
            if closes:
                memcached.close()  # which is not the child's to end
            signal.pause()
        try:
            time.sleep(0.2)
            with memchunk.connect(memcached.address) as store:
                store.check()
            kill = threading.Timer(5, os.kill, (child, signal.SIGKILL))
            kill.start()
            memcached.close()
            assert kill.is_alive()
            kill.cancel()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert ended(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_on_a_port(host: str) -> None:
    from tests.servers import free_port

    address = f"{host}:{free_port()}"
    with Memcached(address=address, options=["-t", "1"]) as memcached:
        assert memcached.address == address
        with memchunk.connect(address) as store:
            store.check()


PROGRAM = """
import sys, time
from memchunk.embedded import Memcached
memcached = Memcached()
print(memcached.address, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_process_that_started_it(how: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        path = process.stdout.readline().decode().strip().removeprefix("unix:")
        assert Path(path).exists()
        os.kill(process.pid, how)
    assert ended(path)


def test_without_memcached_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(memchunk.UnavailableError, match="install"):
        Memcached()


def test_an_option_it_does_not_know_is_an_error_with_its_words() -> None:
    with pytest.raises(memchunk.UnavailableError, match=r"did not start.*no-such-option"):
        Memcached(options=["--no-such-option"])


def test_a_port_that_is_taken(memcached_address: str) -> None:
    with pytest.raises(memchunk.UnavailableError, match="did not start"):
        Memcached(address=memcached_address)
