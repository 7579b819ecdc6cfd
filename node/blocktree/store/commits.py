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
from collections.abc import Callable, Coroutine, Sequence

from blocktree.actors import Call
from blocktree.disk.batch import Buffer
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Principal
from blocktree.names import Digest, FileId
from blocktree.sectors.check import Checked
from blocktree.sectors.header import SignedHeader
from blocktree.sectors.transaction import Command, Outcome
from blocktree.sectors.transaction import Commit as CommitCommand
from blocktree.store.blobs import INLINE_BYTES, digests_of, hash_all, split_blobs
from blocktree.store.checks import Checks
from blocktree.store.entries import Prepared, prepare
from blocktree.store.leadership import Leadership, Settle
from blocktree.store.messages import PUT_BLOBS_MAX, Commit, Committed, PutBlobs, Stored
from blocktree.store.reads import lease, leased_ms
from blocktree.store.recalls import call_back
from blocktree.store.replica import Replica
from blocktree.store.riders import RIDER_BYTES_MAX
from blocktree.wire import Body, encode

IN_FLIGHT_MAX = 512
COMMIT_SECONDS = 8.0  # then whoever waits is answered NO_QUORUM


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
        self._slow = 0  # changes that wait for something before they are proposed

    async def put(self, message: PutBlobs) -> Stored:
        """Stage blobs and forward them."""
        self._leading()
        if len(message.lengths) > PUT_BLOBS_MAX:
            raise Fault(Kind.USAGE, f"more than {PUT_BLOBS_MAX} blobs at once")
        parts = split_blobs(message.lengths, message.body)
        self._check_room(len(message.body))
        digests = await digests_of(self._replica.host.crew, parts)
        await self._stage(parts, digests, message.body, riding=False)
        return Stored(tuple(digests))

    def commit(
        self, message: Commit, call: Call, identity: Identity
    ) -> "asyncio.Future[Committed]":
        """Carry a transaction out, once.

        What needs no waiting is done at once: a task for each commit would cost more than it does.

        Raises:
            Fault: what is known at once; the rest comes with the answer.
        """
        leadership = self._leading()
        if self._slow + leadership.in_flight >= IN_FLIGHT_MAX:
            raise Fault(Kind.BUSY, "too many changes are on their way")
        writer = self._writer_of(identity)
        quick = len(message.body) <= INLINE_BYTES and not self._replica.staging.tight
        if not quick or not self._checks.free:
            return self._slowly(self._prepare_and_change(leadership, message, writer, call))
        if message.lengths:
            parts = split_blobs(message.lengths, message.body)
            self._stage(parts, hash_all(parts), message.body, riding=True)
        prepared = self._prepared(message, writer, self._checks.now(message.transaction, writer))
        self._require(prepared)
        return self._change(leadership, prepared, message.session, call)

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

    # inside

    def _slowly(self, work: "Coroutine[None, None, Committed]") -> "asyncio.Future[Committed]":
        self._slow += 1
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._less)
        return task

    def _less(self, _: "asyncio.Future[Committed]") -> None:
        self._slow -= 1

    async def _prepare_and_change(
        self, leadership: Leadership, message: Commit, writer: Principal, call: Call
    ) -> Committed:
        staging = self._replica.staging
        if message.lengths:
            parts = split_blobs(message.lengths, message.body)
            digests = await digests_of(self._replica.host.crew, parts)
            written = self._stage(parts, digests, message.body, riding=True)
            if staging.tight:
                await written
        checked = await self._checks.check(message.transaction, writer)
        prepared = self._prepared(message, writer, checked)
        if staging.tight:
            await staging.written(prepared.blobs)
        self._require(prepared)
        self._still(leadership)
        return await self._change(leadership, prepared, message.session, call)

    def _prepared(self, message: Commit, writer: Principal, checked: Checked) -> Prepared:
        now_ns = self._replica.host.now_ns()
        return prepare(CommitCommand(message.transaction, now_ns, writer.id), checked)

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
            raise Fault(
                Kind.NO_SPACE,
                "the node's disk is full",
                path=self._replica.runtime.here,
                next_step="delete something, or add a larger disk",
            )

    def _change(
        self, leadership: Leadership, prepared: Prepared, session: bytes, call: Call
    ) -> "asyncio.Future[Committed]":
        """Propose once no other session relies on what changes."""
        assert prepared.checked is not None
        files = tuple([change.file for change in prepared.checked.transaction.changes])
        leases = leadership.leases
        leases.begin(files)
        try:
            if leases.outstanding(files, session, self._clock()):
                return self._slowly(self._recall(leadership, prepared, files, session, call))
            return self._submit(leadership, prepared, files, session, call)
        except BaseException:
            leases.end(files)
            raise

    async def _recall(
        self,
        leadership: Leadership,
        prepared: Prepared,
        files: tuple[FileId, ...],
        session: bytes,
        call: Call,
    ) -> Committed:
        leases, runtime = leadership.leases, self._replica.runtime
        try:
            await call_back(leases, files, session, runtime=runtime, clock=self._clock)
            self._still(leadership)
            answer = self._submit(leadership, prepared, files, session, call)
        except BaseException:
            leases.end(files)
            raise
        return await answer

    def _submit(
        self,
        leadership: Leadership,
        prepared: Prepared,
        files: tuple[FileId, ...],
        session: bytes,
        call: Call,
    ) -> "asyncio.Future[Committed]":
        answer: asyncio.Future[Committed] = self._loop.create_future()
        checked = prepared.checked
        assert checked is not None

        def settle(outcome: Outcome | Fault) -> None:
            if answer.done():
                return
            fault = outcome if isinstance(outcome, Fault) else outcome.fault()
            if fault is not None:
                answer.set_exception(fault)
            elif isinstance(outcome, Outcome):
                answer.set_result(self._committed(leadership, outcome, session, checked, call))

        self._propose(leadership, prepared, files, settle)
        return answer

    def _propose(
        self,
        leadership: Leadership,
        prepared: Prepared,
        files: tuple[FileId, ...],
        settle: Settle,
    ) -> None:
        """From here on the fate of the entry ends the change of `files`, not who waits for it."""
        replica = self._replica
        try:
            index = replica.driver.propose(encode(prepared.command))
        except Fault as fault:
            if fault.kind is Kind.NOT_LEADER:
                raise replica.not_leader() from None
            raise
        replica.entries.remember(index, leadership.term, prepared)
        replica.staging.pin(index, prepared.blobs)
        leadership.proposed(index, files, settle, self._clock())
        replica.driver.proposed()

    def _committed(
        self,
        leadership: Leadership,
        outcome: Outcome,
        session: bytes,
        checked: Checked,
        call: Call,
    ) -> Committed:
        """The answer; the session is leased what it wrote, if that is still the newest."""
        for file in outcome.changed:
            leadership.holders.saw(file, call.sender.process)
        granted, now = None, 0.0
        if session and outcome.changed and all(map(self._is_newest, checked.headers)):
            now = self._clock()
            granted = lease(self._replica.driver, leadership, session, call, now)
        if granted is None or not leadership.leases.lease(session, outcome.changed):
            return Committed(outcome.index)
        return Committed(outcome.index, leased_ms(granted, now), granted.grant, granted.since)

    def _is_newest(self, signed: SignedHeader | None) -> bool:
        if signed is None:
            return True
        current = self._replica.tree.header(signed.header.file)
        return current is not None and current.digest == signed.digest


def _answer(future: "asyncio.Future[Outcome]", outcome: Outcome | Fault) -> None:
    if future.done():
        return
    if isinstance(outcome, Fault):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
