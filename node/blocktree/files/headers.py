"""The newest header of every file this client uses, held under leases of the sector service.

A leased header is valid without asking until the lease ends or is recalled. Everything else is
asked for; requests that arrive together travel in one message.

Invariants
- A header handed out by `get` was the newest at some moment between call and answer, and was
  checked by `Trust`: signature, writer's chain, writer's right.
- For each file the version handed out never falls, and one version never has two contents:
  an older or forked header is a lie of the server and is refused as DAMAGED.
- A lease whose grant is not above the last recall's of that file is never used.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.files.answers import given_up, settle
from blocktree.files.client import SectorService, as_fault
from blocktree.files.trust import Trust
from blocktree.names import FileId, Path
from blocktree.sectors.header import Header, SignedHeader, load_header
from blocktree.store.firstlease import leased_alone
from blocktree.store.messages import (
    GET_HEADERS_MAX,
    Committed,
    GetHeaders,
    Headers,
)

KNOWN_BYTES_MAX = 48 << 20
VOIDED_MAX = 1 << 16
_TURN_HEADERS = 8  # judged in one turn of the loop
_ENTRY_BYTES = 2500  # of Python objects for each header


@dataclass(slots=True)
class Known:
    """What is known of one file."""

    signed: SignedHeader
    grant: int = 0  # of its lease; 0: none
    exclusive: bool = False
    holders: tuple[Path, ...] = ()

    @property
    def header(self) -> Header:
        """The decoded header."""
        return self.signed.header


@dataclass(frozen=True, slots=True)
class Lease:
    """What an answer says besides the headers."""

    grant: int
    exclusive: bool
    holders: tuple[Path, ...]


class HeaderCache:
    """Headers by file id, bounded in bytes; what came in longest ago is forgotten first."""

    def __init__(self, service: SectorService, trust: Trust) -> None:
        self._service = service
        self._trust = trust
        trust.headers = self._above
        self._known: OrderedDict[FileId, Known] = OrderedDict()
        self._bytes = 0
        self._voided: OrderedDict[FileId, int] = OrderedDict()  # the last recall of each file
        self._waiting: dict[tuple[FileId, bool], asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def peek(self, file: FileId) -> Known | None:
        """What is known of a file, valid or not, without asking."""
        return self._known.get(file)

    def fresh(self, file: FileId, *, exclusive: bool = False) -> Known | None:
        """What is known, if it may be used without asking."""
        known = self._known.get(file)
        if known is None or not self._service.leased(known.grant):
            return None
        return known if known.exclusive or not exclusive else None

    def exclusive(self, file: FileId) -> bool:
        """Whether the file is, or was until just now, leased to this client alone."""
        known = self._known.get(file)
        return known is not None and known.exclusive

    async def get(self, file: FileId, *, exclusive: bool = False) -> Known:
        """The newest header of a file.

        Raises:
            Fault: NOT_FOUND if there is no such file; DAMAGED or DENIED for a lying server; as
                `SectorService.ask`.
        """
        known = self.fresh(file, exclusive=exclusive)
        if known is None:
            await self._ask_for((file,), exclusive=exclusive)
            known = self._known.get(file)
            if known is None:
                raise Fault(Kind.NOT_FOUND, "no such file", path=file.hex())
        return known

    async def get_many(self, files: Sequence[FileId]) -> list[Known | None]:
        """The newest headers of many files; None for those that do not exist."""
        missing = [file for file in files if self.fresh(file) is None]
        await self._ask_for(missing)
        return [self._known.get(file) for file in files]

    def expect(self, files: Iterable[FileId]) -> None:
        """Ask for headers that will be asked for, in this order; nobody waits for them here."""
        for file in files:
            self._answer_for(file, exclusive=False)

    async def _above(self, file: FileId, newest: bool) -> Known:  # noqa: FBT001 - a callback
        """A directory's header for judging what is below it; also when its lease is over.

        Rights are enforced by the service when a header is committed; a reader that judges by a
        slightly older access errs on nothing but the time of a revocation.
        """
        known = None if newest else self._known.get(file)
        return known if known is not None else await self.get(file)

    def adopt(self, signed: Iterable[SignedHeader], sent: float, answer: Committed) -> None:
        """Take note of headers that this client just committed."""
        self._service.leased_until(sent, answer.leased_ms, answer.since)
        for one in signed:
            file = one.header.file
            grant = answer.grant if answer.leased_ms else 0
            if self._voided.get(file, -1) >= grant:
                grant = 0
            known = self._known.get(file)
            if known is not None and known.header.version >= one.header.version:
                continue  # an answer that overtook the commit's brought something newer
            held = known is not None and known.exclusive and self._service.leased(known.grant)
            held |= leased_alone(one.header)
            holders = known.holders if known is not None else ()
            self._keep(file, Known(one, grant, held and grant > 0, holders))

    def drop(self, file: FileId) -> None:
        """The file is gone, or nothing of it is worth keeping."""
        known = self._known.pop(file, None)
        if known is not None:
            self._bytes -= _size(known)

    def stale(self, files: Iterable[FileId]) -> None:
        """Ask again before these are used."""
        for file in files:
            known = self._known.get(file)
            if known is not None:
                known.grant = 0
                known.exclusive = False

    def recalled(self, files: Iterable[FileId], grant: int) -> None:
        """The leader takes leases back."""
        for file in files:
            self._voided[file] = max(grant, self._voided.pop(file, 0))
            if len(self._voided) > VOIDED_MAX:
                self._voided.popitem(last=False)
            known = self._known.get(file)
            if known is not None and known.grant <= grant:
                known.grant = 0
                known.exclusive = False

    # asking

    async def _ask_for(self, files: Sequence[FileId], *, exclusive: bool = False) -> None:
        for answer in [self._answer_for(file, exclusive=exclusive) for file in files]:
            await asyncio.shield(answer)

    def _answer_for(self, file: FileId, *, exclusive: bool) -> asyncio.Future[None]:
        """The answer to one question, asked at the end of this turn of the loop."""
        loop = asyncio.get_running_loop()
        key = (file, exclusive)
        answer = self._waiting.get(key)
        if answer is None:
            if not any(mode is exclusive for _, mode in self._waiting):
                loop.call_soon(self._launch, exclusive)
            answer = self._waiting[key] = loop.create_future()
        return answer

    def _launch(self, exclusive: bool) -> None:  # noqa: FBT001 - call_soon passes it by position
        keys = [key for key in self._waiting if key[1] is exclusive]
        for start in range(0, len(keys), GET_HEADERS_MAX):
            some = {key[0]: self._waiting.pop(key) for key in keys[start : start + GET_HEADERS_MAX]}
            task = asyncio.get_running_loop().create_task(self._answer(some, exclusive=exclusive))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(
        self, answers: dict[FileId, asyncio.Future[None]], *, exclusive: bool
    ) -> None:
        try:
            await self._ask(answers, exclusive=exclusive)
        finally:
            settle(answers.values(), given_up())  # who has no answer yet will get none

    async def _ask(self, answers: dict[FileId, asyncio.Future[None]], *, exclusive: bool) -> None:
        files = tuple(answers)
        had = [self._known.get(file) for file in files]
        versions = tuple(known.header.version if known else 0 for known in had)
        message = GetHeaders(files, versions, self._service.session, exclusive)
        try:
            sent = self._service.clock()
            reply = await self._service.ask(message, Headers)
            self._service.leased_until(sent, reply.leased_ms, reply.since)
            grant = reply.grant if reply.leased_ms else 0
            holders = reply.holders or ((),) * len(files)
            _check_counts(len(files), len(reply.headers), len(holders))
        except Exception as cause:
            settle(answers.values(), as_fault(cause))
            return
        each = zip(files, had, reply.headers, holders, strict=True)
        for number, (file, known, encoded, who) in enumerate(each):
            if number % _TURN_HEADERS == 1:  # who waits for the first goes on at once
                await asyncio.sleep(0)
            try:
                lease = Lease(grant, exclusive, who)
                await self._take(file, known, encoded, lease)
                settle([answers[file]], None)
            except Exception as cause:
                settle([answers[file]], as_fault(cause))

    async def _take(
        self, file: FileId, had: Known | None, encoded: bytes | None, lease: Lease
    ) -> None:
        """Judge one header of an answer and keep it; a lie leaves what was known as it was."""
        if encoded is None:
            if self._known.get(file) is had:  # and not something that was committed here meanwhile
                self.drop(file)
            return
        if encoded == b"":
            if had is None:
                raise Fault(Kind.CONTRACT, "unchanged, of a header that is not known here")
            signed = had.signed
        else:
            signed = load_header(encoded)
        if signed.header.file != file:
            raise Fault(Kind.DAMAGED, "the header of another file", path=file.hex())
        if had is not None and had.header.version > signed.header.version:
            raise Fault(Kind.DAMAGED, "an older header than one already seen", path=file.hex())
        await self._trust.check(signed)
        now = self._known.get(file)
        if now is not None:
            self._compare(now, signed)
            if now.header.version > signed.header.version:
                return  # our own commit overtook this answer
            if now.signed.digest == signed.digest:
                signed = now.signed
        grant = 0 if self._voided.get(file, -1) >= lease.grant else lease.grant
        self._keep(file, Known(signed, grant, lease.exclusive and grant > 0, lease.holders))

    def _compare(self, now: Known, signed: SignedHeader) -> None:
        new, old = signed.header, now.header
        if new.version == old.version and signed.digest != now.signed.digest:
            raise Fault(Kind.DAMAGED, "two headers of one version", path=new.file.hex())
        if new.version == old.version + 1 and new.previous != now.signed.digest:
            raise Fault(Kind.DAMAGED, "a header that does not follow the last", path=new.file.hex())

    def _keep(self, file: FileId, known: Known) -> None:
        self.drop(file)
        self._known[file] = known
        self._bytes += _size(known)
        while self._bytes > KNOWN_BYTES_MAX:
            self._bytes -= _size(self._known.popitem(last=False)[1])


def _size(known: Known) -> int:
    return _ENTRY_BYTES + 2 * len(known.signed.encoded)  # as bytes, and as fields


def _check_counts(asked: int, headers: int, holders: int) -> None:
    if headers != asked or holders != asked:
        raise Fault(Kind.CONTRACT, "an answer that does not fit GetHeaders")
