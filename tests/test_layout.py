from __future__ import annotations

from hypothesis import given, strategies as st

from memchunk.layout import (
    CHUNK_BYTES,
    FEW_SLOTS,
    MAX_CHUNK_BYTES,
    MAX_FILE_BYTES,
    MIN_CHUNK_BYTES,
    SLOT_BYTES,
    SMALL_REST_BYTES,
    Layout,
    Rule,
    chunk_bytes,
)

EDGES = [0, 1, SMALL_REST_BYTES, CHUNK_BYTES, FEW_SLOTS * CHUNK_BYTES, MAX_FILE_BYTES]
SIZES = st.integers(0, MAX_FILE_BYTES) | st.sampled_from(
    [min(max(edge + step, 0), MAX_FILE_BYTES) for edge in EDGES for step in (-1, 0, 1)]
)
RULES = st.builds(Rule, st.integers(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES), st.booleans())
# memcached's header, cas number, flags, end of key and of value around a value (items.c)
ITEM_BYTES = 48 + 8 + 4 + 1 + 2
LONGEST_KEY_BYTES = 250


def stored(layout: Layout) -> list[int]:
    """The number of bytes of each item."""
    return [layout.length(i) + layout.padding_of(i) for i in range(layout.chunk_count)]


@given(SIZES, RULES)
def test_the_chunks_hold_each_byte_once(size: int, rule: Rule) -> None:
    layout = rule.lay_out(size)
    assert sum(map(layout.length, range(layout.chunk_count))) == size
    assert all(layout.length(index) > 0 for index in range(layout.chunk_count))
    assert all(each <= rule.chunk_size for each in stored(layout))


@given(SIZES)
def test_every_chunk_fills_a_slot_but_that_of_a_small_file(size: int) -> None:
    items = stored(Rule().lay_out(size))
    if size <= SMALL_REST_BYTES:
        assert sum(items) == size
    elif size > FEW_SLOTS * CHUNK_BYTES:
        assert set(items) == {CHUNK_BYTES}
    else:
        assert set(items[:-1]) <= {CHUNK_BYTES}
        assert items[-1] in (SMALL_REST_BYTES, CHUNK_BYTES)


@given(SIZES, st.integers(MIN_CHUNK_BYTES, SMALL_REST_BYTES))
def test_small_slots_are_all_filled(size: int, chunk_size: int) -> None:
    items = stored(Rule(chunk_size).lay_out(size))
    assert size <= chunk_size or set(items) == {chunk_size}


@given(SIZES)
def test_padding_costs_at_most_two_thirds_of_a_file(size: int) -> None:
    assert sum(stored(Rule().lay_out(size))) <= max(CHUNK_BYTES, 1.7 * size)


@given(SIZES)
def test_a_compact_layout_pads_nothing(size: int) -> None:
    assert sum(stored(Rule(compact=True).lay_out(size))) == size


def test_a_full_chunk_fits_in_a_slot_with_any_key() -> None:
    assert CHUNK_BYTES + ITEM_BYTES + LONGEST_KEY_BYTES <= SLOT_BYTES


def test_six_small_rests_fit_on_a_page() -> None:
    assert SMALL_REST_BYTES + ITEM_BYTES + LONGEST_KEY_BYTES <= 161_720
    assert 6 * 161_720 <= 1024 * 1024


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_chunks_are_made_to_fit_the_server(slab_chunk_max: int, item_size_max: int) -> None:
    size = chunk_bytes(slab_chunk_max, item_size_max)
    assert MIN_CHUNK_BYTES <= size <= MAX_CHUNK_BYTES
    if min(slab_chunk_max, item_size_max) >= 10_000:
        assert size < min(slab_chunk_max, item_size_max)


def test_the_chunks_of_a_memcached_with_its_defaults() -> None:
    assert chunk_bytes(524_288, 1_048_576) == CHUNK_BYTES


@given(SIZES, RULES, st.data())
def test_slices_are_the_bytes_of_the_range(size: int, rule: Rule, data: st.DataObject) -> None:
    start = data.draw(st.integers(-10, size + 10))
    stop = data.draw(st.integers(-10, size + 10))
    layout = rule.lay_out(size)
    position = max(start, 0)
    for piece in layout.slices(start, stop):
        assert piece.index * layout.chunk_size + piece.start == position
        assert 0 < piece.length <= layout.length(piece.index) - piece.start
        position += piece.length
    assert position == max(min(stop, size), start, 0)


@given(st.integers(1, 64), st.data())
def test_slices_of_every_small_layout(size: int, data: st.DataObject) -> None:
    layout = Layout(size, data.draw(st.integers(1, 64)))
    content = bytes(range(size))
    chunks = [
        content[i * layout.chunk_size :][: layout.length(i)] for i in range(layout.chunk_count)
    ]
    assert b"".join(chunks) == content
    start, stop = data.draw(st.integers(0, size)), data.draw(st.integers(0, size))
    pieces = layout.slices(start, stop)
    assert (
        b"".join(chunks[p.index][p.start : p.start + p.length] for p in pieces)
        == content[start:stop]
    )
