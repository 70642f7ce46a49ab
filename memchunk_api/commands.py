"""The verbs of the command line that ask a server: put, get, ls, stat, rm and mv.

Which local files are meant, what is printed, and how an error ends a command is in `local`,
`printing` and `outcomes`. What takes long to import is imported by the verb that needs it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from memchunk_api import bashwords, local, printing, terminal

if TYPE_CHECKING:
    from memchunk_api.client import Client

DEFAULT_URL = "http://127.0.0.1:8000"
STDOUT = "-"

_DURATION = re.compile(r"([0-9]{1,10})([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

# Somebody waits for the end of a name, with a finger on the key.
COMPLETION_SECONDS = 1.0
MOST_COMPLETIONS = 100


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """The seconds in a lifetime: a number, perhaps with a unit, as in 90, 30m, 12h or 7d."""
    if value is None:
        return None
    from memchunk.expiry import expiry

    match = _DURATION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no lifetime; say 90, 30m, 12h or 7d")
    seconds = int(match[1]) * _SECONDS[match[2]]
    try:
        expiry(seconds, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return seconds


def media_type(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A media type that a file can have."""
    from memchunk_api.sending import check_type

    if value is not None:
        try:
            check_type(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


@contextmanager
def connected(url: str, **options: Any) -> Iterator[Client]:
    """A client of the server at `url`, with the token from the environment."""
    from memchunk_api.client import Client

    try:
        client = Client(url, token=os.environ.get("MEMCHUNK_TOKEN") or None, **options)
    except ValueError as error:
        raise click.UsageError(f"{error} (see --url, MEMCHUNK_URL, MEMCHUNK_TOKEN)") from None
    # An exception, so that half a download is cleared away as after Ctrl-C.
    for each in signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(each) != signal.SIG_IGN:  # as nohup has it
            signal.signal(each, lambda number, _: sys.exit(128 + number))
    terminal.tell_of_waiting()
    with client:
        yield client


def stored_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names that begin with what was typed; none where no server answers at once."""
    from memchunk import MemchunkError

    url = ctx.params.get("url") or os.environ.get("MEMCHUNK_URL") or DEFAULT_URL
    try:
        with connected(url, timeout=COMPLETION_SECONDS, retries=0) as client:
            names = [info.name for info in client.list(incomplete, limit=MOST_COMPLETIONS)]
    except (MemchunkError, click.UsageError):
        return []  # no place for an error, in the middle of a line that is typed
    # bash puts them into the line as they are; zsh and fish quote them.
    in_bash = os.environ.get("_MEMCHUNK_COMPLETE") == "bash_complete"
    return bashwords.quoted(names, bashwords.typed(os.environ)) if in_bash else names


url_option = click.option(
    "--url",
    envvar="MEMCHUNK_URL",
    show_envvar=True,
    default=DEFAULT_URL,
    show_default=True,
    metavar="URL",
    help="Where the server is.",
)


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("-r", "--recursive", is_flag=True, help="Put all files in directories, too.")
@click.option(
    "--name",
    metavar="NAME",
    help="Call it NAME; with a slash at the end, put it (or them) into that folder.",
)
@click.option("-f", "--replace", is_flag=True, help="Replace what is there already.")
@click.option("--ttl", callback=duration, metavar="TIME", help="Let it expire: 90, 30m, 12h or 7d.")
@click.option(
    "--type",
    "content_type",
    callback=media_type,
    metavar="TYPE",
    help="Its media type.  [default: what the name's ending stands for]",
)
@url_option
def put(
    files: tuple[str, ...],
    recursive: bool,
    name: str | None,
    replace: bool,
    ttl: int | None,
    content_type: str | None,
    url: str,
) -> None:
    """Store files, each under its own name. `-` is standard input.

    \b
      memchunk put report.pdf                      as report.pdf
      memchunk put report.pdf --name 2026/q3.pdf   as 2026/q3.pdf
      memchunk put *.jpg --name photos/ --ttl 7d   as photos/..., for a week
      memchunk put -r site                         as site/index.html, site/css/...
      pg_dump shop | memchunk put - --name shop.sql -f
    """
    from memchunk import InvalidNameError
    from memchunk.names import check_name
    from memchunk_api.outcomes import for_each

    if len(files) > 1 and name is not None and not name.endswith("/"):
        raise click.UsageError("one --name cannot be for several files; end it with a slash")
    found = (each for file in files for each in local.find(file, name, recursive=recursive))

    with connected(url) as client:

        def send(item: local.Sendable | local.LocalError) -> None:
            if isinstance(item, local.LocalError):
                raise item
            try:
                check_name(item.name)
            except InvalidNameError as error:
                raise InvalidNameError(f"{item.path}: {error}, or use --name") from None
            source = sys.stdin.buffer if item.path is None else item.path
            with terminal.progress_bar(item.name) as progress:
                client.put(
                    item.name,
                    source,
                    replace=replace,
                    ttl=ttl,
                    content_type=content_type,
                    progress=progress,
                )

        for_each(found, send)


@click.command()
@click.argument("name", shell_complete=stored_names)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    type=click.Path(),
    help="Write to this file, into this directory, or to standard output (-).",
)
@click.option("-f", "--force", is_flag=True, help="Replace a local file.")
@url_option
def get(
    name: str,
    output: str | None,
    force: bool,
    url: str,
) -> None:
    """Get a file, by default into the current directory. All of it, or nothing.

    It is written under another name, and gets its own once every byte has proved right.

    \b
      memchunk get 2026/q3.pdf                     as q3.pdf
      memchunk get 2026/q3.pdf -o reports/         as reports/q3.pdf
      memchunk get shop.sql -o - | psql shop
    """
    target = local.target_of(name, output)
    with connected(url) as client:
        if output == STDOUT:
            printing.write_out(client.get(name))
        elif local.is_device(target):
            local.write_in_place(target, client.get(name))
        else:
            with (
                local.arriving(target, replace=force) as file,
                terminal.progress_bar(name) as progress,
            ):
                client.download(name, file, progress=progress)


@click.command()
@click.argument("prefix", default="", shell_complete=stored_names)
@click.option("-l", "--long", "in_full", is_flag=True, help="Show sha256 and times in full.")
@click.option("--json", "as_json", is_flag=True, help="Show all that is known, as JSON.")
@url_option
def ls(
    prefix: str,
    in_full: bool,
    as_json: bool,
    url: str,
) -> None:
    """List files whose names begin with PREFIX, or all.

    A table on a terminal; in a pipe one name per line, with -l columns divided by tabs.

    \b
      memchunk ls
      memchunk ls photos/
      memchunk ls photos/ | xargs -d '\\n' memchunk rm
    """
    with connected(url) as client:
        printing.print_list(client.list(prefix), in_full=in_full, as_json=as_json)


@click.command()
@click.argument("name", shell_complete=stored_names)
@click.option("--json", "as_json", is_flag=True, help="Show it as JSON.")
@url_option
def stat(
    name: str,
    as_json: bool,
    url: str,
) -> None:
    """Show what is known of a file, and whether all of it is there."""
    with connected(url) as client:
        printing.print_facts(client.stat(name), as_json=as_json)


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=stored_names)
@url_option
def rm(names: tuple[str, ...], url: str) -> None:
    """Delete files, whole or damaged."""
    from memchunk_api.outcomes import for_each

    with connected(url) as client:
        for_each(names, client.delete)


@click.command()
@click.argument("old", shell_complete=stored_names)
@click.argument("new", shell_complete=stored_names)
@click.option("-f", "--replace", is_flag=True, help="Replace a file that is called NEW.")
@url_option
def mv(
    old: str,
    new: str,
    replace: bool,
    url: str,
) -> None:
    """Give a file another name; where NEW ends with a slash, put it into that folder.

    \b
      memchunk mv q3.pdf 2026/q3-final.pdf
      memchunk mv q3.pdf 2026/                     as 2026/q3.pdf
    """
    target = new + old.rpartition("/")[2] if new.endswith("/") else new
    with connected(url) as client:
        client.rename(old, target, replace=replace)
