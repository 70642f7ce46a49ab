"""The tests' own servers do what they say."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import LocalMemcached, connect, docker_answers, shared_server

Start = Callable[..., LocalMemcached]


def ask(address: str, line: bytes, timeout: float = 5) -> bytes:
    with connect(address) as connection:
        connection.settimeout(timeout)
        connection.sendall(line)
        return connection.recv(4096)


def test_the_shared_server_is_a_memcached(memcached_address: str) -> None:
    assert ask(memcached_address, b"version\r\n").startswith(b"VERSION ")


@pytest.mark.parametrize("unix", [False, True])
def test_a_server_can_be_killed_and_started_again_at_its_address(
    start_memcached: Start, unix: bool
) -> None:
    server = start_memcached("-m", "64", unix=unix)
    address, pid = server.address, server.pid
    assert ask(address, b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"

    server.kill()
    with pytest.raises(OSError, match=r"refused|No such file"):
        ask(address, b"get k\r\n")
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.pid

    server.restart()
    assert server.address == address
    assert server.pid != pid
    assert ask(address, b"get k\r\n") == b"END\r\n"


def test_a_paused_server_answers_once_it_is_resumed(start_memcached: Start) -> None:
    server = start_memcached()
    server.pause()
    with pytest.raises(TimeoutError):
        ask(server.address, b"version\r\n", timeout=0.2)
    timer = threading.Timer(0.2, server.resume)
    timer.start()
    assert ask(server.address, b"version\r\n").startswith(b"VERSION ")
    timer.join()


@pytest.mark.parametrize("paused", [False, True])
def test_stop_ends_the_process_and_removes_its_socket(paused: bool) -> None:
    server = LocalMemcached(unix=True)
    pid, socket_path = server.pid, Path(server.address.removeprefix("unix:"))
    if paused:
        server.pause()
    server.stop()
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not socket_path.parent.exists()


def test_options_reach_memcached(start_memcached: Start) -> None:
    server = start_memcached("-m", "70", "-M", "-I", "2m")
    settings = ask(server.address, b"stats settings\r\n")
    assert b"STAT maxbytes 73400320\r\n" in settings
    assert b"STAT evictions off\r\n" in settings
    assert b"STAT item_size_max 2097152\r\n" in settings


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="ended at once") as caught:
        LocalMemcached("--no-such-option")
    assert "no-such-option" in "".join(caught.value.__notes__)


def test_a_named_server_comes_before_all_others(
    start_memcached: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = start_memcached().address
    monkeypatch.setenv("MEMCHUNK_TEST_SERVERS", f"{address},127.0.0.1:1")
    with shared_server() as found:
        assert found == (address, "MEMCHUNK_TEST_SERVERS")


def test_without_docker_the_shared_server_is_local_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MEMCHUNK_TEST_SERVERS", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert not docker_answers()
    with shared_server() as (address, origin):
        assert origin == "local memcached"
        assert b"STAT limit_maxbytes 1073741824\r\n" in ask(address, b"stats\r\n")
    with pytest.raises(ConnectionRefusedError):
        ask(address, b"version\r\n")


def test_without_any_server_the_tests_fail_and_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MEMCHUNK_TEST_SERVERS", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install memcached"), shared_server():
        pass
