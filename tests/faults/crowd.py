"""Many clients that do everything at once, under few names, and say what they saw.

`Crowd` starts processes, each of which runs this module as a program: a store, and some
threads that call its verbs at random. They tell of each call before it begins and after
it has ended, so that of a process that was killed it is known what it was about to do.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import memchunk
from memchunk import MemchunkError, Store
from tests.faults.contents import check, check_part, contents
from tests.faults.history import Call

PROCESSES = 4
THREADS = 8
LARGEST_BYTES = 200_000
HEAD_BYTES = 200
TYPED = frozenset(
    (
        "not_found",
        "already_exists",
        "changed",
        "evicted",
        "corrupt",
        "upload_incomplete",
        "storage_full",
        "unavailable",
    )
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a round is about: who talks to what, for how long, and how patiently."""

    address: str
    namespace: str
    names: Sequence[str]
    seconds: float
    seed: int
    timeout: float = 5.0
    deadline: float = 60.0


class Crowd:
    """Processes of many threads each. A context manager."""

    def __init__(self, processes: int = PROCESSES) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        for _ in range(processes):
            self._spawn()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def _spawn(self) -> None:
        self._processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.crowd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def run(
        self, terms: Terms, meanwhile: Callable[[], list[Call]] = list
    ) -> tuple[list[Call], list[Call]]:
        """What all of them did and saw in a round, and what `meanwhile`, done here, returned."""
        told: list[list[str]] = [[] for _ in self._processes]
        listeners = [
            threading.Thread(target=_listen, args=pair)
            for pair in zip(self._processes, told, strict=True)
        ]
        for number, (process, listener) in enumerate(zip(self._processes, listeners, strict=True)):
            assert process.stdin is not None
            order = asdict(terms) | {"seed": terms.seed * 100 + number}
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            listener.start()
        happened = meanwhile()
        for listener in listeners:
            listener.join()
        self._replace_the_dead()
        calls = [call for number, lines in enumerate(told) for call in _calls(lines, str(number))]
        return calls, happened

    def kill_one(self) -> None:
        """End one of the processes at once (SIGKILL), in the middle of whatever it does."""
        self._processes[0].kill()

    def _replace_the_dead(self) -> None:
        dead = [process for process in self._processes if process.poll() is not None]
        for process in dead:
            process.communicate()
            self._processes.remove(process)
            self._spawn()


def _listen(process: subprocess.Popen[str], told: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line == "done\n":
            return
        told.append(line)


def _calls(lines: Sequence[str], process: str) -> list[Call]:
    """The calls that a process told of; those without an end were cut off."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(
        lambda: {"end": math.inf, "outcome": "cut off"}
    )
    for line in lines:
        with suppress(ValueError):  # a process that is killed may die while it speaks
            record = json.loads(line)
            found[record["who"]].update(record)
    return [Call(**(call | {"who": f"{process}:{who}"})) for who, call in found.items()]


def last_look(address: str, namespace: str, names: Sequence[str]) -> list[Call]:
    """What stands there in the end: every name has a whole file or none, by reading and listing."""
    with memchunk.connect(address, namespace=namespace) as store:
        start = time.monotonic()
        listed = {info.name: info.sha256 for info in store.list()}
        calls = [Call("list", "", start, time.monotonic(), listed=listed)]
        for name in names:
            start, value, outcome = time.monotonic(), None, "ok"
            try:
                data = store.get(name)
            except memchunk.NotFoundError:
                outcome = "not_found"
            else:
                check(data)
                value = hashlib.sha256(data).hexdigest()
            calls.append(Call("read", name, start, time.monotonic(), outcome, value))
        return calls


class Client:
    """One thread of a process: calls verbs at random, and tells."""

    def __init__(self, store: Store, terms: Terms, thread: int) -> None:
        self._store = store
        self._terms = terms
        self._dice = random.Random(terms.seed * 100 + thread)
        self._numbers = (f"{terms.seed}-{thread}-{turn}" for turn in itertools.count())

    def work(self) -> None:
        """Call one verb after the other until the time is over."""
        verbs = [
            (self._put, 3),
            (self._create, 3),
            (self._match, 1),
            (self._upload, 1),
            (self._read, 6),
            (self._delete, 2),
            (self._rename, 3),
            (self._list, 1),
        ]
        acts, weights = zip(*verbs, strict=True)
        stop = time.monotonic() + self._terms.seconds
        while time.monotonic() < stop:
            [act] = self._dice.choices(acts, weights)
            act(next(self._numbers), self._dice.choice(self._terms.names))
            time.sleep(self._dice.choice([0, 0, 0.003, 0.01]))

    def _call(self, verb: str, who: str, name: str, act: Callable[[], Any], **more: Any) -> None:
        """Do it, and tell of it. What `act` returns is told, too."""
        call = {"verb": verb, "name": name, "who": who, "start": time.monotonic(), **more}
        _tell(call)
        try:
            result = act()
        except MemchunkError as error:
            result = {"outcome": error.code}
        except BaseException as error:
            result = {"outcome": f"{type(error).__name__}: {error}"}
        _tell({"who": who, "outcome": "ok"} | result | {"end": time.monotonic()})

    def _new(self, who: str) -> tuple[bytes, str]:
        """Contents that nobody else writes, and their sha256."""
        size = int(LARGEST_BYTES ** self._dice.random())
        data = contents(who, size)
        return data, hashlib.sha256(data).hexdigest()

    def _ttl(self) -> int | None:
        return self._dice.choice([None, None, 1000])

    def _put(self, who: str, name: str) -> None:
        data, sha256 = self._new(who)
        ttl = self._ttl()

        def act() -> dict[str, Any]:
            self._store.put(name, data, replace=True, ttl=ttl)
            return {}

        self._call("put", who, name, act, value=sha256)

    def _create(self, who: str, name: str) -> None:
        data, sha256 = self._new(who)
        ttl = self._ttl()

        def act() -> dict[str, Any]:
            self._store.put(name, data, ttl=ttl)
            return {}

        self._call("create", who, name, act, value=sha256)

    def _match(self, who: str, name: str) -> None:
        data, sha256 = self._new(who)
        over = "0" * 64
        with suppress(MemchunkError):
            over = self._store.stat(name).sha256

        def act() -> dict[str, Any]:
            self._store.put(name, data, if_match=[over])
            return {}

        self._call("match", who, name, act, value=sha256, over=over)

    def _upload(self, who: str, name: str) -> None:
        data, sha256 = self._new(who)
        part_size = self._dice.choice([7_000, 60_000])
        replace = self._dice.random() < 0.5

        def act() -> dict[str, Any]:
            uploads = self._store.uploads
            try:
                upload = uploads.create(name, len(data), part_size, sha256, replace=replace)
                for index in range(upload.part_count):
                    part = data[index * part_size : (index + 1) * part_size]
                    uploads.put_part(upload.id, index, part)
                uploads.finish(upload.id)
            except memchunk.NotFoundError:  # of the upload, not of the file
                return {"outcome": "upload_incomplete"}
            return {}

        self._call("put" if replace else "create", who, name, act, value=sha256)

    def _read(self, who: str, name: str) -> None:
        how = self._dice.choice([self._get, self._into, self._seek, self._stat, self._touch])
        self._call("read", who, name, lambda: how(name))

    def _get(self, name: str) -> dict[str, Any]:
        data = self._store.get(name)
        return self._checked(data)

    def _into(self, name: str) -> dict[str, Any]:
        buffer = bytearray(LARGEST_BYTES + HEAD_BYTES)
        length = self._store.read_into(name, buffer)
        return self._checked(bytes(buffer[:length]))

    def _checked(self, data: bytes) -> dict[str, Any]:
        check(data)
        return {"value": hashlib.sha256(data).hexdigest()}

    def _seek(self, name: str) -> dict[str, Any]:
        with self._store.open(name) as file:
            beginning = file.read(HEAD_BYTES)
            for _ in range(3):
                start = self._dice.randrange(LARGEST_BYTES)
                file.seek(start)
                check_part(file.read(5000), start, beginning)
            return {"value": file.raw.info.sha256}  # type: ignore[attr-defined]

    def _stat(self, name: str) -> dict[str, Any]:
        return {"value": self._store.stat(name).sha256}

    def _touch(self, name: str) -> dict[str, Any]:
        if self._dice.random() < 0.5:
            return {"value": self._store.touch(name, ttl=self._ttl()).sha256}
        content_type = self._dice.choice(["text/plain", "image/png"])
        return {"value": self._store.update(name, content_type=content_type).sha256}

    def _delete(self, who: str, name: str) -> None:
        def act() -> dict[str, Any]:
            self._store.delete(name)
            return {}

        self._call("delete", who, name, act)

    def _rename(self, who: str, name: str) -> None:
        new = self._dice.choice([other for other in self._terms.names if other != name])
        replace = self._dice.random() < 0.5

        def act() -> dict[str, Any]:
            return {"value": self._store.rename(name, new, replace=replace).sha256}

        self._call("replace" if replace else "rename", who, name, act, new_name=new)

    def _list(self, who: str, name: str) -> None:
        def act() -> dict[str, Any]:
            return {"listed": {info.name: info.sha256 for info in self._store.list()}}

        self._call("list", who, name, act)


def _tell(record: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(record).encode() + b"\n")  # at once, whole


def main() -> None:
    """Do what each line of stdin says."""
    for line in sys.stdin:
        terms = Terms(**json.loads(line))
        with memchunk.connect(
            terms.address,
            namespace=terms.namespace,
            timeout=terms.timeout,
            connect_timeout=terms.timeout,
            deadline=terms.deadline,
        ) as store:
            clients = [Client(store, terms, number) for number in range(THREADS)]
            threads = [threading.Thread(target=client.work) for client in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            _catch_up(store)
        os.write(sys.stdout.fileno(), b"done\n")


def _catch_up(store: Store) -> None:
    """Let the store free what it could not free before: it does so when it next writes."""
    for _ in range(50):
        with suppress(MemchunkError):
            store.put(f"last words of {os.getpid()}", b"", replace=True)
            store.put(f"last words of {os.getpid()}", b"", replace=True)
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main()
