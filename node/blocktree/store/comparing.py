"""The table against those of the other nodes: a row that rotted here is found and replaced.

Every replica's table is the same function of the log, so at the same applied index the rows are
equal, but for the store's own: `s` rows and notes, which are not compared, and `b` rows, which each
node sweeps at its own time, so that these are looked at again `SWEEP_SECONDS` later.
Nodes apply at their own pace; so a range counts as sound when any other node has the same digest,
whenever that was, and a row counts as different only if ours was the same before and after the
index at which the other's was read.

Which side is right: what two other nodes have in common; against one other node alone, a header
whose signature does not hold is wrong. Otherwise the difference is reported and nothing changed.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from blocktree.fault import Fault, Kind
from blocktree.names import Address, Digest, FileId
from blocktree.sectors.header import load_header, verify_header
from blocktree.sectors.table import Items
from blocktree.store.between import RAFT_ACTOR, GetRows, Rows
from blocktree.store.owners import OWNER_PREFIX
from blocktree.store.replica import Replica

log = logging.getLogger(__name__)

PREFIXES = (
    OWNER_PREFIX,
    b"a",
    b"c",
    b"d",
    b"h",
    b"i",
    b"k",
    b"m",
    b"n",
    b"p",
    b"r",
    b"t",
    b"v",
    b"x",
)  # as in `sectors/SPEC.md`
RANGE_ROWS = 64
_OWNER_ROWS = 512  # they are small
ANSWER_BYTES = 1 << 20
_ANSWER_ROWS = 4 * _OWNER_ROWS
SWEEP_SECONDS = 600.0  # in which every node has swept what one has
_SUSPECTS_MAX = 4096
_ASK_SECONDS = 5.0
_TRIES_MAX = 5
_POLL_SECONDS = 0.05
_POLLS_MAX = 40
Table = dict[bytes, bytes]
Changed = Mapping[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Compared:
    """One range: how much of it, what was wrong in it, and whether it could be compared at all.

    Attributes:
        after: go on behind this key; None at the end of the prefix.
        wrong: keys of ours that were replaced.
        doubtful: keys that differ and nobody knows who is right.
    """

    after: bytes | None
    rows: int
    size: int
    wrong: tuple[bytes, ...] = ()
    doubtful: tuple[bytes, ...] = ()


def rows_digest(rows: Items) -> bytes:
    """What two nodes compare first."""
    hasher = sha256()
    for key, value in rows:
        hasher.update(len(key).to_bytes(4) + len(value).to_bytes(4) + key + value)
    return hasher.digest()


def describe_row(key: bytes) -> str:
    """A row for people."""
    names = {b"h": "the header", b"v": "a past header", b"d": "the end", b"m": "the member"}
    if key.startswith(OWNER_PREFIX):
        return f"the owner of the blob {key[1:].hex()}"
    what = names.get(key[:1])
    return f"{what} of {key[1:17].hex()}" if what else f"the row {key.hex()}"


def serve_rows(replica: Replica, request: GetRows) -> Rows:
    """Answer another node: nothing if it has the same, else what is here."""
    rows, complete = _range(replica, request.prefix, request.after, request.until)
    index = replica.driver.applied
    if replica.in_repair:
        raise Fault(Kind.BUSY, "this node is being repaired itself")
    if rows_digest(rows) == request.digest:
        return Rows(index, same=True)
    return Rows(index, same=False, rows=tuple(rows), complete=complete)


class Comparing:
    """Compares ranges of one node's table with those of the others."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._suspects: dict[bytes, float] = {}  # `b` rows that differed, and since when

    async def step(self, prefix: bytes, after: bytes) -> Compared:
        """Compare the next few rows behind `after`, and replace what is wrong here."""
        most = _OWNER_ROWS if prefix == OWNER_PREFIX else RANGE_ROWS
        first = self._replica.tree.overlay.items(prefix, after, most)
        until = first[-1][0] if len(first) == most else b""
        size = sum(len(key) + len(value) for key, value in first)
        wrong, doubtful = await self._compare(prefix, after, until)
        if prefix == OWNER_PREFIX:
            self._suspect((*wrong, *doubtful))
            wrong = doubtful = {}
        self._replace(wrong)
        return Compared(until or None, len(first), size, tuple(wrong), tuple(doubtful))

    async def again(self) -> Compared:
        """Look again at `b` rows that differed a while ago.

        A name too many costs room, one too few a blob: only a blob that is not here loses its name.
        """
        disk, late = self._replica.host.disk, self._replica.host.clock() - SWEEP_SECONDS
        wrong: list[bytes] = []
        for key in [key for key, since in self._suspects.items() if since <= late]:
            rows, _ = await self._compare(OWNER_PREFIX, key[:-1], key)
            absent = Digest(key[len(OWNER_PREFIX) :])
            if key in rows and (rows[key] is not None or disk.missing([absent], damaged=False)):
                self._replace({key: rows[key]})
                wrong.append(key)
            self._suspects.pop(key, None)
        return Compared(None, 0, 0, tuple(wrong))

    def _suspect(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if len(self._suspects) < _SUSPECTS_MAX:
                self._suspects.setdefault(key, self._replica.host.clock())

    def _replace(self, rows: Mapping[bytes, bytes | None]) -> None:
        for key, value in rows.items():
            self._replica.tree.mend(key, value)

    async def _compare(self, prefix: bytes, after: bytes, until: bytes) -> tuple[Changed, Changed]:
        """What differs in a range: rows as they have to be, and rows that nobody can decide.

        Nothing is applied between the last look at ours and the return.
        """
        replica = self._replica
        mine: Table = {}
        for _ in range(_TRIES_MAX):
            before = replica.driver.applied
            mine = dict(_range(replica, prefix, after, until)[0])
            answers = await self._ask(prefix, after, until, mine)
            if answers is None:
                return {}, {}
            if answers and all(each.index >= before for each in answers):
                await self._reach(max(each.index for each in answers))
                return self._judge(prefix, after, until, mine, answers)
            if not answers:
                break
            await asyncio.sleep(_POLL_SECONDS)
        broken = {key: row for key, row in mine.items() if not self._is_signed(key, row)}
        return {}, dict(broken)

    async def _ask(
        self, prefix: bytes, after: bytes, until: bytes, mine: Table
    ) -> list[Rows] | None:
        """What the others have that differs; None if one of them has the same."""
        digest = rows_digest(sorted(mine.items()))
        answers = []
        for path in self._replica.paths_from(self._replica.driver.raft.leader):
            try:
                answer = await self._replica.runtime.ask(
                    Address(path, RAFT_ACTOR),
                    GetRows(prefix, after, until, digest),
                    Rows,
                    timeout=_ASK_SECONDS,
                )
            except Fault as fault:
                log.info("no rows from %s: %s", path, fault)
                continue
            if answer.same:
                return None
            if answer.complete:
                answers.append(answer)
        return answers

    async def _reach(self, index: int) -> None:
        """Wait until what the others had applied is applied here."""
        for _ in range(_POLLS_MAX):
            if self._replica.driver.applied >= index:
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _judge(
        self, prefix: bytes, after: bytes, until: bytes, mine: Table, answers: Sequence[Rows]
    ) -> tuple[Changed, Changed]:
        wrong: dict[bytes, bytes | None] = {}
        doubtful: dict[bytes, bytes | None] = {}
        if self._replica.driver.applied < max(answer.index for answer in answers):
            return wrong, doubtful
        now = dict(_range(self._replica, prefix, after, until)[0])
        tables = [dict(answer.rows) for answer in answers]
        for key in sorted({*mine, *now, *(key for table in tables for key in table)}):
            theirs = [table.get(key) for table in tables]
            if mine.get(key) != now.get(key) or now.get(key) in theirs:
                continue  # it has just changed, or somebody else has the same
            agreed = all(value == theirs[0] for value in theirs)
            if agreed and (len(theirs) > 1 or self._is_better(key, now.get(key), theirs[0])):
                wrong[key] = theirs[0]
            else:
                doubtful[key] = now.get(key)
        return wrong, doubtful

    def _is_better(self, key: bytes, ours: bytes | None, theirs: bytes | None) -> bool:
        """Whether a header's signature decides against ours."""
        if ours is not None and self._is_signed(key, ours):
            return False
        return theirs is not None and key[:1] in {b"h", b"v"} and self._is_signed(key, theirs)

    def _is_signed(self, key: bytes, row: bytes) -> bool:
        """Whether a row is the header that its key says, by its writer; other rows pass."""
        if key[:1] not in {b"h", b"v"}:
            return True
        try:
            signed = load_header(row[8:] if key.startswith(b"v") else row)
            if signed.header.file != FileId(key[1:17]):
                return False
            sectors = self._replica.tree.sectors
            verify_header(signed, sectors.identify(signed.header.writer).key)
        except Fault as fault:
            return fault.kind is Kind.DENIED  # somebody who does not belong any more
        return True


def _range(replica: Replica, prefix: bytes, after: bytes, until: bytes) -> tuple[Items, bool]:
    """Rows behind `after` up to `until` (b"": the end of the prefix); whether these are all."""
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in replica.tree.overlay.items(prefix, after, _ANSWER_ROWS + 1):
        if until and key > until:
            return rows, True
        if len(rows) == _ANSWER_ROWS or size > ANSWER_BYTES:
            return rows, False
        rows.append((key, value))
        size += len(key) + len(value)
    return rows, True
