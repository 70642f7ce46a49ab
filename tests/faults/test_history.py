"""The history checker lets right histories pass, and no other."""

from __future__ import annotations

import random

import pytest

from tests.faults.history import Call, objections

NAMES = ("a", "b")


def call(verb: str, start: float, end: float, outcome: str = "ok", **more: object) -> Call:
    return Call(verb, str(more.pop("name", "a")), start, end, outcome, **more)  # type: ignore[arg-type]


PUT_1 = call("put", 0, 1, value="1")

RIGHT = {
    "nothing": [],
    "a read of what was put": [PUT_1, call("read", 2, 3, value="1")],
    "a read during a put sees it": [call("put", 0, 9, value="1"), call("read", 2, 3, value="1")],
    "or not yet": [call("put", 0, 9, value="1"), call("read", 2, 3, "not_found")],
    "two puts at once, in either order": [
        call("put", 0, 9, value="1"),
        call("put", 0, 9, value="2"),
        call("read", 10, 11, value="1"),
    ],
    "one of two creators": [
        call("create", 0, 9, value="1"),
        call("create", 0, 9, "already_exists", value="2"),
    ],
    "two creators and a delete between": [
        call("create", 0, 9, value="1"),
        call("delete", 0, 9),
        call("create", 0, 9, value="2"),
    ],
    "a rename": [
        PUT_1,
        call("rename", 2, 5, value="1", new_name="b"),
        call("read", 3, 4, value="1"),
        call("read", 3, 4, name="b", value="1"),
        call("read", 6, 7, "not_found"),
        call("read", 6, 7, name="b", value="1"),
    ],
    "a put that may have happened, and did": [
        call("put", 0, 1, "unavailable", value="1"),
        call("read", 2, 3, value="1"),
    ],
    "or did later": [
        call("put", 0, 1, "unavailable", value="1"),
        call("read", 2, 3, "not_found"),
        call("read", 4, 5, value="1"),
    ],
    "or never did": [
        call("put", 0, 1, "unavailable", value="1"),
        call("read", 2, 3, "not_found"),
    ],
    "a rename that may have happened": [
        PUT_1,
        call("replace", 2, 3, "unavailable", new_name="b"),
        call("read", 4, 5, value="1"),
        call("read", 4, 5, name="b", value="1"),
    ],
    "a listing": [PUT_1, call("list", 2, 3, listed={"a": "1"})],
    "a listing without what is being stored": [
        call("put", 0, 9, value="1"),
        call("read", 2, 3, value="1"),
        call("list", 4, 5),
        call("read", 6, 7, value="1"),
    ],
    "a listing that may omit names": [PUT_1, call("find", 2, 3)],
    "a loss of everything": [PUT_1, call("wipe", 2, 3), call("read", 4, 5, "not_found")],
    "a match": [PUT_1, call("match", 2, 3, over="1", value="2"), call("read", 4, 5, value="2")],
    "no match": [PUT_1, call("match", 2, 3, "changed", over="2", value="3")],
}

WRONG = {
    "a read of what nobody put": [call("read", 0, 1, value="1")],
    "a read before the put": [call("read", 0, 1, value="1"), call("put", 2, 3, value="1")],
    "a miss after the put": [PUT_1, call("read", 2, 3, "not_found")],
    "a stale read": [PUT_1, call("put", 2, 3, value="2"), call("read", 4, 5, value="1")],
    "two readers who disagree on the order": [
        call("put", 0, 1, value="1"),
        call("put", 0, 1, value="2"),
        call("read", 2, 3, value="1"),
        call("read", 4, 5, value="2"),
    ],
    "a read of what was deleted": [PUT_1, call("delete", 2, 3), call("read", 4, 5, value="1")],
    "a read that comes and goes": [
        call("put", 0, 9, value="1"),
        call("read", 2, 3, value="1"),
        call("read", 4, 5, "not_found"),
    ],
    "two creators who both succeed": [
        call("create", 0, 9, value="1"),
        call("create", 0, 9, value="2"),
    ],
    "a creator who was refused for nothing": [call("create", 0, 1, "already_exists", value="1")],
    "two deletes of one file": [PUT_1, call("delete", 2, 9), call("delete", 2, 9)],
    "a delete of nothing": [call("delete", 0, 1)],
    "a rename that leaves its origin": [
        PUT_1,
        call("rename", 2, 5, value="1", new_name="b"),
        call("read", 6, 7, value="1"),
    ],
    "a rename that arrives nowhere": [
        PUT_1,
        call("rename", 2, 5, value="1", new_name="b"),
        call("read", 6, 7, "not_found", name="b"),
    ],
    "a rename over a file that was there": [
        PUT_1,
        call("put", 0, 1, name="b", value="2"),
        call("rename", 2, 5, value="1", new_name="b"),
    ],
    "a rename that brings another file": [
        PUT_1,
        call("replace", 2, 5, value="1", new_name="b"),
        call("read", 6, 7, name="b", value="2"),
    ],
    "a put that may have happened twice": [
        call("put", 0, 1, "unavailable", value="1"),
        call("read", 2, 3, value="1"),
        call("delete", 4, 5),
        call("read", 6, 7, value="1"),
    ],
    "a put that may have happened before its time": [
        call("read", 0, 1, value="1"),
        call("put", 2, 3, "unavailable", value="1"),
    ],
    "a rename that may have happened, and took two files away": [
        PUT_1,
        call("replace", 2, 3, "unavailable", new_name="b"),
        call("read", 4, 5, "not_found"),
        call("put", 6, 7, value="2"),
        call("read", 8, 9, "not_found"),
    ],
    "a listing without what is there": [PUT_1, call("list", 2, 3)],
    "a listing without what was there before another was being stored": [
        PUT_1,
        call("list", 2, 4),
        call("read", 5, 6, value="1"),
        call("put", 3, 9, value="2"),
    ],
    "a listing with what was never there": [call("list", 2, 3, listed={"b": "1"})],
    "a listing of what was replaced": [
        PUT_1,
        call("put", 2, 3, value="2"),
        call("list", 4, 5, listed={"a": "1"}),
    ],
    "a finding of what was never there": [call("find", 2, 3, listed={"b": "1"})],
    "a file that outlived the loss of everything": [
        PUT_1,
        call("wipe", 2, 3),
        call("read", 4, 5, value="1"),
    ],
    "a match of another file": [PUT_1, call("match", 2, 3, over="2", value="3")],
    "no match of the very file": [PUT_1, call("match", 2, 3, "changed", over="1", value="3")],
}


@pytest.mark.parametrize("history", RIGHT.values(), ids=RIGHT)
def test_what_can_have_been(history: list[Call]) -> None:
    assert objections(history, NAMES) == []
    assert objections(history[::-1], NAMES) == []


@pytest.mark.parametrize("history", WRONG.values(), ids=WRONG)
def test_what_cannot_have_been(history: list[Call]) -> None:
    [objection, *_] = objections(history, NAMES)
    assert "no order explains" in objection


@pytest.mark.parametrize("seed", range(20))
def test_one_wrong_answer_among_hundreds_is_found(seed: int) -> None:
    """Clients act on a true register, one after the other, and say when they at most did."""
    dice = random.Random(seed)
    value: str | None = None
    history: list[Call] = []
    for turn in range(300):
        start, end = turn - 3 * dice.random(), turn + 3 * dice.random()
        match dice.choice(["put", "read", "read", "delete"]):
            case "put":
                value = str(turn)
                history.append(call("put", start, end, value=value))
            case "delete":
                history.append(call("delete", start, end, "ok" if value else "not_found"))
                value = None
            case _:
                outcome = "ok" if value else "not_found"
                history.append(call("read", start, end, outcome, value=value))
    assert objections(history, NAMES) == []
    old = next(each for each in history if each.verb == "put")
    stale = call("read", 280, 281, value=old.value)
    [objection] = objections([*history, stale], NAMES)
    assert "no order explains" in objection
