"""What is announced can be read again, and nothing else can do harm."""

import dataclasses
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.link.announcement import (
    ADDRESSES_MAX,
    PATH_BYTES_MAX,
    Found,
    instance_name,
    read_text,
    write_text,
)
from blocktree.link.network import own_addresses
from blocktree.names import Path, TreeId
from link.tree import make_node, make_tree

NODE = make_node("pi-1")
TREE = NODE.tree


def announced() -> dict[bytes, bytes | None]:
    text = write_text(NODE)
    assert text is not None
    return {key.encode(): value.encode() for key, value in text.items()}


def test_an_announcement_comes_back() -> None:
    assert read_text(announced(), TREE, ["10.0.0.7", "fe80::1%3"], 7401) == Found(
        TREE, NODE.path, NODE.principal.hex(), "node", ("10.0.0.7:7401", "[fe80::1%3]:7401")
    )


def test_the_owner_is_announced_at_the_root() -> None:
    owner = make_tree().owner
    text = write_text(owner)
    assert text is not None
    read = read_text({b: v.encode() for b, v in _encoded(text)}, TREE, ["10.0.0.7"], 1)
    assert read is not None
    assert read.path == Path(f"/{TREE}")


def _encoded(text: dict[str, str]) -> list[tuple[bytes, str]]:
    return [(key.encode(), value) for key, value in text.items()]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"tree", b"bt1another"),
        (b"tree", None),
        (b"v", b"2"),
        (b"path", b"\xff"),
        (b"path", b"/a/../../b"),
        (b"path", b"a" * 3000),
        (b"path", b"/" * 5),
    ],
)
def test_what_makes_no_sense_is_passed_over(key: bytes, value: bytes | None) -> None:
    assert read_text({**announced(), key: value}, TREE, ["10.0.0.7"], 7401) is None


def test_without_address_or_port_there_is_nothing_to_dial() -> None:
    assert read_text(announced(), TREE, [], 7401) is None
    assert read_text(announced(), TREE, ["10.0.0.7"], 0) is None


def test_an_announcement_of_a_hundred_addresses_is_cut() -> None:
    found = read_text(announced(), TREE, [f"10.0.0.{n}" for n in range(100)], 7401)
    assert found is not None
    assert len(found.addresses) == ADDRESSES_MAX


def test_a_path_too_long_for_a_string_is_not_announced() -> None:
    identity = dataclasses.replace(NODE.identity, path=Path(f"/{TREE}/" + "a" * PATH_BYTES_MAX))
    assert write_text(dataclasses.replace(NODE, identity=identity)) is None


def test_instance_names_fit_in_a_label_and_tell_processes_apart() -> None:
    for path in ("x" * 200, "a.b", "世界" * 40):
        identity = dataclasses.replace(NODE.identity, path=Path(f"/{TREE}/{path}"))
        name = instance_name(dataclasses.replace(NODE, identity=identity))
        label, _, rest = name.partition("._blocktree")
        assert rest == "._tcp.local."
        assert len(label.encode()) <= 63
        assert "." not in label
    assert instance_name(NODE) != instance_name(make_node("pi-2"))


@given(
    st.dictionaries(
        st.sampled_from([b"v", b"tree", b"path", b"principal", b"kind", b"\xff"]),
        st.none() | st.binary(max_size=40) | st.just(b"1") | st.just(TREE.encode()),
    ),
    st.integers(-1, 1 << 17),
)
def test_no_announcement_raises(text: dict[bytes, bytes | None], port: int) -> None:
    found = read_text(text, TreeId(TREE), ["10.0.0.7"], port)
    assert found is None or found.path.startswith(f"/{TREE}")


def test_own_addresses_are_addresses() -> None:
    found = own_addresses()
    assert found
    for one in found:
        ipaddress.ip_address(one)
