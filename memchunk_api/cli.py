"""The command `memchunk`: its verbs put together, `serve`, and shell completion.

The verbs that ask a server are in `commands`. Flags of `serve` are laid over the
environment and read by `Settings`, which knows what is valid. Nothing is imported
before it is needed: `memchunk --help` and a completed line come at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from memchunk_api import commands

EPILOG = """
\b
Exit status:
  0  done                             7  server or memcached unreachable
  1  local file, or server's start    8  memcached is full
  2  wrong usage, or no such name     9  larger than 50 MiB
  3  no such file                    10  changed meanwhile, or incomplete
  4  is there already                11  the server refuses, or is no memchunk
  5  evicted: store it again        130  interrupted; 143 by SIGTERM
  6  corrupt: store it again        141  nobody read the output to its end

MEMCHUNK_URL says where the server is, MEMCHUNK_TOKEN holds its token.
"""


class Program(click.Group):
    """The group of all verbs: where an error becomes one line and an exit status."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the command line; --help and --version are printed here."""
        with _told():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (click.ClickException, click.exceptions.Exit):
        raise
    except (Exception, KeyboardInterrupt) as error:
        from memchunk_api import outcomes

        outcome = outcomes.outcome_of(error)
        if outcome is None:
            raise
        outcomes.tell(outcome)
        raise click.exceptions.Exit(outcome.status) from None


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import memchunk

        click.echo(f"memchunk, version {memchunk.__version__}")
        ctx.exit()


@click.group(cls=Program, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Store whole files of up to 50 MiB in memcached.

    \b
      memchunk serve                       run a server, with a memcached of its own
      memchunk put report.pdf              store a file
      memchunk ls                          see which there are
      memchunk get report.pdf -o copy.pdf  get it back, verified
    """


for verb in (commands.put, commands.get, commands.ls, commands.stat, commands.rm, commands.mv):
    main.add_command(verb)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete verbs, options, and the names of stored files.

    \b
      eval "$(memchunk completion bash)"           in ~/.bashrc
      eval "$(memchunk completion zsh)"            in ~/.zshrc
      memchunk completion fish | source            in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    script = found(main, {}, "memchunk", "_MEMCHUNK_COMPLETE").source()
    if shell == "bash":
        # Else names would be taken for patterns, and local files that match come in their place.
        script = script.replace("local IFS", "local -; set -f; local IFS")
    click.echo(script)


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

    The environment may also set these:

    \b
      MEMCHUNK_TOKEN          the secret that requests must bring  [everyone is let in]
      MEMCHUNK_DEFAULT_TTL    seconds that files live by default   [for ever]
      MEMCHUNK_NAMESPACE      what memcached's keys begin with     [mc1]
      MEMCHUNK_LAYOUT         steady, or compact for files of one size  [steady]
      MEMCHUNK_WORKERS        processes                            [as many as cores, 4 at most]
      MEMCHUNK_THREADS        small requests that each works on    [2]
      MEMCHUNK_BUFFER_MEMORY  MiB of file data in each             [256]
      MEMCHUNK_BODY_TIMEOUT   seconds that a silent body has       [30]
      MEMCHUNK_GRACE          seconds that requests have to end    [8]
      MEMCHUNK_ACCESS_LOG     on, or off for only what failed      [on]
    """
    from memchunk_api import server
    from memchunk_api.settings import Settings, SettingsError

    given = {variable: value for variable, value in flags.items() if value is not None}
    try:
        server.run(Settings.from_environment({**os.environ, **given}))
    except (SettingsError, server.StartError) as error:
        raise click.ClickException(str(error)) from None
