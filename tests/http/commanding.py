"""`memchunk` as people call it: a process of its own, in a pipe or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

PROGRAM = [sys.executable, "-m", "memchunk_api"]
ROOT = Path(__file__).parent.parent.parent

WIDTH = 120
NOTHING: Mapping[str, str] = MappingProxyType({})
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of standard output."""
        return self.out.decode().splitlines()


class CommandLine:
    """Runs `memchunk` in a directory, with a server."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.environ = {
            **{key: value for key, value in os.environ.items() if "MEMCHUNK" not in key},
            "MEMCHUNK_URL": url,
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
        }

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", environ: Mapping[str, str] = NOTHING
    ) -> Ended:
        """Run it in a pipe."""
        return self._run([*PROGRAM, *map(str, arguments)], stdin, environ)

    def in_shell(self, line: str, environ: Mapping[str, str] = NOTHING) -> Ended:
        """Run a line of bash in which `memchunk` is the command."""
        program = "memchunk() { " + shlex.join(PROGRAM) + ' "$@"; }; '
        return self._run(["bash", "-c", program + line], b"", environ)

    def _run(self, command: list[str], stdin: bytes, environ: Mapping[str, str]) -> Ended:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            cwd=self.directory,
            env={**self.environ, **environ},
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start it in a pipe; the caller waits for its end."""
        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env=self.environ,
        )

    def on_terminal(self, *arguments: str | Path) -> tuple[int, str]:
        """Run it on a terminal; its exit status, and what is seen there."""
        return self._on_terminal([*PROGRAM, *map(str, arguments)])

    def typed_into_bash(self, keys: str) -> str:
        """What is seen where somebody presses these keys in a bash that completes `memchunk`."""
        command = self.directory / "bin" / "memchunk"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
        command.chmod(0o755)
        start = self.directory / "bin" / "bashrc"
        start.write_text(f'PATH={command.parent}:$PATH; eval "$(memchunk completion bash)"\n')
        # Where a quote is left open, bash waits for its end.
        bash = ["timeout", "-s", "KILL", "--foreground", "60", "bash", "--rcfile", str(start), "-i"]
        _, seen = self._on_terminal(bash, keys + "\rexit\r")
        return seen

    def _on_terminal(self, program: list[str], keys: str = "") -> tuple[int, str]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))
        with subprocess.Popen(
            program,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.directory,
            env=self.environ,
        ) as process:
            os.close(theirs)
            os.write(ours, keys.encode())
            written = b""
            with suppress(OSError):  # how a terminal that nobody writes to any more ends
                while block := os.read(ours, 65_536):
                    written += block
            os.close(ours)
        seen = _ESCAPE.sub("", written.decode())
        assert "Traceback" not in seen, seen
        return process.returncode, seen
