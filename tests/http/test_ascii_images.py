"""The client of the ASCII-image protocol against the server, as whoever runs it by hand does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.http.serving import Server


def play(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.ascii_images", "--url", server.url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("files", "chunk_size", "most_bytes"),
    [("40", "256", "4000"), ("10", "1", "100"), ("10", "65536", "300000")],
)
def test_shuffled_chunks_over_many_connections(
    server: Server, files: str, chunk_size: str, most_bytes: str
) -> None:
    played = play(server, "--files", files, "--chunk-size", chunk_size, "--most-bytes", most_bytes)
    assert played.stdout.endswith("SUCCESS!\n"), played.stderr


def test_it_does_not_succeed_with_what_is_there_already(server: Server) -> None:
    again = ("--files", "2", "--seed", "7", "--most-bytes", "300")
    play(server, *again)
    played = play(server, *again)
    assert played.returncode == 1
    assert played.stderr.startswith("FAILED: register: 409")
