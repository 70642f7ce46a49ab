"""`python -m memchunk_api` is the `memchunk` command."""

from memchunk_api.cli import main

main(prog_name="memchunk")
