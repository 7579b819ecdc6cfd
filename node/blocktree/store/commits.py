"""Changing headers: check, call leases back, propose, wait for the outcome, answer.

Faults, before the happy path
- not the leader: NOT_LEADER with the leader's path;
- too many in flight: BUSY, before anything is done;
- bad form or signature, missing blobs: refused before it is proposed;
- no room: NO_SPACE, before it is proposed;
- no quorum: the answer after `COMMIT_SECONDS` (`Leadership.late`) is NO_QUORUM, the outcome open,
  as the proposal may be committed later; its files are not leased until its fate is known;
- leadership lost: UNREACHABLE, the outcome open.
An open outcome is resolved by sending the same transaction again: the state machine knows one that
was applied by its signed headers, which no other transaction can have.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from blocktree.actors import Call, Later
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Principal
from blocktree.names import Buffer, Digest, FileId
from blocktree.sectors.check import Checked, check_commit
from blocktree.sectors.header import SignedHeader
from blocktree.sectors.transaction import Command, Outcome
from blocktree.sectors.transaction import Commit as CommitCommand
from blocktree.store.blobs import digests_of, hash_all, split_blobs
from blocktree.store.checks import Checks
from blocktree.store.entries import Prepared, prepare
from blocktree.store.firstlease import to_lease
from blocktree.store.leadership import Leadership, Settle
from blocktree.store.messages import (
    PUT_BLOBS_MAX,
    Commit,
    Committed,
    PutBlobs,
    Stored,
)
from blocktree.store.reads import lease, leased_ms
from blocktree.store.recalls import call_back
from blocktree.store.replica import Replica
from blocktree.store.riders import RIDER_BYTES_MAX
from blocktree.wire import Body, encode

log = logging.getLogger(__name__)

IN_FLIGHT_MAX = 512
_T = TypeVar("_T")
COMMIT_SECONDS = 8.0  # then whoever waits is answered NO_QUORUM


@dataclass(frozen=True, slots=True)
class _Change:
    """What came: whose signatures it may carry, from where, and who is to be answered."""

    leadership: Leadership
    message: Commit
    writer: Principal
    call: Call
    answer: Later[Committed]


class Commits:
    """The leader's way from a transaction to its outcome.

    Args:
        leading: the present leadership; Fault NOT_LEADER when there is none.
        writer_of: whose signatures a process may commit.
    """

    def __init__(
        self,
        replica: Replica,
        leading: Callable[[], Leadership],
        writer_of: Callable[[Identity], Principal],
    ) -> None:
        self._replica = replica
        self._leading = leading
        self._clock = replica.host.clock
        self._writer_of = writer_of
        self._checks = Checks()
        self._loop = asyncio.get_running_loop()
        self._slow: set[asyncio.Task[Any]] = set()  # wait for something

    async def put(self, message: PutBlobs) -> Stored:
        """Stage blobs and forward them."""
        self._leading()
        if len(message.lengths) > PUT_BLOBS_MAX:
            raise Fault(Kind.USAGE, f"more than {PUT_BLOBS_MAX} blobs at once")
        parts = split_blobs(message.lengths, message.body)
        self._check_room(len(message.body))
        digests = await digests_of(self._replica.host, parts)
        await self._stage(parts, digests, message.body, riding=False)
        return Stored(tuple(digests))

    def commit(self, message: Commit, call: Call, identity: Identity) -> Awaitable[Committed]:
        """Carry a transaction out, once.

        What needs no waiting is done without a task, which would cost more than it does.

        Raises:
            Fault: what is known at once; the rest comes with the answer.
        """
        leadership = self._leading()
        if len(self._slow) + len(self._checks) + leadership.in_flight >= IN_FLIGHT_MAX:
            raise Fault(Kind.BUSY, "too many changes are on their way")
        change = _Change(leadership, message, self._writer_of(identity), call, Later())
        host, staging = self._replica.host, self._replica.staging
        if len(message.body) > host.hashed_at_once or staging.tight:
            return self._slowly(self._prepare_and_change(change))
        if message.lengths:
            parts = split_blobs(message.lengths, message.body)
            self._stage(parts, hash_all(parts), message.body, riding=True)
        self._checks.run(partial(self._check_and_change, change))
        return change.answer

    def propose(self, command: Command) -> "asyncio.Future[Outcome]":
        """Have any other command carried out; its outcome may be a refusal.

        Raises:
            Fault: NOT_LEADER, BUSY; NO_QUORUM or UNREACHABLE with the answer.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()

        def settle(outcome: Outcome | Fault) -> None:
            _answer(future, outcome)

        self._propose(self._leading(), prepare(command), (), settle)
        return future

    async def stop(self) -> None:
        """Let go of what waits for something."""
        tasks = list(self._slow)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # inside

    def _slowly(self, work: "Coroutine[None, None, _T]") -> "asyncio.Task[_T]":
        task = asyncio.ensure_future(work)
        self._slow.add(task)
        task.add_done_callback(self._end_of_slow)
        return task

    def _end_of_slow(self, task: "asyncio.Task[Any]") -> None:
        self._slow.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked is told

    def _check_and_change(self, change: "_Change") -> None:
        """From what came to a proposal, in one go."""
        try:
            self._still(change.leadership)
            prepared = self._checked(change)
            self._require(prepared)
            self._change(change, prepared)
        except Exception as cause:
            change.answer.set_exception(_fault_of(cause))

    def _checked(self, change: "_Change") -> Prepared:
        encoded, writer = change.message.transaction, change.writer
        checked = check_commit(encoded, writer)
        now_ns = self._replica.host.now_ns()
        return prepare(CommitCommand(encoded, now_ns, writer.id), checked)

    async def _prepare_and_change(self, change: "_Change") -> Committed:
        staging, message = self._replica.staging, change.message
        if message.lengths:
            parts = split_blobs(message.lengths, message.body)
            digests = await digests_of(self._replica.host, parts)
            written = self._stage(parts, digests, message.body, riding=True)
            if staging.tight:
                await written
        turn: asyncio.Future[None] = self._loop.create_future()
        self._checks.run(partial(_go_on, turn))
        await turn
        prepared = self._checked(change)
        if staging.tight:
            await staging.written(prepared.blobs)
        self._require(prepared)
        self._still(change.leadership)
        self._change(change, prepared)
        return await change.answer

    def _stage(
        self, parts: Sequence[Buffer], digests: Sequence[Digest], body: Body, *, riding: bool
    ) -> "asyncio.Future[None]":
        self._check_room(len(body))
        written = self._replica.staging.add(list(zip(digests, parts, strict=True)))
        if riding and len(body) <= RIDER_BYTES_MAX:
            self._replica.riders.board(digests, parts)
        else:
            self._replica.forwarder.forward(digests, parts, body)
        return written

    def _still(self, leadership: Leadership) -> None:
        if self._leading() is not leadership:
            raise self._replica.not_leader()

    def _require(self, prepared: Prepared) -> None:
        missing = self._replica.staging.missing(prepared.blobs) if prepared.blobs else ()
        if missing:
            raise Fault(
                Kind.NOT_FOUND,
                f"{len(missing)} blobs of the change are not here",
                path=missing[0].hex(),
                next_step="put them again",
            )

    def _check_room(self, size: int) -> None:
        staging = self._replica.staging
        if staging.room - size < staging.reserve:
            staging.refused()
            raise Fault(
                Kind.NO_SPACE,
                "the node's disk is full",
                path=self._replica.runtime.here,
                next_step="delete something, or add a larger disk",
            )

    def _change(self, change: "_Change", prepared: Prepared) -> None:
        """Propose once no other session relies on what changes."""
        assert prepared.checked is not None
        files = tuple([each.file for each in prepared.checked.transaction.changes])
        leases = change.leadership.leases
        leases.begin(files)
        try:
            if leases.outstanding(files, change.message.session, self._clock()):
                self._slowly(self._recall(change, prepared, files))
            else:
                self._submit(change, prepared, files)
        except BaseException:
            leases.end(files)
            raise

    async def _recall(
        self, change: "_Change", prepared: Prepared, files: tuple[FileId, ...]
    ) -> None:
        leases, runtime = change.leadership.leases, self._replica.runtime
        try:
            session = change.message.session
            await call_back(leases, files, session, runtime=runtime, clock=self._clock)
            self._still(change.leadership)
            self._submit(change, prepared, files)
        except BaseException as cause:
            leases.end(files)
            change.answer.set_exception(_fault_of(cause))
            raise

    def _submit(self, change: "_Change", prepared: Prepared, files: tuple[FileId, ...]) -> None:
        answer, checked = change.answer, prepared.checked
        assert checked is not None

        def settle(outcome: Outcome | Fault) -> None:
            if answer.done():
                return
            fault = outcome if isinstance(outcome, Fault) else outcome.fault()
            if fault is not None:
                answer.set_exception(fault)
            elif isinstance(outcome, Outcome):
                answer.set_result(self._committed(change, outcome, checked))

        beside = len(change.message.body)
        self._propose(change.leadership, prepared, files, settle, beside)

    def _propose(
        self,
        leadership: Leadership,
        prepared: Prepared,
        files: tuple[FileId, ...],
        settle: Settle,
        beside: int = 0,
    ) -> None:
        """From here on the fate of the entry ends the change of `files`, not who waits for it."""
        replica, payload = self._replica, encode(prepared.command)
        try:
            index = replica.driver.propose(payload, beside)
        except Fault as fault:
            if fault.kind is Kind.NOT_LEADER:
                raise replica.not_leader() from None
            raise
        replica.entries.remember(index, leadership.term, prepared)
        replica.staging.pin(index, prepared.blobs)
        leadership.proposed(index, files, settle, self._clock())
        replica.driver.proposed(len(payload))

    def _committed(self, change: "_Change", outcome: Outcome, checked: Checked) -> Committed:
        """The answer; the session is leased what it wrote, if that is still the newest."""
        leadership, session, call = change.leadership, change.message.session, change.call
        for file in outcome.changed:
            leadership.holders.saw(file, call.sender.process)
        granted, now = None, 0.0
        if session and outcome.changed and all(map(self._is_newest, checked.headers)):
            now = self._clock()
            granted = lease(self._replica.driver, leadership, session, call, now)
        if granted is None or not leadership.leases.lease(session, *to_lease(checked)):
            return Committed(outcome.index)
        return Committed(outcome.index, leased_ms(granted, now), granted.grant, granted.since)

    def _is_newest(self, signed: SignedHeader | None) -> bool:
        if signed is None:
            return True
        current = self._replica.tree.header(signed.header.file)
        return current is not None and current.digest == signed.digest


def _go_on(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)


def _fault_of(cause: BaseException) -> Fault:
    """What whoever asked is told of it."""
    if isinstance(cause, Fault):
        return cause
    if isinstance(cause, asyncio.CancelledError):
        return Fault(Kind.STOPPED, "the node is stopping")
    log.error("a change broke what carries it out", exc_info=cause)
    return Fault(Kind.FAILED, f"it crashed: {type(cause).__name__}")


def _answer(future: "asyncio.Future[Outcome]", outcome: Outcome | Fault) -> None:
    if future.done():
        return
    if isinstance(outcome, Fault):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
