"""Benchmarks: every figure beside a peer's in the same run, as a ratio. Run by `make bench`."""
