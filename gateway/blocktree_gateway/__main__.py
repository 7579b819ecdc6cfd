"""`python -m blocktree_gateway STATE_DIR`: runs a gateway in the foreground until SIGTERM."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as File

from blocktree.actors.blames import BLAMES_ACTOR, BlamesActor
from blocktree.cli.places import TreePlace
from blocktree.client import Client
from blocktree.fault import Fault
from blocktree.files.opening import Limits
from blocktree.names import Path
from blocktree.store.place_messages import ListProviders, Providers
from blocktree_gateway.folder import GatewayFolder, Ready
from blocktree_gateway.gateway import Above, Gateway, Survey

log = logging.getLogger(__name__)

_FIND_SECONDS = 600.0  # a gateway that boots before the nodes waits for them
_CACHE_BYTES = 8 << 20
_DIRTY_BYTES = 8 << 20
_PAGE = 1024
_GC_THRESHOLDS = (10_000, 20, 50)
_M_ARENA_MAX = -8


class TreeSurvey(Survey):
    """Asks the sector service who answers where."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def answered(self) -> Sequence[Path]:
        """Every path at which anybody answers."""
        found: list[Path] = []
        root, after = Path(f"/{self._client.user.tree}"), ""
        while True:
            page = await self._client.paths.service.ask(ListProviders(root, after), Providers)
            found += [each.path for each in page.providers]
            if len(page.providers) < _PAGE:
                return found
            after = found[-1]


async def serve(root: File) -> None:
    """Run a gateway until SIGTERM or SIGINT.

    Raises:
        Fault: why it cannot.
    """
    folder = GatewayFolder(root)
    settings = folder.settings()
    place = TreePlace(File(settings.tree))
    user = place.user()
    credential = folder.credential(user)
    seeds = (*settings.seeds, *place.seeds())
    client = Client(user, seeds=seeds, serve=True, known_as=credential)
    try:
        await client.start(find_seconds=_FIND_SECONDS)
        limits = Limits(cache_bytes=_CACHE_BYTES, dirty_bytes=_DIRTY_BYTES)
        files = await client.open_files(limits)
        above = Above(
            credential=credential,
            user=user.key,
            runtime=client.runtime,
            volume=files,
            claims=client.paths.registrar,
            survey=TreeSurvey(client),
            ask=client.runtime.ask,
        )
        gateway = Gateway(settings, above, ports=folder.ports)
        try:
            await gateway.start()
            assert gateway.udp is not None
            kept = replace(settings, udp=gateway.udp.number, tls=gateway.tls.number)
            if kept != settings:  # devices remember where it listens
                folder.save_settings(kept)
            blames = BlamesActor(client.runtime.ledger, lambda _call: None)  # links admit members
            await client.runtime.spawn(BLAMES_ACTOR, blames)
            await _until_stopped(folder, gateway, credential.path)
        finally:
            folder.withdraw()
            await gateway.stop()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await client.close()


async def _until_stopped(folder: GatewayFolder, gateway: Gateway, path: Path) -> None:
    assert gateway.udp is not None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    folder.announce(Ready(os.getpid(), path, gateway.udp.number, gateway.tls.number))
    log.info("%s serves: UDP %d, TLS %d", path, gateway.udp.number, gateway.tls.number)
    await stop.wait()
    log.info("stopping")


def main(arguments: list[str]) -> int:
    """Run the gateway whose state directory is the only argument; the exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if len(arguments) != 1:
        log.error("usage: python -m blocktree_gateway STATE_DIR")
        return 2
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    try:
        asyncio.run(serve(File(arguments[0])))
    except Fault as fault:
        log.error("%s", fault)  # noqa: TRY400 - a sentence for people, not a traceback
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
