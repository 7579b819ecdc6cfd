"""The process behind a mount: `python -m blocktree.cli.mounting SETTINGS`.

It says in `ready.json` when files can be used, and in `failed.json` why it cannot mount.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from blocktree.cli.daemons import Daemon
from blocktree.cli.places import TreePlace, write_whole
from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.files.opening import Limits
from blocktree.files.volume import Volume
from blocktree.mount import disconnect, mount
from blocktree.services.actorfolders import ActorFolders

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is mounted where, as `settings.json` in the mount's folder."""

    tree: str  # the folder of the tree's place
    point: str
    seeds: tuple[str, ...]
    fast_close: bool = False


def start_mount(daemon: Daemon, settings: Settings) -> None:
    """Mount in the background, and return when files can be used.

    Raises:
        Fault: what the mount's process says why it cannot.
    """
    for name in ("ready.json", "failed.json"):
        (daemon.folder / name).unlink(missing_ok=True)
    write_whole(daemon.folder / "settings.json", json.dumps(asdict(settings)).encode())
    daemon.start("blocktree.cli.mounting", [str(daemon.folder)])
    try:
        daemon.wait_ready((daemon.folder / "ready.json").exists, START_SECONDS)
    except Fault:
        daemon.stop()
        failed = daemon.folder / "failed.json"
        if failed.exists():
            said = json.loads(failed.read_text())
            shutil.rmtree(daemon.folder)  # nothing was mounted, and the reason is told here
            raise Fault(
                Kind(said["kind"]), said["what"], path=said["path"], next_step=said["next_step"]
            ) from None
        raise


def stop_mount(daemon: Daemon) -> bool:
    """Unmount and end the process, which first commits what is written; whether it ran."""
    ran = daemon.stop()
    point = mount_point(daemon)
    if point is not None:
        with contextlib.suppress(Fault):  # nothing is there unless the process died
            disconnect(point, lazy=True)
    for name in ("ready.json", "failed.json", "settings.json"):
        (daemon.folder / name).unlink(missing_ok=True)
    return ran


def mount_point(daemon: Daemon) -> Path | None:
    """The directory that a mount is on, as far as it is known."""
    try:
        return Path(json.loads((daemon.folder / "settings.json").read_text())["point"])
    except (OSError, ValueError, KeyError):
        return None


async def serve(folder: Path, settings: Settings) -> None:
    """Mount, serve until told to stop or unmounted by somebody, unmount."""
    place = TreePlace(Path(settings.tree))
    client = Client(place.user(), seeds=[*settings.seeds, *place.seeds()], serve=True)
    try:
        await client.start()
        place.remember_seeds(client.addresses())
        files = await client.open_files(Limits(fast_close=settings.fast_close))
        volume = cast("Volume", ActorFolders(files, client.runtime))
        mounted = await mount(volume, Path(settings.point))
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        write_whole(folder / "ready.json", b"{}")
        waits = [loop.create_task(stop.wait()), loop.create_task(mounted.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        await files.sync()
        await mounted.unmount(lazy=True)
        for wait in waits:
            wait.cancel()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await client.close()


def main() -> None:
    """Run one mount; the only argument is its folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    folder = Path(sys.argv[1])
    kept = json.loads((folder / "settings.json").read_text())
    settings = Settings(kept["tree"], kept["point"], tuple(kept["seeds"]), kept["fast_close"])
    try:
        asyncio.run(serve(folder, settings))
    except Fault as fault:
        said = {
            "kind": int(fault.kind),
            "what": fault.what,
            "path": fault.path,
            "next_step": fault.next_step,
        }
        write_whole(folder / "failed.json", json.dumps(said).encode())
        sys.exit(f"{fault}")


if __name__ == "__main__":
    main()
