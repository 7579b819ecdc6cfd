"""Commits: new headers with the blobs they add, sent as one transaction until the outcome is known.

Small blobs ride along in the commit's message, so a small file costs one round trip; larger ones
are put ahead and only waited for here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from blocktree.fault import Fault, Kind
from blocktree.files.cache import Held, as_it_is
from blocktree.files.client import SectorService
from blocktree.files.headers import HeaderCache
from blocktree.files.trust import Trust
from blocktree.files.upload import Batch, Uploads
from blocktree.keys import Credential
from blocktree.names import Buffer, Digest, FileId
from blocktree.sectors.header import Header, SignedHeader, sign_headers, succeeding
from blocktree.sectors.transaction import Change, Transaction
from blocktree.store import messages
from blocktree.store.messages import Committed
from blocktree.wire import encode

RIDE_BYTES_MAX = 1 << 20  # of blobs that go with one transaction
_MISSING_ROUNDS = 4  # of putting blobs again that a lost leader had staged


@dataclass(slots=True)
class NewVersion:
    """One file's part in a transaction.

    `header` is what it shall be, without version, previous, writer and signature; None deletes it.
    """

    file: FileId
    old: SignedHeader | None  # None: it is new
    header: Header | None
    batches: Sequence[Batch] = ()  # that hold sectors it adds
    sectors: Sequence[Digest] = ()  # the sectors it adds
    pages: dict[Digest, bytes] = field(default_factory=dict)  # the hash pages it adds


class Commits:
    """Sends transactions.

    Args:
        service: where they go.
        credential: whose key signs the headers.
        headers: learns what was committed.
        trust: is told what this client signed itself.
        uploads: puts what does not ride along.
    """

    def __init__(
        self,
        service: SectorService,
        credential: Credential,
        headers: HeaderCache,
        trust: Trust,
        uploads: Uploads,
    ) -> None:
        self._service = service
        self._credential = credential
        self._headers = headers
        self._trust = trust
        self._uploads = uploads
        self.writer = credential.principal
        self.count = 0

    async def commit(self, versions: Sequence[NewVersion]) -> list[SignedHeader | None]:
        """Make all of it durable and visible, or none of it; the new headers in their order.

        Raises:
            Fault: CONFLICT if one of the files changed meanwhile (nothing was done, and those files
                are asked for again before their next use); as `messages.Commit` otherwise.
        """
        signed = _signed(versions, self._credential)
        changes = tuple(map(_change, versions, signed))
        transaction = encode(Transaction(changes))
        try:
            sent, answer = await self._send(transaction, versions)
        except Fault as fault:
            if fault.kind in (Kind.CONFLICT, Kind.NOT_FOUND, Kind.EXISTS):
                self._headers.stale(version.file for version in versions)
            raise
        self.count += 1
        for one in signed:
            if one is not None:
                self._trust.wrote(one)
        self._headers.adopt([one for one in signed if one is not None], sent, answer)
        for version in versions:
            if version.header is None:
                self._headers.drop(version.file)
            for digest, page in version.pages.items():
                self._uploads.cache.put(digest, Held(page, as_it_is))
        return signed

    async def _send(
        self, transaction: bytes, versions: Sequence[NewVersion]
    ) -> tuple[float, Committed]:
        batches = list(dict.fromkeys(batch for v in versions for batch in v.batches))
        pages: list[Buffer] = [page for v in versions for page in v.pages.values()]
        riding, rest, loose = _riders(batches, pages)
        if loose:
            await self._uploads.put_loose(loose)
        for _ in range(_MISSING_ROUNDS):
            await self._uploads.stored(rest)
            lengths = [length for batch in riding for length in batch.lengths]
            bodies: list[Buffer] = [batch.body for batch in riding]
            if not loose:
                lengths += map(len, pages)
                bodies += pages
            body = bodies[0] if len(bodies) == 1 else b"".join(bodies)
            session = self._service.session
            message = messages.Commit(transaction, session, tuple(lengths), body)
            try:
                sent = self._service.clock()
                return sent, await self._service.ask(message, Committed)
            except Fault as fault:
                if fault.kind is not Kind.NOT_FOUND or not (rest or loose):
                    raise
                for batch in rest:
                    batch.stored = False
                await self._uploads.put_loose(loose)
        raise Fault(Kind.NO_QUORUM, "the leader was lost again and again during a commit")


def _signed(versions: Sequence[NewVersion], credential: Credential) -> list[SignedHeader | None]:
    """The new headers, signed together; None where there is to be none."""
    headers = [_following(version, credential) for version in versions]
    signed = iter(sign_headers([each for each in headers if each is not None], credential.key))
    return [None if each is None else next(signed) for each in headers]


def _following(version: NewVersion, credential: Credential) -> Header | None:
    if version.header is None:
        return None
    old = version.old
    number = 1 if old is None else old.header.version + 1
    previous = b"" if old is None else old.digest
    return succeeding(version.header, number, previous, credential.principal)


def _change(version: NewVersion, signed: SignedHeader | None) -> Change:
    expected = 0 if version.old is None else version.old.header.version
    if signed is None:
        return Change(version.file, expected)
    return Change(version.file, expected, signed.encoded, (*version.sectors, *version.pages))


def light_bytes(versions: Sequence[NewVersion]) -> int | None:
    """How many bytes of blobs ride along with these; None if any are put ahead."""
    batches = [batch for version in versions for batch in version.batches]
    if any(batch.goes_ahead for batch in batches):
        return None
    pages = [len(page) for version in versions for page in version.pages.values()]
    return sum(batch.size for batch in batches) + sum(pages)


def _riders(
    batches: Sequence[Batch], pages: Sequence[Buffer]
) -> tuple[list[Batch], list[Batch], Sequence[Buffer]]:
    """Which batches ride along, which are put ahead, and the pages if they do not ride."""
    room = RIDE_BYTES_MAX - sum(map(len, pages))
    loose: Sequence[Buffer] = ()
    if room < 0:
        room, loose = RIDE_BYTES_MAX, pages
    riding, rest = [], []
    for batch in batches:
        if batch.goes_ahead or batch.size > room:
            rest.append(batch)
        else:
            riding.append(batch)
            room -= batch.size
    return riding, rest, loose
