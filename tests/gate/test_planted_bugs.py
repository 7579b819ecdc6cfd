"""The mutation gate of disk, sectors and store: bugs planted one by one, each killed by a test.

As `tests/sim/test_planted_bugs.py` for Raft. A bug is a small patch to the real code; the test that
must fail of it is named beside it, and is played here with the bug in place.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from blocktree.disk import Disk, Space, catalogue, reading, recovery, scan
from blocktree.disk.catalogue import Catalogue
from blocktree.disk.log import DiskLog
from blocktree.disk.reclaim import Reclaimer
from blocktree.disk.replay import LogReplay
from blocktree.disk.segment import Place
from blocktree.disk.simulated import SimulatedFile
from blocktree.disk.stream import Stream
from blocktree.disk.table import Table
from blocktree.disk.usage import Usage
from blocktree.fault import Fault
from blocktree.names import Digest, FileId
from blocktree.sectors import check, pages, retention
from blocktree.sectors.difference import Difference
from blocktree.sectors.judge import Judge
from blocktree.sectors.state import SectorState
from blocktree.store.leases import Leases
from blocktree.store.locks import LockTable, _Held
from blocktree.store.repair import Repair, Stage
from blocktree.store.staging import Staging
from blocktree.store.sweep import Sweeper
from disk import test_crash, test_damage, test_faults, test_reclaim
from disk.rig import BusyRun, Run
from fuzz import test_machines
from sectors import test_header, test_pages, test_retention, test_state
from sectors import test_members as test_sector_members
from store import test_leases, test_locks, test_sweep, test_troubles

Plant = Callable[[pytest.MonkeyPatch], None]
Killer = Callable[..., object]
PLANTED: dict[str, tuple[Killer, tuple[Any, ...], Plant]] = {}


def killed_by(test: Killer, *arguments: Any) -> Callable[[Plant], Plant]:
    """Register a bug that this test must not survive."""

    def register(plant: Plant) -> Plant:
        PLANTED[plant.__name__] = (test, arguments, plant)
        return plant

    return register


def nothing(*_: object, **__: object) -> None:
    """What a method does that was forgotten."""


# disk


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 0, Run)
def a_sync_that_does_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Disk, "sync", nothing)


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 0, Run)
def a_segment_is_left_unsynced(patch: pytest.MonkeyPatch) -> None:
    finish, sync = Stream._finish, Stream._sync

    def hasty(self: Stream) -> None:
        patch.setattr(Stream, "_sync", nothing)
        finish(self)
        patch.setattr(Stream, "_sync", sync)

    patch.setattr(Stream, "_finish", hasty)


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 0, Run)
def a_segment_is_left_with_zeros_behind_its_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "_finish", Stream.sync)


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 0, Run)
def the_cut_of_a_segment_that_is_left_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    finish, sync = Stream._finish, Stream._sync

    def early(self: Stream) -> None:
        self.sync()
        patch.setattr(Stream, "_sync", nothing)
        finish(self)
        patch.setattr(Stream, "_sync", sync)

    patch.setattr(Stream, "_finish", early)


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 0, Run)
def a_new_segments_name_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    roll = Stream._roll

    def forgetful(self: Stream) -> None:
        roll(self)
        self._new_name = False

    patch.setattr(Stream, "_roll", forgetful)


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 1, Run)
def emptied_segments_go_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    gather = Table._gather

    def eager(self: Table, *arguments: Any) -> Any:
        numbers = frozenset(self._condemned)
        self._remove(numbers)
        self._condemned.update(numbers)
        return gather(self, *arguments)

    patch.setattr(Table, "_gather", eager)


@killed_by(test_faults.test_what_a_full_disk_cut_off_is_not_read_back)
def the_remains_of_a_failed_write_stay(patch: pytest.MonkeyPatch) -> None:
    append = Stream._append

    def careless(self: Stream, buffers: Sequence[Any], size: int) -> None:
        file = self._file
        assert file is not None
        patch.setattr(type(file), "truncate", nothing)
        append(self, buffers, size)

    patch.setattr(Stream, "_append", careless)


@killed_by(test_faults.test_after_a_failed_sync_every_call_gives_the_same_fault)
def goes_on_after_a_failed_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stream, "guard", nothing)


@killed_by(
    test_faults.test_what_a_failed_sync_left_in_the_cache_is_durable_after_a_start, "nothing"
)
def a_start_believes_the_cache_after_a_failed_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimulatedFile, "rewrite", nothing)


@killed_by(test_damage.test_salvage_keeps_what_is_sound_and_remembers_until_repaired, "payload", 3)
def damage_in_the_middle_passes_for_a_torn_tail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan, "_has_hole", lambda *_: True)
    patch.setattr(recovery, "synced_until", lambda *_: 0)


@killed_by(test_damage.test_a_flip_in_the_last_record_is_not_taken_for_a_torn_write)
def any_bad_end_passes_for_a_torn_tail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan, "_has_hole", lambda *_: True)


@killed_by(test_damage.test_scrubbing_finds_what_rots_after_the_checkpoint)
def blobs_are_not_hashed(patch: pytest.MonkeyPatch) -> None:
    read = reading.read_blob
    patch.setattr(
        "blocktree.disk.scrub.read_blob", lambda *rest, verify: read(*rest, verify=not verify)
    )


@killed_by(test_damage.test_no_bit_of_an_entrys_or_a_blobs_row_may_rot, Space.LOG)
def rows_of_the_log_are_believed(patch: pytest.MonkeyPatch) -> None:
    def trusting(_index: int, raw: bytes) -> tuple[int, Place]:
        return int.from_bytes(raw[:8]), catalogue.decode_place(raw[8:20])

    patch.setattr("blocktree.disk.checkpoint.decode_row", trusting)


@killed_by(test_damage.test_no_bit_of_an_entrys_or_a_blobs_row_may_rot, Space.BLOBS)
def rows_of_blobs_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(catalogue, "_of_row", lambda _, row: row and catalogue.decode_place(row[:12]))


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 0, BusyRun)
def a_snapshot_is_ahead_of_its_mark(patch: pytest.MonkeyPatch) -> None:
    snapshot = Table.snapshot

    def hasty(self: Table) -> Any:
        under_way, self._under_way = self._under_way, None
        taken = snapshot(self)
        self._under_way = under_way
        return taken

    patch.setattr(Table, "snapshot", hasty)


@killed_by(test_crash.test_what_a_busy_disk_knows_is_what_it_finds_after_a_restart)
def where_blobs_lie_is_lost_when_the_index_has_no_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(catalogue.Catalogue, "thaw", catalogue.Catalogue.settle)


@killed_by(test_crash.test_what_a_busy_disk_knows_is_what_it_finds_after_a_restart)
def what_changed_during_a_checkpoint_counts_as_written(patch: pytest.MonkeyPatch) -> None:
    settle = DiskLog.settle

    def careless(self: DiskLog) -> None:
        settle(self)
        self._changed.clear()

    patch.setattr(DiskLog, "settle", careless)


@killed_by(test_crash.test_what_a_busy_disk_knows_is_what_it_finds_after_a_restart)
def a_segment_condemned_during_a_checkpoint_goes_with_it(patch: pytest.MonkeyPatch) -> None:
    remove = Table._remove

    def greedy(self: Table, condemned: frozenset[int]) -> None:
        remove(self, condemned | frozenset(self._condemned))

    patch.setattr(Table, "_remove", greedy)


@killed_by(test_crash.test_every_cut_of_a_run_leaves_what_was_acknowledged, 0, Run)
def replaced_entries_come_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LogReplay, "entry", LogReplay.put)


@killed_by(test_reclaim.test_mostly_dead_segments_are_copied_out_and_removed)
def reclaiming_condemns_what_is_live(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reclaimer, "_consider", lambda _self, _item: 0)

    def condemn(self: Reclaimer) -> None:
        self.condemned.add(self._victim)
        self._victim = 0

    patch.setattr(Reclaimer, "_condemn", condemn)


@killed_by(test_reclaim.test_a_segment_that_could_not_be_read_takes_no_deletion_with_it)
def what_could_not_be_read_is_taken_for_dead(patch: pytest.MonkeyPatch) -> None:
    def careless(self: Reclaimer) -> None:
        self.condemned.add(self._victim)
        self._victim = 0

    patch.setattr(Reclaimer, "_leave", careless)


@killed_by(test_reclaim.test_a_device_that_failed_once_has_lost_no_blob, "read")
def a_read_that_failed_costs_the_blob(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Catalogue,
        "lost",
        lambda self, digest, where, _: self.damaged.update({digest: (where, True)}),
    )


@killed_by(test_reclaim.test_mostly_dead_segments_are_copied_out_and_removed)
def freed_bytes_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Usage, "free", nothing)


@killed_by(test_faults.test_a_full_disk_refuses_blobs_first_then_entries_and_still_deletes)
def there_is_no_reserve(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Disk, "_check_room", nothing)


# sectors


@killed_by(test_state.test_a_conflict_names_every_file_that_was_not_as_expected)
def expected_versions_do_not_count(patch: pytest.MonkeyPatch) -> None:
    commit = SectorState._commit

    def lax(self: SectorState, index: int, command: Any, checked: Any) -> Any:
        checked = checked or check.read_transaction(command.transaction)
        changes = tuple(
            dataclasses.replace(
                change,
                expected_version=found.header.version if (found := self.header(change.file)) else 0,
            )
            for change in checked.transaction.changes
        )
        transaction = dataclasses.replace(checked.transaction, changes=changes)
        return commit(self, index, command, dataclasses.replace(checked, transaction=transaction))

    patch.setattr(SectorState, "_commit", lax)


@killed_by(test_state.test_a_transaction_changes_all_or_nothing)
def a_transaction_is_written_while_it_is_judged(patch: pytest.MonkeyPatch) -> None:
    judge = SectorState._judge

    def hasty(self: SectorState, principal: Any, checked: Any, current: Any, buried: Any) -> None:
        for change, signed, before in zip(
            checked.transaction.changes, checked.headers, current, strict=True
        ):
            self._write(change.file, signed, before, 0)
        judge(self, principal, checked, current, buried)

    patch.setattr(SectorState, "_judge", hasty)


@killed_by(test_header.test_every_header_of_a_transaction_is_signed_by_its_writer)
def signatures_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(check, "verify_header", nothing)


@killed_by(test_state.test_who_may_only_read_changes_nothing)
def rights_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Judge, "_needs_write", nothing)


@killed_by(test_state.test_a_version_names_the_one_before_it)
def a_history_may_fork(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Judge, "_continues", nothing)


@killed_by(test_state.test_a_directory_cannot_get_below_itself)
def a_directory_may_lie_in_itself(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Judge, "_place", nothing)


@killed_by(test_retention.test_every_version_is_kept_until_there_are_too_many)
def too_few_versions_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retention, "VERSIONS_MAX", 31)


@killed_by(test_pages.test_a_page_that_is_not_the_one_asked_for_is_damaged)
def a_page_is_not_hashed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pages, "check_page", pages._check_form)
    patch.setattr(test_pages, "check_page", pages._check_form)


@killed_by(test_sector_members.test_a_ticket_admits_one_principal)
def a_ticket_can_be_spent_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("blocktree.sectors.members._spend", nothing)


@killed_by(test_pages.test_any_history_of_a_tree_reads_like_a_list)
def the_difference_of_versions_is_everything(patch: pytest.MonkeyPatch) -> None:
    start = Difference.__init__

    def greedy(self: Difference, tree: pages.Tree, other: pages.Tree) -> None:
        del other
        start(self, tree, pages.Tree())

    patch.setattr(Difference, "__init__", greedy)


# store


@killed_by(test_leases.test_a_file_with_a_change_in_flight_is_not_leased)
def files_are_leased_while_they_change(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "begin", nothing)
    patch.setattr(Leases, "end", nothing)


@killed_by(test_leases.test_leases_that_ran_out_do_not_come_back_with_their_session)
def old_leases_come_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "_void", nothing)


@killed_by(test_leases.test_a_grant_after_a_recall_is_told_apart_from_the_ones_called_back)
def grants_before_and_after_a_recall_are_alike(patch: pytest.MonkeyPatch) -> None:
    returned = Leases.returned

    def forgetful(self: Leases, session: bytes, files: Iterable[FileId], grant: int) -> None:
        del grant
        returned(self, session, files, 1 << 60)

    patch.setattr(Leases, "returned", forgetful)


@killed_by(test_locks.test_readers_share_and_a_writer_excludes, LockTable(5, -100.0))
def locks_do_not_meet(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Held, "overlaps", lambda _self, _lock: False)


@killed_by(test_locks.test_the_grace_period_takes_only_what_is_reasserted)
def there_is_no_grace_after_an_election(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LockTable, "grace", lambda _self, _now: 0.0)


@killed_by(test_machines.test_a_repair_never_skips_a_stage)
def a_repaired_node_does_not_wait_for_leases(patch: pytest.MonkeyPatch) -> None:
    def hasty(self: Repair, index: int) -> None:
        if self.stage is Stage.ASKING:
            self.stage, self.index = Stage.FORGETTING, index

    patch.setattr(Repair, "cleared", hasty)


@killed_by(test_troubles.test_uploads_without_a_commit_are_dropped_after_a_while)
def uploads_are_never_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Staging, "_delete", nothing)


@killed_by(test_sweep.test_a_crash_after_a_sweep_leaves_no_blob_that_is_named_and_not_there)
def blobs_are_deleted_before_they_are_no_longer_named(patch: pytest.MonkeyPatch) -> None:
    doom = Sweeper._doom

    def hasty(self: Sweeper, walk: Any, digests: Sequence[Digest]) -> None:
        doom(self, walk, digests)
        self._disk.delete_blobs(digests)
        self._disk.sync()

    patch.setattr(Sweeper, "_doom", hasty)


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_named_test_kills(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    test, arguments, plant = PLANTED[name]
    plant(monkeypatch)
    wanted = inspect.signature(test).parameters
    if "tmp_path" in wanted:
        arguments = (tmp_path, *arguments)
    with pytest.raises((AssertionError, Fault, pytest.fail.Exception, LookupError, ValueError)):
        test(*arguments)
    monkeypatch.undo()
