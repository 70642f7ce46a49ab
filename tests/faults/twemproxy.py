"""A twemproxy (Debian's `nutcracker`) in front of some servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers import LocalMemcached, free_port, wait_until_ready

CONFIG = """\
memchunk:
  listen: {address}
  hash: fnv1a_64
  hash_tag: "{{}}"
  distribution: ketama
  auto_eject_hosts: false
  timeout: 5000
  servers:
"""


PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"  # few users look in the first two


def is_installed() -> bool:
    """Whether there is one on this machine."""
    return shutil.which("nutcracker", path=PLACES) is not None


@contextmanager
def twemproxy(directory: Path, servers: Sequence[LocalMemcached]) -> Iterator[str]:
    """The address of one; it writes to `directory`."""
    program = shutil.which("nutcracker", path=PLACES)
    assert program is not None
    address, stats = f"127.0.0.1:{free_port()}", str(free_port())
    lines = [f"   - {server.address}:1 server{n}\n" for n, server in enumerate(servers)]
    config = directory / "twemproxy.yml"
    config.write_text(CONFIG.format(address=address) + "".join(lines))
    command = [program, "-c", str(config), "-a", "127.0.0.1", "-s", stats]
    command += ["-o", str(directory / "log"), "-p", str(directory / "pid")]
    with subprocess.Popen(command) as process:
        try:
            wait_until_ready(address)
            yield address
        finally:
            process.kill()
