"""A step is made once for its inputs, appears whole or not at all, and is made anew if damaged."""

from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree_images.cache import Cache


def _write(text: str) -> object:
    return lambda into: (into / "file").write_text(text)


def test_the_same_inputs_are_not_made_twice(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = cache.obtain("step", {"a": 1, "b": 2}, _write("one"))  # type: ignore[arg-type]
    second = cache.obtain("step", {"b": 2, "a": 1}, _write("two"))  # type: ignore[arg-type]
    assert (first.anew, second.anew) == (True, False)
    assert second.folder == first.folder
    assert (second.folder / "file").read_text() == "one"
    assert cache.holds("step", {"a": 1, "b": 2})
    assert not cache.holds("step", {"a": 1})


def test_a_changed_input_is_made_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.obtain("step", {"a": 1}, _write("one"))  # type: ignore[arg-type]
    assert cache.obtain("step", {"a": 2}, _write("two")).anew  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["flip", "remove", "add", "record"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    cache = Cache(tmp_path)
    folder = cache.obtain("step", {}, _write("one")).folder  # type: ignore[arg-type]
    match damage:
        case "flip":
            (folder / "file").write_text("onf")
        case "remove":
            (folder / "file").unlink()
        case "add":
            (folder / "more").write_text("")
        case _:
            (folder / "step.json").write_text("{")
    again = cache.obtain("step", {}, _write("one"))  # type: ignore[arg-type]
    assert again.anew
    assert [path.name for path in sorted(again.folder.iterdir())] == ["file", "step.json"]


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(into: Path) -> None:
        (into / "half").write_text("half")
        raise Fault(Kind.FAILED, "no")

    cache = Cache(tmp_path)
    with pytest.raises(Fault, match="no"):
        cache.obtain("step", {}, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]


def test_what_an_interrupted_step_left_is_not_taken_for_a_result(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    left = tmp_path / f".making-step-{cache.key({})}"
    left.mkdir()
    (left / "half").write_text("half")
    made = cache.obtain("step", {}, _write("whole"))  # type: ignore[arg-type]
    assert not left.exists()
    assert not (made.folder / "half").exists()


def test_old_entries_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for number in range(7):
        cache.obtain("step", {"n": number}, _write(str(number)))  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("step-*"))) == 4
    assert cache.holds("step", {"n": 6})
