"""The compose file's stack, brought up under a name of its own on free ports."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent.parent
BUILD_SECONDS = 900
COMMAND_SECONDS = 120
HEALTHY_SECONDS = 90

PORT = 8000
IMAGE_PORT = 4444


class Stack:
    """`docker compose up` when made; `down` ends it, and leaves no container behind."""

    def __init__(self) -> None:
        """Build the image, start the stack and wait until it is healthy."""
        self._compose = [*_compose_command(), "--project-name", f"memchunk-{secrets.token_hex(4)}"]
        try:
            self.compose("build", "api", seconds=BUILD_SECONDS)
            self.compose("up", "--detach", "api")
            self.wait_until_healthy()
        except BaseException:
            self.down()
            raise

    def compose(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run `docker compose` with these arguments; what it said on stdout."""
        # 0 lets the system choose: the usual ports may be taken
        ports = {"MEMCHUNK_PORT": "0", "MEMCHUNK_IMAGE_PORT": "0"}
        return run(*self._compose, *arguments, seconds=seconds, **ports)

    def down(self) -> None:
        """Stop and remove all of it."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1")

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "--quiet", service).strip()

    def url(self, port: int = PORT) -> str:
        """Where a port of the server can be reached; another one after each start."""
        return "http://" + run("docker", "port", self.container("api"), f"{port}/tcp").strip()

    def client(self, port: int = PORT) -> httpx.Client:
        """A client of a port of the server; to be closed."""
        return httpx.Client(base_url=self.url(port), timeout=COMMAND_SECONDS)

    def wait_until_healthy(self) -> None:
        """Return once the server's health check passes."""
        container = self.container("api")
        deadline = time.monotonic() + HEALTHY_SECONDS
        while (health := inspect(container)["State"]["Health"])["Status"] != "healthy":
            if time.monotonic() > deadline:
                raise AssertionError(f"not healthy: {health}\n{self.compose('logs')}")
            time.sleep(0.5)

    def python(self, program: str, *arguments: str) -> None:
        """Run a program in the server's container, from where memcached can be reached."""
        container = self.container("api")
        run("docker", "exec", "-i", container, "python", "-", *arguments, stdin=program)


def run(
    *command: str, seconds: float = COMMAND_SECONDS, stdin: str | None = None, **environ: str
) -> str:
    """Run a command in the project's directory; what it said on stdout."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def inspect(container_or_image: str) -> dict[str, Any]:
    """What Docker says of a container or an image."""
    found: list[dict[str, Any]] = json.loads(run("docker", "inspect", container_or_image))
    return found[0]


def _compose_command() -> list[str]:
    """Compose as a part of Docker, or as the program of its own that it was before."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
