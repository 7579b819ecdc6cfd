"""A short torture: ten troubles of a fixed seed; and what the judge must not overlook."""

import json
from pathlib import Path

import pytest

from blocktree.sim.linear import Operation
from lan import needs_root
from torture.content import content_of
from torture.judge import Record
from torture.run import Run

SEED = 7
TROUBLES = 10


@needs_root
def test_nothing_acknowledged_is_lost_while_nodes_are_tortured(tmp_path: Path) -> None:
    outcome = Run(tmp_path, SEED).play(TROUBLES, seconds=60)
    assert not outcome.violations, outcome.table()
    assert outcome.told["write acknowledged"] > 20, outcome.table()


def journal(folder: Path, *lines: list[object]) -> Record:
    """The record of one worker that wrote these lines."""
    path = folder / "001-keeper"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '[5, "cal')
    record = Record()
    record.add(path)
    return record


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"k7": content_of(7, 40)}, ""),
        ({}, "k7 is not there"),
        ({"k7": content_of(7, 40)[:-1] + b"?"}, "wrong bytes"),
        ({"k7": content_of(7, 40), "k7m": content_of(7, 40)}, "several times"),
        ({"k7m": content_of(7, 40)}, "k7 is k7m"),
    ],
)
def test_the_judge_sees_what_became_of_a_file(
    tmp_path: Path, found: dict[str, bytes], said: str
) -> None:
    record = journal(tmp_path, [1, "call", 1, "make", "k7", 40], [2, "done", 1, 0])
    assert said in "\n".join(record.missing(found))
    assert bool(record.missing(found)) == bool(said)


def test_the_judge_accepts_both_outcomes_of_what_nobody_knows(tmp_path: Path) -> None:
    made: list[list[object]] = [[1, "call", 1, "make", "k7", 40], [2, "done", 1, 0]]
    record = journal(tmp_path, *made, [3, "call", 2, "drop", "k7", 0], [4, "failed", 2, "X", "x"])
    assert not record.missing({})
    assert not record.missing({"k7": content_of(7, 40)})


def test_the_judge_wants_every_acknowledged_byte_of_a_file_that_grows(tmp_path: Path) -> None:
    record = journal(tmp_path, [1, "call", 1, "grow", "g1", 2000], [2, "done", 1, 0])
    whole = content_of(1, 1000) + content_of(2, 1000)
    assert not record.missing({"g1": whole + content_of(3, 1000)})
    assert record.missing({"g1": whole[:1999]})
    assert record.missing({"g1": whole[:1500] + bytes(500)})


def test_the_judge_sees_a_read_that_goes_back_in_time(tmp_path: Path) -> None:
    record = journal(
        tmp_path,
        [1, "call", 1, "write", "r0.0", 5],
        [2, "done", 1, 0],
        [3, "call", 2, "read", "r0.0", 0],
        [4, "done", 2, 0],
    )
    assert record.tangled()
    record.registers["r0.0"] = [Operation("r0.0", write=True, value=5, called=1, returned=2)]
    record.read_at_end({"r0.0": content_of(5, 200)}, 9)
    assert not record.tangled()
