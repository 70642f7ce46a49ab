"""200 clients that send and read one byte per second, beside others that do not."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.faults.dawdlers import Dawdlers
from tests.http.serving import Server

EACH = 67  # of three kinds
MOST_SECONDS = 5  # that any other request may take, on a machine that is busy with other things
GIVEN_UP_SECONDS = 60  # with headers and reading after 30 s: a byte per second earns nothing

REQUESTS: list[tuple[str, str, bytes | None]] = [
    ("GET", "/livez", None),
    ("PUT", "/files/small", b"x" * 1000),
    ("GET", "/files/small", None),
    ("PUT", "/files/large", b"x" * 1_000_000),
    ("GET", "/files/large", None),
]


def test_slow_clients_keep_nobody_waiting_and_are_given_up(
    serve: Callable[..., Server], memcached_address: str, namespace: str, torture: int
) -> None:
    server = serve(
        SERVERS=memcached_address,
        NAMESPACE=namespace,
        WORKERS="2",
        BODY_TIMEOUT="10",
        BUFFER_MEMORY="512",  # MiB: also where nearly all of them come to the same worker
    )
    with server.client() as http:
        http.put("/files/big", content=bytes(5_000_000)).raise_for_status()
    taken: list[float] = []
    for _ in range(torture):
        cut_before = _cut_downloads(server)
        with Dawdlers(server.port, each=EACH, large_file="big") as dawdlers:
            started = time.monotonic()
            while _cut_downloads(server) - cut_before < EACH or dawdlers.waits("headers", "body"):
                assert time.monotonic() - started < GIVEN_UP_SECONDS
                for method, path, content in REQUESTS:
                    # each on a connection of its own
                    with server.client(timeout=MOST_SECONDS) as http:
                        begun = time.monotonic()
                        assert http.request(method, path, content=content).is_success
                        taken.append(time.monotonic() - begun)
                time.sleep(0.1)
            assert {each.status for each in dawdlers.all if each.what == "body"} == {408}
            assert {each.status for each in dawdlers.all if each.what == "headers"} == {None}
    print(
        f"{len(taken)} requests beside {3 * EACH} slow clients: median "
        f"{statistics.median(taken):.3f} s, longest {max(taken):.3f} s"
    )


def _cut_downloads(server: Server) -> int:
    return server.log().count('"aborted": true')
