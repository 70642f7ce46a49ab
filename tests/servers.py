"""Real memcached servers for the tests: one that they share, and ones to hurt."""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

SHARED_MEMORY_MIB = 1024
READY_SECONDS = 10
IMAGE = "memcached:1.6"
INSTALL = (
    "install memcached (apt-get install memcached, dnf install memcached, brew install memcached)"
)


@contextmanager
def shared_server() -> Iterator[tuple[str, str]]:
    """Address and origin of the server that the tests share, until the block ends.

    It is the first of MEMCHUNK_TEST_SERVERS, else a container where Docker answers, else a local
    memcached. Raises `RuntimeError` where there is none of them.
    """
    named = os.environ.get("MEMCHUNK_TEST_SERVERS", "").split(",")[0].strip()
    if named:
        wait_until_ready(named)
        yield named, "MEMCHUNK_TEST_SERVERS"
    elif docker_answers():
        from testcontainers.community.memcached import MemcachedContainer

        with MemcachedContainer(IMAGE).with_command(
            f"memcached -m {SHARED_MEMORY_MIB}"
        ) as container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(11211)
            wait_until_ready(f"{host}:{port}")
            yield f"{host}:{port}", f"container {IMAGE}"
    else:
        if shutil.which("memcached") is None:
            raise RuntimeError(
                f"no memcached for the tests: {INSTALL}, start Docker, or set MEMCHUNK_TEST_SERVERS"
            )
        server = LocalMemcached("-m", str(SHARED_MEMORY_MIB))
        try:
            yield server.address, "local memcached"
        finally:
            server.stop()


def docker_answers() -> bool:
    """True where a Docker engine answers within two seconds."""
    from docker.errors import DockerException
    from testcontainers.core.docker_client import DockerClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with closing(DockerClient(timeout=2).client) as engine:
                return bool(engine.ping())
        except (DockerException, OSError):
            return False
        finally:
            gc.collect()  # docker closes no socket that was refused


class LocalMemcached:
    """A memcached of the test's own, on a loopback port or (`unix=True`) a socket in a directory.

    Options are memcached's: `LocalMemcached("-m", "64", "-o", "modern")`. It runs when the
    constructor returns; whoever made it calls `stop`. Where the options make it talk TLS, `tls`
    is what its clients go by.
    """

    def __init__(
        self,
        *options: str,
        unix: bool = False,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        program = shutil.which("memcached")
        if program is None:
            raise RuntimeError(f"this test needs a memcached of its own: {INSTALL}")
        self._directory = Path(tempfile.mkdtemp(prefix="mc-")) if unix else None  # a short path
        if self._directory:
            listen = ["-s", str(self._directory / "socket")]
            self.address = f"unix:{self._directory / 'socket'}"
        else:
            port = free_port()
            listen = ["-l", host, "-p", str(port), "-U", "0"]
            self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        as_root = ["-u", "root"] if os.geteuid() == 0 else []  # root has to be named
        self._command = [program, *listen, *as_root, *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._tls = tls
        self.start()

    @property
    def pid(self) -> int:
        """The process id. Raises `RuntimeError` where the server does not run."""
        if self._process is None:
            raise RuntimeError(f"memcached on {self.address} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it again, empty, at the same address."""
        assert self._process is None
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(self._command, stderr=said)
            try:
                wait_until_ready(self.address, self._process, self._tls)
            except BaseException as error:
                self.stop()
                said.seek(0)
                error.add_note(said.read().decode(errors="replace"))
                raise

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again, empty, at the same address."""
        if self._process:
            self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # until its last thread has stopped

    def resume(self) -> None:
        """Let a paused server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it for good, whatever its state. May be called again."""
        if self._process:
            self._end(signal.SIGKILL)  # it has nothing to save, and may be paused
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()
        self._process = None


def wait_until_ready(
    address: str,
    process: subprocess.Popen[bytes] | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Return once memcached answers at `address`; `RuntimeError` when it does not, or has ended."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process and process.poll() is not None:
            raise RuntimeError(f"memcached on {address} ended at once")
        with suppress(OSError), connect(address, tls) as connection:
            connection.sendall(b"version\r\n")
            if connection.recv(100).startswith(b"VERSION"):
                return
        time.sleep(0.01)
    raise RuntimeError(f"memcached on {address} did not answer within {READY_SECONDS} seconds")


def connect(address: str, tls: ssl.SSLContext | None = None) -> socket.socket:
    """A connection to `address`: "host:port" or "unix:/path"; a plain one without `tls`."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(READY_SECONDS)
        try:
            connection.connect(address.removeprefix("unix:"))
        except BaseException:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    connection = socket.create_connection((host, int(port)), timeout=READY_SECONDS)
    return connection if tls is None else tls.wrap_socket(connection, server_hostname=host)


@contextmanager
def nobody() -> Iterator[str]:
    """The address "host:port" of a port where nobody listens, nor will while the block runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*taken.getsockname())


def free_port() -> int:
    """A port below those the kernel gives to clients: none of them can take it while a server is
    down, nor can a client that calls there be connected to itself."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("100 ports in a row are taken")
