"""Whether what many clients saw, at the same time, can have been so.

Each name is a register: it holds a file (told by its sha256) or nothing. Each call took
effect on a name at one moment between its start and its end. A history is right where
for each name there is an order of these moments in which everybody saw what was there
(linearizability; the search is that of Wing and Gong, with Lowe's memory of states
already tried). A call whose outcome nobody learned may have taken effect at any moment
after its start, or never.
A rename is two such moments: the file appears under its new name, then it goes from its
old one. So is a listing one for each name, but it may omit a file that is still being stored.
Nothing is claimed across names.
Pure: calls in, objections out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

UNKNOWN_OUTCOMES = ("unavailable", "storage_full", "cut off")

Value = str | None  # the sha256 of a file, or None where there is none
SOME_FILE = "some file"  # nobody knows which
ANYTHING = "anything"  # some file or none
AS_IT_WAS = "as it was"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one client, on the monotonic clock that all share.

    Attributes:
        verb: `read`, `put`, `create`, `match` (a put with if_match), `delete`, `rename`,
            `replace` (a rename over a file), `list`, `find` (a listing that may omit names),
            or `wipe` (memcached lost everything).
        outcome: "ok", or the code of the error that was raised.
        value: the file that was read, written or renamed, as far as the client knows.
        over: for `match`: the file that was to be replaced.
        listed: for `list`: what was listed.
    """

    verb: str
    name: str
    start: float
    end: float
    outcome: str = "ok"
    value: Value = None
    over: Value = None
    new_name: str = ""
    listed: Mapping[str, str] = field(default_factory=dict)
    who: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What a call saw of one name, and left there, at one moment from `start` to `end`.

    Attributes:
        sees: what stood there: a file, None, SOME_FILE or ANYTHING.
        but_not: the file that did not.
        leaves: what stands there afterwards: a file, None, SOME_FILE or AS_IT_WAS.
        certain: whether it has taken place at all.
        overlooks: files that may have stood there although it saw None.
    """

    call: Call
    start: float
    end: float
    sees: Value
    leaves: Value = AS_IT_WAS
    but_not: Value = ANYTHING
    certain: bool = True
    overlooks: frozenset[Value] = frozenset()

    def fits(self, value: Value) -> bool:
        """Whether it can take place while `value` stands there."""
        if value in self.overlooks:
            return True
        if self.sees is None or value is None:
            return self.sees == value or self.sees == ANYTHING
        is_that = self.sees in (ANYTHING, SOME_FILE, value) or value == SOME_FILE
        return is_that and value != self.but_not

    def after(self, value: Value) -> Value:
        """What stands there afterwards, where that was `value`."""
        if self.leaves != AS_IT_WAS:
            return self.leaves
        known = value == SOME_FILE and self.sees not in (ANYTHING, SOME_FILE)
        return self.sees if known else value


def objections(history: Iterable[Call], names: Collection[str]) -> list[str]:
    """What is wrong with a history that began with nothing under these `names`."""
    steps: defaultdict[str, list[Step]] = defaultdict(list)
    calls = list(history)
    for call in calls:
        for name, step in _steps(call, names):
            omits = call.verb == "list" and step.sees is None
            overlooks = _being_stored(name, call, calls) if omits else frozenset()
            steps[name].append(replace(step, overlooks=overlooks))
    found = ((name, _first_misfit(steps[name])) for name in sorted(steps))
    return [f"{name!r}: no order explains {misfit}" for name, misfit in found if misfit]


def _being_stored(name: str, listing: Call, calls: Sequence[Call]) -> frozenset[Value]:
    """The files whose writers were not done when the listing began.

    One may have been read already, and is not listed yet: a file is entered in the journal
    once it stands, before its writer is told so.
    """
    return frozenset(
        call.value
        for call in calls
        if call.outcome == "ok"
        and name == (call.new_name if call.verb in ("rename", "replace") else call.name)
        and call.verb in ("put", "create", "match", "rename", "replace")
        and call.start < listing.end
        and call.end > listing.start
    )


def _steps(call: Call, names: Collection[str]) -> Iterator[tuple[str, Step]]:
    """What a call did to each name that it was about."""
    if call.outcome in UNKNOWN_OUTCOMES:
        for name, each in _steps(replace(call, outcome="ok", end=math.inf), names):
            if each.leaves != AS_IT_WAS:
                leaves = each.leaves or (SOME_FILE if name == call.new_name else None)
                yield name, replace(each, call=call, sees=ANYTHING, leaves=leaves, certain=False)
        return

    def step(sees: Value, leaves: Value = AS_IT_WAS, but_not: Value = ANYTHING) -> Step:
        return Step(call, call.start, call.end, sees, leaves, but_not)

    match call.verb, call.outcome:
        case "list", "ok":
            for name in names:
                yield name, step(call.listed.get(name))
        case "find", "ok":
            for name in set(names) & set(call.listed):
                yield name, step(call.listed[name])
        case "wipe", _:
            for name in names:
                yield name, step(ANYTHING, leaves=None)
        case "read", "ok":
            yield call.name, step(call.value)
        case "put", "ok":
            yield call.name, step(ANYTHING, leaves=call.value)
        case "create", "ok":
            yield call.name, step(None, leaves=call.value)
        case "match", "ok":
            yield call.name, step(call.over, leaves=call.value)
        case "match", "changed":
            yield call.name, step(SOME_FILE, but_not=call.over)
        case "delete", "ok":
            yield call.name, step(SOME_FILE, leaves=None)
        case "rename", "ok":
            yield call.name, step(call.value, leaves=None)
            yield call.new_name, step(None, leaves=call.value)
        case "replace", "ok":
            yield call.name, step(call.value, leaves=None)
            yield call.new_name, step(ANYTHING, leaves=call.value)
        case "rename", "already_exists":
            yield call.new_name, step(SOME_FILE)
        case _, "already_exists":
            yield call.name, step(SOME_FILE)
        case _, "not_found":
            yield call.name, step(None)


def _first_misfit(unsorted: Iterable[Step]) -> Call | None:
    """The call that fits into no order of these steps; None where there is an order.

    Where several do not fit together, it is the one where the search got stuck furthest on.
    """
    steps = sorted(unsorted, key=lambda step: step.start)
    everything = sum(1 << i for i, step in enumerate(steps) if step.certain)
    tried: set[tuple[int, Value]] = set()
    ways: list[tuple[int, Value]] = [(0, None)]
    stuck, furthest = None, -math.inf
    while ways:
        done, value = ways.pop()
        # a step that changes nothing can be taken as soon as it fits: it is in nobody's way
        possible = _possible(steps, done)
        while idle := [i for i in possible if _is_idle(steps[i], value)]:
            done |= sum(1 << i for i in idle)
            possible = _possible(steps, done)
        if done & everything == everything:
            return None
        if (done, value) in tried:
            continue
        tried.add((done, value))
        due = min((steps[i] for i in possible if steps[i].certain), key=lambda step: step.end)
        if due.end > furthest:
            stuck, furthest = due.call, due.end
        fitting = [i for i in possible if steps[i].fits(value)]
        # what stands last is tried first: what is certain, and ended early
        fitting.sort(key=lambda i: (steps[i].certain, -steps[i].end))
        ways += [(done | 1 << i, steps[i].after(value)) for i in fitting]
    return stuck


def _is_idle(step: Step, value: Value) -> bool:
    return step.leaves == AS_IT_WAS and step.fits(value) and step.after(value) == value


def _possible(steps: Sequence[Step], done: int) -> list[int]:
    """The steps that may come next: none that is still to come ended before they began."""
    possible: list[int] = []
    earliest = math.inf
    for i, step in enumerate(steps):
        if step.start > earliest:
            break
        if not done >> i & 1:
            possible.append(i)
            if step.certain:
                earliest = min(earliest, step.end)
    return possible
