"""The command line: `memchunk serve`.

Flags are laid over the environment and read by `Settings`, which knows what is
valid; nothing is decided here.
"""

from __future__ import annotations

import os

import click

import memchunk
from memchunk_api import server
from memchunk_api.settings import Settings, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(memchunk.__version__, prog_name="memchunk")
def main() -> None:
    """Store whole files of up to 50 MiB in memcached."""


# Flags stay text, so that `Settings` is the one place that reads and refuses values.
@main.command()
@click.option(
    "--host",
    "MEMCHUNK_HOST",
    envvar="MEMCHUNK_HOST",
    show_envvar=True,
    metavar="ADDRESS",
    help="Listen on this address.  [default: 127.0.0.1]",
)
@click.option(
    "--port",
    "MEMCHUNK_PORT",
    envvar="MEMCHUNK_PORT",
    show_envvar=True,
    metavar="PORT",
    help="Listen on this port; 0 takes a free one.  [default: 8000]",
)
@click.option(
    "--image-port",
    "MEMCHUNK_IMAGE_PORT",
    envvar="MEMCHUNK_IMAGE_PORT",
    show_envvar=True,
    metavar="PORT",
    help="Listen on this port too, for the ASCII-image protocol; 0 for not.  [default: 4444]",
)
@click.option(
    "--servers",
    "MEMCHUNK_SERVERS",
    envvar="MEMCHUNK_SERVERS",
    show_envvar=True,
    metavar="ADDRESS,...",
    help="Where memcached is: HOST:PORT or unix:PATH.  [default: a private one is started]",
)
@click.option(
    "--memory",
    "MEMCHUNK_MEMORY",
    envvar="MEMCHUNK_MEMORY",
    show_envvar=True,
    metavar="MIB",
    help="Memory of the private memcached.  [default: 1024]",
)
def serve(**flags: str | None) -> None:
    """Serve files over HTTP, from a memcached of yours or a private one.

    The environment may also set MEMCHUNK_NAMESPACE, MEMCHUNK_LAYOUT (steady, or compact for
    files of one size), MEMCHUNK_DEFAULT_TTL (seconds), MEMCHUNK_TOKEN,
    MEMCHUNK_BUFFER_MEMORY (MiB per worker), MEMCHUNK_WORKERS, MEMCHUNK_THREADS,
    MEMCHUNK_BODY_TIMEOUT (seconds), MEMCHUNK_GRACE (seconds that requests under way get to
    end once the server is told to stop) and MEMCHUNK_ACCESS_LOG (on, or off for only what
    failed).
    """
    given = {variable: value for variable, value in flags.items() if value is not None}
    try:
        server.run(Settings.from_environment({**os.environ, **given}))
    except (SettingsError, server.StartError) as error:
        raise click.ClickException(str(error)) from None
