"""The `memchunk` command, also as `python -m memchunk_api`."""

from __future__ import annotations

import sys

from memchunk_api import streams


def main() -> None:
    """Run the command line; Ctrl-C is told of by the verbs, and before there is one by nobody."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    """Run the command line, or say what to install for it."""
    streams.mend()
    try:
        from memchunk_api.cli import main as command
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("memchunk"):
            raise
        sys.exit(
            f"memchunk: there is no {error.name} here; install memchunk with its extra 'http', "
            "in its checkout by: pip install '.[http]'"
        )
    command(prog_name="memchunk")


if __name__ == "__main__":
    main()
