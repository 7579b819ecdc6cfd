"""Block maps: what is written is what is read, and a change is noticed."""

from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree_images.card.blockmap import BLOCK, BlockMap, Run, decode_blockmap, measure


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "x.img"
    path.write_bytes(b"".join(bytes([n]) * BLOCK for n in range(10)))
    return path


def test_a_map_is_read_as_it_was_written(image: Path) -> None:
    made = measure(image, [(5, 5), (0, 1), (2, 3)])
    assert [(run.first, run.last) for run in made.runs] == [(0, 3), (5, 5)]
    assert made.mapped_bytes == 5 * BLOCK
    assert decode_blockmap(made.encode()) == made
    assert made.encode() == measure(image, [(0, 3), (5, 5)]).encode()


def test_a_long_run_is_cut_so_that_damage_is_found_early(tmp_path: Path) -> None:
    path = tmp_path / "long.img"
    with path.open("wb") as file:
        file.truncate(40 << 20)
    runs = measure(path, [(0, (40 << 20) // BLOCK - 1)]).runs
    assert max(run.size for run in runs) == 16 << 20
    assert sum(run.size for run in runs) == 40 << 20


def test_a_changed_map_is_refused(image: Path) -> None:
    text = measure(image, [(0, 3)]).encode()
    with pytest.raises(Fault, match="changed or cut short") as caught:
        decode_blockmap(text.replace(b"0-3", b"0-2"), "x.bmap")
    assert caught.value.kind is Kind.DAMAGED


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not xml",
        b"<bmap version='2.0'></bmap>",
        b"<!DOCTYPE bmap [<!ENTITY a 'b'>]><bmap version='2.0'/>",
        b"<bmap>" * 10_000,
    ],
)
def test_what_is_no_map_is_refused(text: bytes) -> None:
    with pytest.raises(Fault, match="not a block map") as caught:
        decode_blockmap(text)
    assert caught.value.kind is Kind.MALFORMED


@pytest.mark.parametrize(
    "runs",
    [
        ((4, 5), (0, 1)),  # not in order
        ((0, 5), (5, 6)),  # over each other
        ((0, 10),),  # past the end
        ((3, 2),),  # backwards
    ],
)
def test_runs_that_make_no_sense_are_refused(runs: tuple[tuple[int, int], ...]) -> None:
    text = BlockMap(10 * BLOCK, tuple(Run(a, b, "0" * 64) for a, b in runs)).encode()
    with pytest.raises(Fault) as caught:
        decode_blockmap(text)
    assert caught.value.kind is Kind.MALFORMED
