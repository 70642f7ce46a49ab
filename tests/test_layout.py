from __future__ import annotations

from hypothesis import given, strategies as st

from memchunk.layout import CHUNK_BYTES, MAX_FILE_BYTES, PAD_ABOVE_BYTES, SLOT_BYTES, lay_out

SIZES = st.integers(0, MAX_FILE_BYTES) | st.sampled_from(
    [0, 1, PAD_ABOVE_BYTES, PAD_ABOVE_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 1, MAX_FILE_BYTES]
)
# memcached's header, cas number, flags, end of key and of value around a value (items.c)
ITEM_OVERHEAD_BYTES = 48 + 8 + 4 + 1 + 2
LONGEST_KEY_BYTES = 250


@given(SIZES)
def test_the_chunks_hold_each_byte_once(size: int) -> None:
    layout = lay_out(size)
    assert sum(map(layout.length, range(layout.chunk_count))) == size
    assert all(layout.length(index) > 0 for index in range(layout.chunk_count))


@given(SIZES)
def test_every_chunk_of_a_larger_file_fills_one_slot(size: int) -> None:
    layout = lay_out(size)
    stored = [layout.length(i) + layout.padding_of(i) for i in range(layout.chunk_count)]
    if size > PAD_ABOVE_BYTES:
        assert set(stored) == {CHUNK_BYTES}
    else:
        assert sum(stored) == size


def test_a_full_chunk_fits_in_a_slot_with_any_key() -> None:
    assert CHUNK_BYTES + ITEM_OVERHEAD_BYTES + LONGEST_KEY_BYTES <= SLOT_BYTES


@given(SIZES, st.data())
def test_slices_are_the_bytes_of_the_range(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(-10, size + 10))
    stop = data.draw(st.integers(-10, size + 10))
    layout = lay_out(size)
    position = max(start, 0)
    for piece in layout.slices(start, stop):
        assert piece.index * layout.chunk_size + piece.start == position
        assert 0 < piece.length <= layout.length(piece.index) - piece.start
        position += piece.length
    assert position == max(min(stop, size), start, 0)


@given(st.integers(1, 64), st.data())
def test_slices_of_every_small_layout(size: int, data: st.DataObject) -> None:
    from memchunk.layout import Layout

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
