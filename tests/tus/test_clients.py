"""tus as others speak it: three clients, as they come, each also killed half way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.serving import Server
from tests.throttle import FULL_SPEED, Throttle

HERE = Path(__file__).parent
SIZE = 16 * 1024 * 1024
RATE = 6e6  # bytes per second

CLIENTS: dict[str, list[str | Path]] = {
    "tuspy": [sys.executable, HERE / "with_tuspy.py"],
    "aiotus": [sys.executable, HERE / "with_aiotus.py"],
    "tus-js-client": ["node", HERE / "with_tus_js.mjs"],
}


@pytest.fixture(scope="module")
def server(memcached_address: str) -> Iterator[Server]:
    running = Server(SERVERS=memcached_address, NAMESPACE="clients", WORKERS="2")
    yield running
    running.stop()


@pytest.fixture
def throttle(server: Server) -> Iterator[Throttle]:
    line = Throttle(server.port, RATE)
    yield line
    line.close()


class Upload:
    """A file on its way through `throttle` by one of the clients.

    Attributes:
        name: what it is to be called.
        content: its bytes.
    """

    def __init__(self, client: str, throttle: Throttle, directory: Path) -> None:
        self.name = f"by/{client}-{os.urandom(8).hex()}"
        self.content = os.urandom(SIZE)
        path = directory / "file"
        path.write_bytes(self.content)
        url = f"http://127.0.0.1:{throttle.port}/uploads"
        self._command: list[str | Path] = [
            *CLIENTS[client],
            url,
            path,
            self.name,
            directory / "memory",
        ]

    def start(self) -> subprocess.Popen[bytes]:
        """Start a process that sends it, or what is left of it."""
        return subprocess.Popen(self._command)


@pytest.fixture(params=CLIENTS)
def upload(request: pytest.FixtureRequest, throttle: Throttle, tmp_path: Path) -> Upload:
    if request.param == "tus-js-client" and not (
        shutil.which("node") and (HERE / "node_modules").exists()
    ):
        missing = "tus-js-client is not installed: run .ci/bootstrap tus"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return Upload(request.param, throttle, tmp_path)


def test_a_client_uploads_a_file(server: Server, throttle: Throttle, upload: Upload) -> None:
    throttle.rate = FULL_SPEED
    assert upload.start().wait(60) == 0
    with server.client() as http:
        assert http.get(f"/files/{upload.name}").content == upload.content


def test_a_client_that_was_killed_half_way_goes_on_in_a_new_process(
    server: Server, throttle: Throttle, upload: Upload
) -> None:
    process = upload.start()
    throttle.wait_until_passed(SIZE // 2)
    process.kill()
    assert process.wait() < 0
    throttle.rate = FULL_SPEED
    throttle.wait_until_idle()
    sent = throttle.passed
    assert sent < SIZE
    with server.client() as http:
        assert http.get(f"/files/{upload.name}").status_code == 404
        assert upload.start().wait(60) == 0
        assert http.get(f"/files/{upload.name}").content == upload.content
    # The rest, the heads of a few requests, and no byte a second time.
    assert throttle.passed < SIZE + 10_000
