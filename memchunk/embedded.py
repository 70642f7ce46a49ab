"""A private memcached as a child process, that ends with the one that started it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress

from memchunk.errors import UnavailableError

START_SECONDS = 10.0
POLL_SECONDS = 0.01

# A subshell waits for a line from a pipe that this process holds open, or for its end: however
# this process ends, the pipe closes (once no child has it either), and memcached is ended.
_GUARD = """
directory=$1; shift
exec 3<&0
"$@" & memcached=$!
{ read -r _; kill "$memcached"; } <&3 2>/dev/null & watch=$!
wait "$memcached"
kill "$watch" 2>/dev/null
rm -rf "$directory"
"""


class Memcached:
    """A memcached of this process's own: running once made, ended by `close`.

    Attributes:
        address: what to give to `memchunk.connect`.
    """

    def __init__(
        self, memory_mib: int = 64, *, address: str | None = None, options: Sequence[str] = ()
    ) -> None:
        """Start it and wait until it answers.

        Args:
            memory_mib: how much memory it may use for items, in MiB (`-m`).
            address: `"host:port"` to listen on; by default a unix socket in a directory
                that only this user can enter.
            options: further options of memcached's.

        Raises `UnavailableError` where there is no memcached, or it does not start.
        """
        program = shutil.which("memcached")
        if program is None:
            raise UnavailableError(
                "there is no memcached on this machine; install it "
                "(apt install memcached, dnf install memcached, brew install memcached)"
            )
        command = [program, "-m", str(memory_mib), *options]
        if address is not None:
            _check_free(address)
            host, port = _host_and_port(address)
            command += ["-l", host, "-p", str(port), "-U", "0"]
        self._directory = tempfile.mkdtemp(prefix="memchunk-")
        if address is None:
            path = f"{self._directory}/memcached.sock"
            address = f"unix:{path}"
            command += ["-s", path, "-a", "0700"]
        self.address = address
        if os.geteuid() == 0:  # memcached will not run as root unless told as whom
            nobody = pwd.getpwnam("nobody")
            os.chown(self._directory, nobody.pw_uid, nobody.pw_gid)
            command += ["-u", "nobody"]
        self._process = os.getpid()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as memcached runs
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "memchunk-guard", self._directory, *command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for the parent, which then ends it
        )
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers() or self._guard.poll() is not None:
            if time.monotonic() > deadline or self._guard.poll() is not None:
                self._log.seek(0)
                said = self._log.read().decode(errors="replace").strip()
                self.close()
                raise UnavailableError(
                    f"memcached did not start: {said or 'it does not answer'}", server=self.address
                )
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            if self.address.startswith("unix:"):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(START_SECONDS)
                    probe.connect(self.address.removeprefix("unix:"))
            else:
                socket.create_connection(_host_and_port(self.address), START_SECONDS).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End it, and wait until it has ended. May be called again.

        In a child that was forked since, memcached goes on: it is the parent's.
        """
        pipe = self._guard.stdin
        if pipe is not None and not pipe.closed:
            with suppress(BrokenPipeError), pipe:  # broken where memcached ended by itself
                if os.getpid() == self._process:
                    pipe.write(b"\n")  # children may have the pipe, too, so that it does not end
        self._guard.wait()
        self._log.close()

    def __enter__(self) -> Memcached:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_free(address: str) -> None:
    """Raise `UnavailableError` where somebody else listens at `address`."""
    host, port = _host_and_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise UnavailableError(
            f"memcached did not start: {address} cannot be listened on ({error}); use another",
            server=address,
        ) from None


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
