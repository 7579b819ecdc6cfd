"""What only the owner may ask of the tree: his key is opened, and goes by its own name."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from blocktree.cli.asking import read_passphrase
from blocktree.cli.places import TreePlace
from blocktree.client import Client
from blocktree.files.client import SectorService
from blocktree.keys import Credential, open_credential
from blocktree.store.messages import SESSION_BYTES

_PATIENCE_SECONDS = 20.0


def open_owner(place: TreePlace, passphrase_file: Path | None, *, no_input: bool) -> Credential:
    """The owner's credential; that of a throw-away tree opens by itself."""
    if passphrase_file is None and place.is_throwaway():
        passphrase_file = place.passphrase
    passphrase = read_passphrase(passphrase_file, no_input=no_input)
    return open_credential(place.owner_sealed(), passphrase)


@asynccontextmanager
async def in_person(
    place: TreePlace, owner: Credential, addresses: Sequence[str]
) -> AsyncIterator[tuple[Client, SectorService]]:
    """A client in the owner's name, and the sector service as it asks it."""
    client = Client(owner, seeds=[*addresses, *place.seeds()], in_person=True)
    try:
        await client.start()
        session, clock = bytes(SESSION_BYTES), time.monotonic
        patience_s = _PATIENCE_SECONDS
        yield (
            client,
            SectorService(client.runtime, client.nodes, session, clock, patience_s=patience_s),
        )
    finally:
        await client.close()
