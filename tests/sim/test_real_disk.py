"""The same stories over the real disk format, on files that tear."""

import pytest

from blocktree.disk import Disk, SimulatedFiles
from blocktree.sim import SegmentDisk, Trial, Violation


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_no_story_over_the_real_disk_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + 50):
        Trial(seed, disk=SegmentDisk).run()


def test_a_disk_that_lies_about_its_syncs_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = SimulatedFiles.__init__

    def lying(self: SimulatedFiles, contents: dict[str, bytes] | None = None) -> None:
        honest(self, contents)
        self.lies = bool(contents)  # from its first restart on

    monkeypatch.setattr(SimulatedFiles, "__init__", lying)
    assert _first_violation(50) is not None


def test_a_disk_that_does_not_sync_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "sync", lambda _self: None)
    assert _first_violation(50) is not None


def _first_violation(seeds: int) -> int | None:
    for seed in range(seeds):
        try:
            Trial(seed, disk=SegmentDisk).run()
        except Violation:
            return seed
    return None
