"""Directed scenarios: `tests/scenarios/raft/*.txt`, each a transcript on the stage."""

from pathlib import Path

import pytest

from raft.stage import Stage
from scenario import replay

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios" / "raft").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, rewrite: bool) -> None:
    replay(path, Stage().play, rewrite=rewrite)
