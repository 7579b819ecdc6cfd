"""The same stories over disks that fail, fill, rot and lie; what the judge must not overlook."""

from collections import Counter

import pytest

from blocktree.disk import Disk, scan
from blocktree.raft import ChangeKind, Membership, NodeId
from blocktree.sim import FaultyDisk, Trial, Violation
from blocktree.sim.disktrouble import DiskTrouble
from blocktree.store.repair import Repair, Stage

SEEDS = 150
BATCH = 50
ONCE_BROKEN = (126, 158, 237, 301, 755, 923, 10557, 10617, 11058, 501140, 502958)
SEEDS_MAX = 60  # within which a planted bug must be found


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_no_story_over_failing_disks_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + BATCH):
        Trial(seed, disk=FaultyDisk).run()


@pytest.mark.parametrize("seed", ONCE_BROKEN)
def test_a_story_that_once_broke_a_promise_does_not_again(seed: int) -> None:
    Trial(seed, disk=FaultyDisk).run()


def test_the_disks_fail_in_every_way() -> None:
    seen: Counter[str] = Counter()
    for seed in range(25):
        trial = Trial(seed, disk=FaultyDisk)
        trial.run()
        seen += trial.judge.seen
    for what in ("disks failed", "starts refused", "damaged logs", "logs repaired"):
        assert seen[what] >= 2, seen


def test_the_same_seed_tells_the_same_story_of_failing_disks() -> None:
    one, two = (Trial(12, trace=True, disk=FaultyDisk) for _ in range(2))
    assert one.run() == two.run()
    assert one.world.story == two.world.story


def test_nobody_is_taken_out_while_a_disk_is_spoiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is in doubt is one less: the others must be a majority without it."""
    step, lie, shrunk, lies = DiskTrouble._step, DiskTrouble._lie, 0, 0

    def watched_step(self: DiskTrouble, membership: Membership) -> tuple[ChangeKind, NodeId]:
        nonlocal shrunk
        kind, node = step(self, membership)
        if kind in {ChangeKind.REMOVE, ChangeKind.DEMOTE}:
            assert not any(p.in_doubt or p.disk.rotten for p in self._patients)
            shrunk += node in membership.voters and len(membership.voters) == 3
        return kind, node

    def watched_lie(self: DiskTrouble) -> None:
        nonlocal lies
        memberships = [p.raft.membership for p in self._patients if p.raft is not None]
        lie(self)
        if self._liar is not None:
            assert all(len(m.voters) > 2 for m in memberships if m.voters)
            lies += 1

    monkeypatch.setattr(DiskTrouble, "_step", watched_step)
    monkeypatch.setattr(DiskTrouble, "_lie", watched_lie)
    for seed in range(60):
        Trial(seed, disk=FaultyDisk).run()
    assert min(shrunk, lies) >= 5, (shrunk, lies)


def first_violation() -> int | None:
    for seed in range(SEEDS_MAX):
        try:
            Trial(seed, disk=FaultyDisk).run()
        except Violation:
            return seed
    return None


def votes_in_doubt(patch: pytest.MonkeyPatch) -> None:
    """A damaged log is no reason to keep silent."""
    patch.setattr(Repair, "__init__", lambda self, **_: setattr(self, "stage", Stage.SOUND))
    patch.setattr(Disk, "saved", _sure(Disk.saved))


def _sure(saved: object) -> object:
    def trusting(self: Disk) -> object:
        found = saved(self)  # type: ignore[operator]
        return type(found)(found.hard_state, found.mark)

    return trusting


def takes_damage_for_a_torn_tail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan, "_has_hole", lambda *_: True)
    patch.setattr(scan, "synced_until", lambda *_: 0)
    patch.setattr("blocktree.disk.recovery.synced_until", lambda *_: 0)


def trusts_itself_before_it_has_everything(patch: pytest.MonkeyPatch) -> None:
    def hasty(self: Repair, index: int, *, restoring: bool) -> None:
        del index, restoring
        if self.stage is Stage.CATCHING_UP:
            self.stage = Stage.NOTING

    patch.setattr(Repair, "applied", hasty)


def hears_before_it_is_cleared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Repair, "deaf", property(lambda _: False))


def two_rot_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DiskTrouble, "_bears_one_less", lambda _: True)


def goes_on_after_a_failed_sync(patch: pytest.MonkeyPatch) -> None:
    sync = Disk.sync

    def forgiving(self: Disk) -> None:
        try:
            sync(self)
        except Exception:
            self._stream._poison = None
            self._stream._synced = self._stream.end

    patch.setattr(Disk, "sync", forgiving)


@pytest.mark.parametrize(
    "plant",
    [
        votes_in_doubt,
        takes_damage_for_a_torn_tail,
        hears_before_it_is_cleared,
        two_rot_at_once,
        goes_on_after_a_failed_sync,
    ],
)
def test_it_is_found_out(plant: object, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)  # type: ignore[operator]
    assert first_violation() is not None
