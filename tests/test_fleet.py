"""Many servers: what lives where, and what happens when one of them is away."""

from __future__ import annotations

import math
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

import memchunk
from memchunk import NotFoundError, Store, UnavailableError
from memchunk.backend import Backend
from memchunk.breaker import PAUSE_SECONDS
from memchunk.layout import CHUNK_BYTES
from memchunk.names import chunk_key, manifest_key
from memchunk.wire import Terms
from tests.items import Items
from tests.relay import Relay
from tests.servers import LocalMemcached
from tests.together import together

Start = Callable[..., LocalMemcached]

MARGIN_SECONDS = 5  # for a busy machine


@pytest.fixture
def three(start_memcached: Start) -> list[LocalMemcached]:
    return [start_memcached("-m", "128") for _ in range(3)]


def connected(servers: list[LocalMemcached], **options: float) -> Store:
    return memchunk.connect([server.address for server in servers], **options)  # type: ignore[arg-type]


def backend(addresses: list[str]) -> Backend:
    return Backend(addresses, "mc1", Terms(5, 2, 60))


def addresses(count: int) -> list[str]:
    return [f"10.0.0.{number}:11211" for number in range(1, count + 1)]


def generations(count: int) -> list[str]:
    chance = random.Random(count)
    return [f"{chance.getrandbits(128):032x}" for _ in range(count)]


@contextmanager
def hung(server: LocalMemcached) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


# --- placement ---


def test_all_chunks_of_a_file_are_on_one_server() -> None:
    fleet = backend(addresses(7))
    for generation in generations(50):
        keys = [chunk_key("mc1", generation, index) for index in range(101)]
        assert {fleet.server_of(key) for key in keys} == {fleet.server_of_chunks(generation)}


@pytest.mark.parametrize("count", [3, 7])
@pytest.mark.parametrize(
    "made", [addresses, lambda count: [f"unix:/run/{n}" for n in range(count)]]
)
def test_equal_files_are_spread_evenly(count: int, made: Callable[[int], list[str]]) -> None:
    """Of 1,000 equal files, no server has more than 1.25 times the mean of bytes."""
    fleet = backend(made(count))
    chunks = Counter(fleet.server_of_chunks(each).address for each in generations(1000))
    manifests = Counter(fleet.server_of(manifest_key("mc1", f"f{n}")).address for n in range(1000))
    for each in (chunks, manifests):
        assert len(each) == count
        assert max(each.values()) <= 1.25 * 1000 / count


def test_another_server_takes_only_its_share() -> None:
    before, after = backend(addresses(3)), backend(addresses(4))
    moved = Counter(
        after.server_of_chunks(each).address
        for each in generations(1000)
        if before.server_of_chunks(each).address != after.server_of_chunks(each).address
    )
    assert list(moved) == [addresses(4)[-1]]
    assert 0.75 * 1000 / 4 <= moved.total() <= 1.25 * 1000 / 4


def test_the_order_of_the_servers_does_not_matter() -> None:
    one, other = backend(addresses(3)), backend(addresses(3)[::-1])
    for each in generations(100):
        assert one.server_of_chunks(each).address == other.server_of_chunks(each).address


def test_a_thousand_files_on_three_servers_one_of_which_dies(three: list[LocalMemcached]) -> None:
    """None holds more than 1.25 times the mean, and a third of the files is lost, not all."""
    size = 20_000
    with connected(three) as store:
        for number in range(1000):
            store.put(f"f{number}", bytes(size))
        held = [bytes_on(server) for server in three]
        assert sum(held) > 1000 * size
        assert max(held) <= 1.25 * sum(held) / 3

        three[0].kill()
        read = Counter[str]()
        for number in range(1000):
            try:
                assert store.get(f"f{number}") == bytes(size)
                read["whole"] += 1
            except UnavailableError as error:
                assert error.server == three[0].address
                read["away"] += 1
        assert 0.25 <= read["away"] / 1000 <= 0.42


def test_a_file_is_on_the_server_of_its_manifest(three: list[LocalMemcached]) -> None:
    with connected(three) as store:
        fleet = store._backend
        for number in range(100):
            generation = fleet.new_generation(f"f{number}")
            home = fleet.server_of(manifest_key("mc1", f"f{number}"))
            assert fleet.server_of_chunks(generation) is home


def bytes_on(server: LocalMemcached) -> int:
    from pymemcache.client.base import Client

    with closing(Client(server.address)) as client:
        return int(client.stats()[b"bytes"])


# --- one server away ---


def names_on(store: Store, server: LocalMemcached, count: int = 3) -> list[str]:
    """Names whose manifests live on `server`."""
    fleet = store._backend
    named = (f"f{number}" for number in range(10_000))
    here = (n for n in named if fleet.server_of(manifest_key("mc1", n)).address == server.address)
    return [next(here) for _ in range(count)]


def test_what_lives_on_a_dead_server_is_unavailable_and_the_rest_goes_on(
    three: list[LocalMemcached],
) -> None:
    dead, alive, _ = three
    with connected(three) as store:
        [lost] = names_on(store, dead, 1)
        store.put(lost, b"old")
        dead.kill()
        verbs: list[Callable[[], object]] = [
            lambda: store.get(lost),
            lambda: store.stat(lost),
            lambda: lost in store,
            lambda: store.put(lost, b"new", replace=True),
            lambda: store.delete(lost),
            lambda: list(store.list()),
            store.check,
        ]
        for verb in verbs:
            with pytest.raises(UnavailableError) as caught:
                verb()
            assert caught.value.server == dead.address
        for name in names_on(store, alive, 10):
            store.put(name, b"content")
            assert store.get(name) == b"content"
            store.delete(name)
        dead.start()
        time.sleep(PAUSE_SECONDS)
        with pytest.raises(NotFoundError):  # it came back empty, and nothing was kept elsewhere
            store.get(lost)


def test_a_server_that_hangs_is_waited_for_once(three: list[LocalMemcached]) -> None:
    hanging = three[0]
    with connected(three, timeout=1) as store, hung(hanging):
        lost = names_on(store, hanging, 1)[0]
        with pytest.raises(UnavailableError, match="did not answer within 1 s"):
            store.get(lost)
        errors = []
        for _ in range(50):
            with pytest.raises(UnavailableError, match="did not answer") as caught:
                store.get(lost)
            assert caught.value.server == hanging.address
            errors.append(str(caught.value))
        # a busy machine may take so long over this that one more has to try
        assert sum("a moment ago" in error for error in errors) >= 48


def test_of_many_callers_one_tries_a_server_that_hangs(three: list[LocalMemcached]) -> None:
    hanging = three[0]
    with connected(three, timeout=1) as store, hung(hanging):
        lost = names_on(store, hanging, 1)[0]
        with pytest.raises(UnavailableError):
            store.get(lost)
        time.sleep(PAUSE_SECONDS)
        errors = together(*(8 * [lambda: store.get(lost)]))
        assert all(isinstance(error, UnavailableError) for error in errors)
        assert sum("a moment ago" not in str(error) for error in errors) == 1


@pytest.mark.parametrize("hangs", [False, True])
def test_back_again_it_is_used_within_seconds(three: list[LocalMemcached], hangs: bool) -> None:
    server = three[0]
    with connected(three, timeout=1, connect_timeout=1) as store:
        [name] = names_on(store, server, 1)
        store.put(name, b"content")
        (server.pause if hangs else server.kill)()
        with pytest.raises(UnavailableError):
            store.get(name)
        (server.resume if hangs else server.start)()
        until = time.monotonic() + MARGIN_SECONDS
        while True:
            try:
                store.put(name, b"more", replace=True)
                break
            except UnavailableError:
                assert time.monotonic() < until
                time.sleep(0.05)
        assert store.get(name) == b"more"


@pytest.mark.parametrize("verb", ["put", "reindex"])
def test_whatever_is_asked_first_closes_the_breaker(start_memcached: Start, verb: str) -> None:
    server = start_memcached()
    with memchunk.connect(server.address) as store:
        server.kill()
        with pytest.raises(UnavailableError):
            store.put("f", b"x" * 600_000)
        server.start()
        time.sleep(PAUSE_SECONDS)
        if verb == "reindex":
            next(iter(store._backend.servers.values())).items("mc1")
        store.put("f", b"x" * 600_000)  # asks for the server's settings, then goes on


def test_check_asks_a_server_that_was_away_a_moment_ago(three: list[LocalMemcached]) -> None:
    with connected(three) as store:
        [name] = names_on(store, three[0], 1)
        three[0].kill()
        with pytest.raises(UnavailableError):
            store.get(name)
        three[0].start()
        store.check()
        with pytest.raises(NotFoundError):
            store.get(name)


def test_a_restart_between_two_calls_is_no_failure(three: list[LocalMemcached]) -> None:
    """A connection that broke while nobody used it says nothing about the server."""
    with connected(three) as store:
        names = [name for server in three for name in names_on(store, server, 1)]
        for name in names:
            store.put(name, b"content", replace=True)
        for server in three:
            server.restart()
        for name in names:
            with pytest.raises(NotFoundError):
                store.get(name)


@pytest.mark.parametrize("spoil", [Relay.garble_after, Relay.cut_after])
def test_nonsense_and_hanging_up_are_no_absence(
    memcached_address: str, namespace: str, spoil: Callable[[Relay, int], None]
) -> None:
    """A surprise on one connection keeps nobody from using another."""
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        store.put("f", b"content")
        spoil(relay, 0)
        with pytest.raises(UnavailableError):
            store.get("f")
        relay.clear()
        assert store.get("f") == b"content"


def test_a_fork_knows_nothing_of_its_parents_failures(start_memcached: Start) -> None:
    server = start_memcached()
    with memchunk.connect(server.address) as store:
        store.put("f", b"content")
        server.kill()
        with pytest.raises(UnavailableError):
            store.get("f")
        server.start()
        store._backend.servers[
            server.address
        ]._state.lock.acquire()  # by a thread that is not forked
        child = os.fork()
        if child == 0:
            try:
                store.get("f")
            except NotFoundError:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_chunks_that_could_not_be_freed_are_freed_once_their_server_is_back(
    memcached_address: str, namespace: str
) -> None:
    items = Items(memcached_address, namespace)
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        store.put("f", bytes(100_000))
        relay.hang_up_on(b"delete ")
        store.delete("f")
        assert len(items.chunks()) == 1
        relay.clear()
        store.put("g", b"next")
        assert items.chunks() == [items.chunk_key("g", 0)]
    items.close()


def test_mg_is_not_given_up_for_a_server_that_died_while_asked(
    memcached_address: str, namespace: str
) -> None:
    with (
        Relay(memcached_address) as relay,
        memchunk.connect(relay.address, namespace=namespace) as store,
    ):
        store.put("f", bytes(100))
        relay.hang_up_on(b"mg ")
        assert store.stat("f").size == 100
        relay.clear()
        relay.commands.clear()
        store.stat("f")
        assert relay.commands == {"gets": 1, "mg": 1}


# --- deadlines ---


@contextmanager
def trickling(pause: float) -> Iterator[str]:
    """The address of a server that answers each byte `pause` seconds after the one before."""
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                try:
                    while not stop.wait(pause):
                        connection.sendall(b"V")
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield "127.0.0.1:{1}".format(*listener.getsockname())
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_server_that_trickles_does_not_hold_a_call_beyond_its_deadline() -> None:
    """At 20 bytes a second, a reply line of 2,048 bytes would take 100 seconds."""
    with trickling(0.05) as address:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="did not answer within 0.5 s"):
            memchunk.connect(address, deadline=0.5).get("f")
        assert time.monotonic() - began < MARGIN_SECONDS


def test_a_deadline_shorter_than_the_timeout_ends_the_wait(start_memcached: Start) -> None:
    server = start_memcached()
    with memchunk.connect(server.address, timeout=60, deadline=0.3) as store:
        store.put("f", b"content")
        with hung(server):
            began = time.monotonic()
            with pytest.raises(UnavailableError, match=r"did not answer within 0\.3 s"):
                store.get("f")
            assert time.monotonic() - began < MARGIN_SECONDS
        assert store.get("f") == b"content"


def test_the_next_call_has_all_its_time_again(memcached_address: str, namespace: str) -> None:
    with memchunk.connect(memcached_address, namespace=namespace, deadline=1) as store:
        store.put("f", b"content")
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert store.get("f") == b"content"
            time.sleep(0.1)


class Slow:
    """A source that takes its time."""

    def __init__(self, pauses: int, seconds: float) -> None:
        self.left, self.seconds = pauses, seconds

    def read(self, size: int) -> bytes:
        if not self.left:
            return b""
        self.left -= 1
        time.sleep(self.seconds)
        return bytes(1000)


def test_the_time_that_a_source_takes_does_not_count(
    memcached_address: str, namespace: str
) -> None:
    with memchunk.connect(memcached_address, namespace=namespace, deadline=0.5) as store:
        assert store.put("f", Slow(4, 0.3)).size == 4000

        def buffer_for(info: memchunk.FileInfo) -> bytearray:
            time.sleep(0.7)
            return bytearray(info.size)

        store.put("large", bytes(CHUNK_BYTES))  # it does not come before its buffer is known
        assert store.read_into("large", buffer_for) == CHUNK_BYTES


def test_a_source_may_use_the_store_itself(memcached_address: str, namespace: str) -> None:
    with memchunk.connect(memcached_address, namespace=namespace, deadline=5) as store:
        content = os.urandom(2_000_000)
        store.put("f", content)
        with store.open("f") as source:
            store.put("g", source)
        assert store.get("g") == content


def test_without_a_deadline_a_call_takes_as_long_as_it_goes_on(
    memcached_address: str, namespace: str
) -> None:
    with memchunk.connect(memcached_address, namespace=namespace, deadline=None) as store:
        store.put("f", b"content")
        assert store.get("f") == b"content"


@pytest.mark.parametrize("seconds", [math.inf, 1e10])
def test_any_time_may_be_as_long_as_it_goes_on(
    memcached_address: str, namespace: str, seconds: float
) -> None:
    with memchunk.connect(
        memcached_address,
        namespace=namespace,
        timeout=seconds,
        connect_timeout=seconds,
        deadline=None,
    ) as store:
        store.put("f", b"content")
        assert store.get("f") == b"content"


@pytest.mark.parametrize("bad", [0, -1, 0.0001, float("nan")])
@pytest.mark.parametrize("which", ["timeout", "connect_timeout", "deadline"])
def test_a_time_that_cannot_be_kept_is_refused(which: str, bad: float) -> None:
    with pytest.raises(ValueError, match=r"at least 0\.001 seconds"):
        memchunk.connect("127.0.0.1:11211", **{which: bad})  # type: ignore[arg-type]
