"""Which path is in a tree and which is of this machine."""

from pathlib import Path

import pytest

from blocktree.cli.places import Places
from blocktree.cli.treepaths import TreePath, parse_path, parse_tree_path, printable
from blocktree.fault import Fault, Kind


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    for alias in ("home", "farm"):
        (tmp_path / "trees" / alias).mkdir(parents=True)
    monkeypatch.setenv("HOME", "/home/ada")
    return Places(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["photo.jpg", "./home/x", "/tmp/x", "/homes/x", "/home/ada", "/home/ada/Pictures", "../home"],
)
def test_these_are_of_this_machine(text: str, places: Places) -> None:
    assert parse_path(text, places) == Path(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/home", ()),
        ("/home/", ()),
        ("//home//a/./b", (b"a", b"b")),
        ("/farm/ada", (b"ada",)),
        ("/home/adam", (b"adam",)),
        ("/home/\udcff\n", (b"\xff\n",)),
    ],
)
def test_these_are_in_a_tree(text: str, names: tuple[bytes, ...], places: Places) -> None:
    path = parse_path(text, places)
    assert isinstance(path, TreePath)
    assert path.names == names


@pytest.mark.parametrize(
    ("text", "path"),
    [("file:/home/x", "/home/x"), ("file:///home/x", "/home/x"), ("file:x", "x")],
)
def test_file_marks_a_path_of_this_machine(text: str, path: str, places: Places) -> None:
    assert parse_path(text, places) == Path(path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x", Kind.USAGE),
        ("/", Kind.USAGE),
        ("/home/../x", Kind.USAGE),
        ("/home/" + "n" * 256, Kind.USAGE),
        ("/home/a\0b", Kind.USAGE),
        ("/elsewhere", Kind.NOT_FOUND),
        ("/bt1" + "a" * 52, Kind.NOT_FOUND),
    ],
)
def test_what_cannot_be_a_path_in_a_tree_is_refused(text: str, kind: Kind, places: Places) -> None:
    (places.root / "trees" / "home").rmdir() if text.startswith("/bt1") else None
    (places.root / "trees" / "farm").rmdir() if text.startswith("/bt1") else None
    with pytest.raises(Fault) as caught:
        parse_tree_path(text, places)
    assert caught.value.kind is kind


def test_a_name_is_shown_on_one_line_and_moves_no_cursor() -> None:
    assert printable("Müller.txt".encode()) == "Müller.txt"
    assert printable(b"a\nb\x1b[2J\xff") == "a\\nb\\x1b[2J\\xff"
