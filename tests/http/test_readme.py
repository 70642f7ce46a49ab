"""What the README and docs/command-line.md show is run, and does what they say of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from memchunk_api import outcomes
from tests.http.commanding import ROOT, CommandLine
from tests.http.serving import Server
from tests.test_readme import blocks


def test_the_curl_lines_work(
    serve: Callable[..., Server], memcached_address: str, namespace: str, tmp_path: Path
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace)
    shells = [block for block in blocks("sh") if "curl" in block]
    assert len(shells) == 2
    script = "\n".join(shells).replace("http://127.0.0.1:8000", server.url)
    script = script.replace("curl ", "curl --silent --show-error --fail ")
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert '"name": "backup/big"' in run.stdout
    assert '"name": "other"' in run.stdout
    assert '"name": "bigoldfile.dat"' in run.stdout
    assert "backup/big\nbig\nbigoldfile.dat\nother\n" in run.stdout
    assert '"name": "sub/new.dat"' in run.stdout
    content = (tmp_path / "bigoldfile.dat").read_bytes()
    assert (tmp_path / "part").read_bytes() == content[1000:2000]


def run_in_shell(script: str, server: Server, directory: Path) -> str:
    """What a script writes that calls `memchunk`; it must not fail."""
    program = f'memchunk() {{ "{sys.executable}" -m memchunk_api "$@"; }}\n'
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", program + script],
        cwd=directory,
        env=CommandLine(directory, server.url).environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout


def test_the_shell_lines_work(
    serve: Callable[..., Server], memcached_address: str, namespace: str, tmp_path: Path
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace)
    for each in "bigoldfile.dat", "photos/a.jpg", "docs/x.md":
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text(each)
    [script] = [block for block in blocks("sh") if "memchunk put" in block]
    said = run_in_shell(script, server, tmp_path)
    assert "photos/a.jpg\n" in said
    assert "docs/x.md\n" in said
    assert "type:    application/x-tar\n" in said
    assert (tmp_path / "copy.dat").read_text() == "bigoldfile.dat"
    assert run_in_shell("memchunk ls", server, tmp_path) == "photos/a.jpg\n"


COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text()


def test_the_page_on_the_command_line_works(
    serve: Callable[..., Server], memcached_address: str, namespace: str, tmp_path: Path
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace)
    for each in "q3.pdf", "a.jpg", "b.jpg", "site/index.html", "site/css/style.css":
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(each)
    [script] = re.findall(r"^```sh\n(.*?)^```", COMMAND_LINE, re.MULTILINE | re.DOTALL)
    run_in_shell(script, server, tmp_path)
    assert (tmp_path / "copy.pdf").read_text() == "q3.pdf"
    left = "photos/a.jpg photos/b.jpg reports/2026/q3.pdf site/css/style.css site/index.html"
    assert run_in_shell("memchunk ls", server, tmp_path).split() == left.split()


def test_the_page_on_the_command_line_has_every_exit_status() -> None:
    listed = {int(number) for number in re.findall(r"^\| ([0-9]+) \|", COMMAND_LINE, re.MULTILINE)}
    assert listed == {0, *outcomes.EXIT_STATUS.values()}
