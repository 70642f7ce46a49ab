"""Certificates for tests that talk TLS, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate for this machine that is signed by itself, and its key."""

    chain: Path
    key: Path

    def trusted(self) -> ssl.SSLContext:
        """What a client goes by that trusts this certificate, and no other."""
        return ssl.create_default_context(cafile=str(self.chain))

    def options(self) -> tuple[str, ...]:
        """What makes a memcached talk TLS with it."""
        return ("-Z", "-o", f"ssl_chain_cert={self.chain},ssl_key={self.key}")


def make_certificate(directory: Path, name: str = "server") -> Certificate:
    """A new one, valid for a day, for `localhost`, 127.0.0.1 and ::1."""
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 1"
    subject = ["-subj", "/CN=localhost", "-addext"]
    subject += ["subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    files = ["-keyout", str(made.key), "-out", str(made.chain)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return made
