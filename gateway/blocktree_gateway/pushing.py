"""Putting a file on a device: offered, asked for from where it stopped, sent in pieces, taken."""

import asyncio
import hashlib
from collections.abc import Callable

from blocktree.fault import Fault, Kind
from blocktree.wire import Record
from blocktree_gateway.messages import (
    APP_BYTES_MAX,
    CHUNK_BYTES_MAX,
    Chunk,
    Offer,
    OfferKind,
    Taken,
    Want,
)

PATIENCE_S = 60.0  # without a word from the device
NAME_BYTES_MAX = 32
NO_PROOF = bytes(16)
_AHEAD = 16  # pieces in the outbox
_POLL_S = 0.005


class Push:
    """One file on its way.

    Args:
        kind: an app or a chain of certificates.
        name: for people, at most 32 bytes.
        content: of the file.
        proof: that who may read the device offers it; a chain needs none.

    Raises:
        Fault: TOO_LARGE, USAGE.
    """

    def __init__(self, kind: OfferKind, name: str, content: bytes, proof: bytes = NO_PROOF) -> None:
        if len(content) > APP_BYTES_MAX:
            what = f"{len(content)} bytes; a device takes at most {APP_BYTES_MAX}"
            raise Fault(Kind.TOO_LARGE, what, path=name)
        if not 0 < len(name.encode()) <= NAME_BYTES_MAX:
            raise Fault(Kind.USAGE, f"a name has 1 to {NAME_BYTES_MAX} bytes", path=name)
        self.offer = Offer(kind, name, len(content), hashlib.sha256(content).digest(), proof)
        self._content = content
        self._next = len(content)  # nothing is sent before it is wanted
        self._word = asyncio.Event()
        self._taken: Taken | None = None

    async def run(self, post: Callable[[Record], bool], waiting: Callable[[], int]) -> Taken:
        """Send it, and wait until the device has taken or refused it.

        Args:
            post: sends a message; False if it cannot be sent now.
            waiting: how many messages wait to be sent.

        Raises:
            Fault: UNREACHABLE if the device says nothing for a minute.
        """
        if not post(self.offer):
            raise Fault(Kind.UNREACHABLE, "the device is away", next_step="try again when it is on")
        while self._taken is None:
            self._word.clear()
            while self._next < len(self._content) and waiting() < _AHEAD:
                piece = self._content[self._next : self._next + CHUNK_BYTES_MAX]
                if not post(Chunk(self._next, piece)):
                    break
                self._next += len(piece)
            timeout = _POLL_S if self._next < len(self._content) else PATIENCE_S
            try:
                async with asyncio.timeout(timeout):
                    await self._word.wait()
            except TimeoutError:
                if timeout == PATIENCE_S:
                    raise Fault(
                        Kind.UNREACHABLE, "the device stopped answering", path=self.offer.name
                    ) from None
        return self._taken

    def wanted(self, want: Want) -> None:
        """The device asks for it, from an offset on."""
        if want.digest == self.offer.digest and 0 <= want.offset <= len(self._content):
            self._next = want.offset
            self._word.set()

    def taken(self, taken: Taken) -> None:
        """The device has it, or will not."""
        if taken.digest == self.offer.digest:
            self._taken = taken
            self._word.set()
