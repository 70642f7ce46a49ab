"""The README's curl lines do what it says of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

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
