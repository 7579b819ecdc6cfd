"""A volume mounted at a directory of this machine, from `mount` to `unmount`."""

import asyncio
import os
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree.files.volume import Volume
from blocktree.mount.channel import connect, device_number, disconnect
from blocktree.mount.notices import Notices
from blocktree.mount.requests import SERVES
from blocktree.mount.session import Session
from blocktree.mount.tuning import keep_buffers, raise_read_ahead
from blocktree.mount.view import Options, View

START_SECONDS = 10.0
SETTLE_SECONDS = 5.0


class Mounted:
    """A live mount. The process that serves it must not touch its files from the loop's thread."""

    def __init__(self, point: Path, device: int, view: View) -> None:
        self.point = point
        self._device = device
        self._view = view
        self._session = Session(device, view, SERVES)
        self._notices: Notices | None = None
        self._closed = False
        self._closing = asyncio.Lock()
        self._dropping: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Serve; returns when the kernel has greeted.

        Raises:
            Fault: UNSUPPORTED for a kernel that is too old, FAILED if it does not greet.
        """
        self._session.start()
        try:
            terms = await asyncio.wait_for(asyncio.shield(self._session.terms), START_SECONDS)
        except (TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not self._session.ended.done():
                raise
            raise Fault(
                Kind.FAILED, "the kernel did not start the mount", path=str(self.point)
            ) from error
        self._notices = Notices(self._device, terms, self._session.busy)
        self._view.on_stale = self._drop
        self._view.volume.on_invalidate(self._invalidate)

    async def _invalidate(self, ino: int, name: bytes | None) -> None:
        if self._notices is None or self._session.ended.done():
            return
        if name is None:
            self._view.stamps.pop(ino, None)
            await self._notices.inode(ino)
        else:
            await self._notices.entry(ino, name)

    def _drop(self, ino: int) -> None:
        task = asyncio.get_running_loop().create_task(self._invalidate(ino, None))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def wait(self) -> None:
        """Return when it is unmounted, by us or by anybody, and everything is given back."""
        await asyncio.shield(self._session.ended)
        async with self._closing:
            await self._close()

    async def unmount(self, *, lazy: bool = False) -> None:
        """Unmount; `lazy` detaches what is in use, and ends it: it is served no more.

        Raises:
            Fault: IN_USE if files there are open and `lazy` is false.
        """
        if not self._session.ended.done():
            try:
                await asyncio.to_thread(disconnect, self.point)
            except Fault as fault:
                if not lazy or fault.kind is not Kind.IN_USE:
                    raise
                await asyncio.to_thread(disconnect, self.point, end=True)
                self._session.stop()
        await self.wait()

    async def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._notices is not None:
            self._notices.close()
        await self._session.settle(SETTLE_SECONDS)
        os.close(self._device)
        await self._view.close()


async def mount(volume: Volume, point: Path, options: Options | None = None) -> Mounted:
    """Mount `volume` at the empty directory `point`, as root or as an ordinary user.

    Without `options` root's mount is for all users and shows the owners that the tree records; an
    ordinary user's is for that user, and shows everything as theirs: the tree's rights decide.

    Raises:
        Fault: what is wrong with the mount point or with FUSE on this machine, and what to do.
    """
    keep_buffers()
    chosen = options or _usual_options()
    device = await asyncio.to_thread(connect, point, chosen)
    mounted = Mounted(point, device, View(volume, chosen))
    try:
        await mounted.start()
    except BaseException:
        await mounted.unmount(lazy=True)
        raise
    if os.geteuid() == 0:
        raise_read_ahead(device_number(point), chosen.read_ahead)
    return mounted


def _usual_options() -> Options:
    if os.geteuid() == 0:
        return Options(allow_other=True)
    return Options(uid=os.getuid(), gid=os.getgid())
