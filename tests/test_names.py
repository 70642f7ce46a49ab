from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from memchunk import InvalidNameError, Store, names


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "reports/q3.pdf",
        "a b",
        "#?%&=+\"'<>\\",
        "...",
        ".hidden",
        "a/..b/c..",
        "emoji 😀",
        "\N{RIGHT-TO-LEFT OVERRIDE}right to left\N{RIGHT-TO-LEFT MARK}",
        "é" * 256,
        "x" * 512,
    ],
)
def test_names_that_are_allowed_come_back_as_they_were(store: Store, name: str) -> None:
    assert store.put(name, b"content").name == name
    assert store.stat(name).name == name
    assert store.get(name) == b"content"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 513,
        "é" * 257,
        "😀" * 10_000_000,
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "\ud800",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/./b",
        "a/../b",
        b"bytes",
        None,
        7,
    ],
    ids=lambda name: repr(name)[:20],
)
def test_names_that_are_not_allowed(store: Store, name: str) -> None:
    for verb in (
        lambda: store.put(name, b""),
        lambda: store.get(name),
        lambda: store.read_into(name, bytearray(1)),
        lambda: store.open(name),
        lambda: store.stat(name),
        lambda: store.delete(name),
        lambda: store.touch(name, ttl=1),
        lambda: store.rename(name, "other"),
        lambda: store.rename("other", name),
        lambda: name in store,
    ):
        with pytest.raises(InvalidNameError) as caught:
            verb()
        assert str(caught.value)


@given(st.text(max_size=600))
def test_any_name_is_refused_or_makes_a_key_without_user_text(name: str) -> None:
    try:
        names.check_name(name)
    except InvalidNameError:
        return
    assert 1 <= len(name.encode()) <= 512
    assert names.manifest_key("mc1", name).removeprefix("mc1:m:").isalnum()


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "é", "x" * 65, "a\n", None])
def test_namespaces_that_cannot_begin_a_key(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        names.check_namespace(namespace)


def test_the_longest_keys_fit_into_memcached() -> None:
    namespace = "n" * names.MAX_NAMESPACE_CHARS
    assert len(names.manifest_key(namespace, "x" * 512)) <= 250
    assert len(names.chunk_key(namespace, "f" * 32, 52_428_800)) <= 250
