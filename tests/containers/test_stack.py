"""The stack as people use it: `docker compose up`, files in and out, every loss, the end."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path

import pytest

from memchunk import MAX_FILE_BYTES
from tests.conftest import ORIGIN
from tests.containers.stack import BUILD_SECONDS, IMAGE_PORT, PORT, Stack, inspect, run
from tests.documents import blocks

CONTENT = os.urandom(MAX_FILE_BYTES)

# In the server's container: memcached cannot be reached from outside.
CHANGE_A_CHUNK = """
import json, sys
from pymemcache.client.base import Client
from memchunk import names

what, name = sys.argv[1:]
client = Client("memcached:11211", default_noreply=False)
manifest = json.loads(client.get(names.manifest_key("mc1", name)))
key = names.chunk_key("mc1", manifest["generation"], 0)
value = client.get(key)
if what == "lose":
    assert client.delete(key)
else:
    assert client.set(key, bytes([value[0] ^ 1]) + value[1:])
"""


@pytest.fixture
def name() -> str:
    """A file name that no other test uses."""
    return "test/" + secrets.token_hex(8)


def test_memcached_cannot_be_reached_from_outside(stack: Stack) -> None:
    assert not inspect(stack.container("memcached"))["HostConfig"]["PortBindings"]


@pytest.mark.parametrize("service", ["api", "memcached"])
def test_each_container_is_confined(stack: Stack, service: str) -> None:
    found = inspect(stack.container(service))["HostConfig"]
    assert found["ReadonlyRootfs"]
    assert found["CapDrop"] == ["ALL"]
    assert any("no-new-privileges" in option for option in found["SecurityOpt"])
    assert found["Memory"] > 0
    assert found["RestartPolicy"]["Name"] == "unless-stopped"


def test_the_lines_of_the_readme(stack: Stack, tmp_path: Path) -> None:
    script = "".join(each.text for each in blocks("sh", "README.md") if "cmp" in each.text)
    script = script.replace("http://127.0.0.1:8000", stack.url()).replace("curl ", "curl -sSf ")
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize("port", [PORT, IMAGE_PORT])
def test_50_mib_there_and_back(stack: Stack, name: str, port: int) -> None:
    with stack.client(port) as http:
        assert http.put(f"/files/{name}", content=CONTENT).status_code == 201
        assert http.get(f"/files/{name}").content == CONTENT


def test_every_loss_has_its_status(stack: Stack, name: str) -> None:
    path = f"/files/{name}"
    with stack.client() as http:
        assert http.get(path).status_code == 404
        assert http.post(path, content=CONTENT[:1_000_000]).status_code == 201
        assert http.post(path, content=CONTENT[:1_000_000]).status_code == 409
        stack.python(CHANGE_A_CHUNK, "alter", name)
        assert http.get(path).status_code == 422
        stack.python(CHANGE_A_CHUNK, "lose", name)
        assert http.get(path).status_code == 410
        assert http.post(path, content=CONTENT[:1_000_000]).status_code == 200  # healed
        assert http.get(path).content == CONTENT[:1_000_000]


def test_a_download_under_way_ends_whole_when_the_container_is_stopped(
    stack: Stack, name: str
) -> None:
    container = stack.container("api")
    with stack.client() as http:
        assert http.put(f"/files/{name}", content=CONTENT).status_code == 201
        with http.stream("GET", f"/files/{name}") as answer:
            stop = subprocess.Popen(["docker", "stop", "--time", "60", container])
            received = b""
            for block in answer.iter_raw(1 << 20):
                received += block
                time.sleep(0.1)  # a slow client
    assert received == CONTENT
    assert stop.wait(60) == 0
    assert inspect(container)["State"]["ExitCode"] == 0  # it was not killed
    run("docker", "start", container)
    stack.wait_until_healthy()


def test_it_says_on_stdout_where_it_is(stack: Stack) -> None:
    assert "memchunk serves http://0.0.0.0:8000" in run("docker", "logs", stack.container("api"))


@pytest.mark.timeout(BUILD_SECONDS)
def test_the_profile_test_runs_tests_on_its_memcached(stack: Stack) -> None:
    """Some of them; `docker compose run --rm test` runs all."""
    stack.compose("build", "test", seconds=BUILD_SECONDS)
    some = ["python", "-m", "pytest", "-q", "tests/test_store.py"]
    said = stack.compose("run", "--rm", "-T", "test", *some, seconds=BUILD_SECONDS)
    assert "memcached: MEMCHUNK_TEST_SERVERS at memcached:11211" in said


def test_the_librarys_tests_run_on_a_testcontainer(
    memcached_address: str, pytestconfig: pytest.Config
) -> None:
    """In the run of `.ci/containers`, whose other tests share this server."""
    assert pytestconfig.stash[ORIGIN] == f"container memcached:1.6 at {memcached_address}"
