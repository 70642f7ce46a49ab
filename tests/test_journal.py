"""The journal: records in any order, torn or doubled, become the right names."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from memchunk import journal
from memchunk.journal import Replay, added, compacted, removed
from memchunk.layout import Rule
from memchunk.manifest import Manifest

NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=20
)
TOKENS = st.integers(0, 2**32 - 1).map("{:08x}".format)


def names(*segments: bytes) -> set[str]:
    replay = Replay()
    for segment in segments:
        replay.read(segment)
    return replay.names()


@given(st.dictionaries(NAMES, TOKENS), st.dictionaries(NAMES, TOKENS), st.randoms())
def test_what_was_added_and_not_removed_is_there_in_whatever_order(
    kept: dict[str, str], gone: dict[str, str], chance: random.Random
) -> None:
    gone = {name: token for name, token in gone.items() if name not in kept}
    records = [added(*each) for each in (kept | gone).items()]
    records += [removed(*each) for each in gone.items()]
    chance.shuffle(records)
    half = chance.randint(0, len(records))
    assert names(b"".join(records[:half]), b"".join(records[half:])) == set(kept)


def test_a_removal_takes_back_its_own_addition_only() -> None:
    written_again = added("f", "00000002")
    assert names(added("f", "00000001"), written_again, removed("f", "00000001")) == {"f"}


@given(st.lists(st.tuples(NAMES, TOKENS), min_size=3), st.data())
def test_a_torn_record_costs_its_own_name_only(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    records = [added(*pair) for pair in pairs]
    torn = data.draw(st.integers(0, len(pairs) - 1))
    cut = data.draw(st.integers(0, len(records[torn]) - 1))
    found = names(b"".join(r[:cut] if i == torn else r for i, r in enumerate(records)))
    assert {name for i, (name, _) in enumerate(pairs) if i != torn} <= found


@given(st.binary())
def test_any_bytes_are_read(segment: bytes) -> None:
    found = names(segment)
    assert names(compacted(segment, dict.fromkeys(found, "01234567"))) == found


@given(st.lists(st.tuples(NAMES, TOKENS, st.booleans())), st.data())
def test_compacting_keeps_the_names_that_stand(
    events: list[tuple[str, str, bool]], data: st.DataObject
) -> None:
    segment = b"".join((removed if gone else added)(n, t) for n, t, gone in events)
    standing = data.draw(
        st.dictionaries(st.sampled_from([n for n, _, _ in events] or ["f"]), TOKENS)
    )
    shorter = compacted(segment, standing)
    assert names(shorter) == names(segment) & standing.keys()
    assert shorter.count(b"\n") == len(names(shorter))


def test_a_name_stays_although_another_segment_takes_an_earlier_stay_back() -> None:
    """Of two records of a name, the younger one may be that of the earlier stay."""
    segment = added("f", "00000002") + added("f", "00000001")
    other = removed("f", "00000001")
    assert names(segment, other) == {"f"}
    assert names(compacted(segment, {"f": "00000002"}), other) == {"f"}


@given(NAMES)
def test_every_name_has_a_shard(name: str) -> None:
    assert 0 <= journal.shard_of(name) < journal.SHARDS


def test_one_writer_in_256_looks() -> None:
    tokens = [f"{number:08x}" for number in range(0, 2**32, 65_521)]
    looking = sum(map(journal.is_time_to_look, tokens))
    assert looking / len(tokens) == pytest.approx(1 / journal.LOOK_EVERY, rel=0.1)


def test_a_move_gives_a_name_another_token() -> None:
    layout = Rule(1000, False).lay_out(0)
    manifest = Manifest("f", "0" * 64, layout, "1" * 32, "a/b", 0, None, ())
    moved = Manifest("f", "0" * 64, layout, "1" * 32, "a/b", 0, None, (), move="2" * 32)
    assert journal.token_of(manifest) == "11111111"
    assert journal.token_of(moved) == "22222222"


@pytest.mark.parametrize(
    ("records", "files", "worth"), [(0, 0, False), (64, 0, False), (65, 0, True), (265, 100, True)]
)
def test_what_is_worth_compacting(records: int, files: int, worth: bool) -> None:
    assert journal.is_worth_compacting(records, files) is worth
