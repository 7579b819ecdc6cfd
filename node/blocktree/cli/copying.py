"""Copies files and whole directories from folder to folder, many small ones at a time.

The walk runs ahead of the copying by a bounded queue. Files that are written at the same time share
transactions of the tree, so copying many at once is what makes a directory of small files quick.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

from blocktree.cli.exits import exit_code
from blocktree.cli.folders import Folder, Item, Source
from blocktree.cli.output import complain
from blocktree.cli.progress import Progress
from blocktree.cli.session import ABOUT_FILES, together
from blocktree.fault import Fault, Kind
from blocktree.files.volume import NodeKind
from blocktree.names import Buffer

WORKERS = 48  # as many as one transaction takes
_QUEUE = 256  # files found and not begun
_BIG = 8 << 20  # bytes; of bigger files only a few are copied at once, to keep reading in order
_BIG_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Job:
    """Copy what is called `name` in `source` to `new_name` in `target`."""

    source: Source
    name: bytes
    item: Item
    target: Folder
    new_name: bytes


class Copying:
    """One run of `bt cp`.

    Args:
        progress: told what is found and done.
        keep: copy permissions and modification times exactly.
    """

    def __init__(self, progress: Progress, *, keep: bool) -> None:
        self.code = 0  # exit code of the first file that failed
        self.directories = 0
        self._progress = progress
        self._keep = keep
        self._queue: asyncio.Queue[Job | None] = asyncio.Queue(_QUEUE)
        self._big = asyncio.Semaphore(_BIG_AT_ONCE)
        self._made: list[Job] = []  # directories whose times are set when all is in them

    async def run(self, jobs: Sequence[Job]) -> None:
        """Do all jobs; what fails for one file is told and the others go on.

        Raises:
            Fault: what no other file would escape: NO_SPACE, NO_QUORUM, UNREACHABLE.
        """
        await together([self._find(jobs), *(self._work() for _ in range(WORKERS))])
        for job in reversed(self._made):
            with self.told(job.target.path(job.new_name)):
                await job.target.keep(job.new_name, job.item)

    async def inside(self, source: Source, target: Folder) -> Sequence[Job]:
        """The jobs that copy everything in one folder into another."""
        return [Job(source, name, item, target, name) for name, item in await source.entries()]

    async def _find(self, jobs: Sequence[Job]) -> None:
        """Make directories, in order; hand files to the workers."""
        pending = list(reversed(jobs))
        while pending:
            job = pending.pop()
            if not job.item.is_directory:
                self._progress.found(job.item.size)
                await self._queue.put(job)
                continue
            source, target = job.source.path(job.name), job.target.path(job.new_name)
            with self.told(target):
                made = await job.target.make(job.new_name)
                self.directories += 1
                if self._keep:
                    self._made.append(job)
                with self.told(source):
                    inner = await job.source.enter(job.name)
                    pending.extend(reversed(await self.inside(inner, made)))
        for _ in range(WORKERS):
            await self._queue.put(None)

    async def _work(self) -> None:
        while (job := await self._queue.get()) is not None:
            with self.told(job.target.path(job.new_name)):
                if job.item.size > _BIG:
                    async with self._big:
                        await self._copy(job)
                else:
                    await self._copy(job)
                self._progress.finished()

    async def _copy(self, job: Job) -> None:
        if job.item.kind is NodeKind.FILE:
            async with contextlib.aclosing(self._content(job)) as content:
                await job.target.write(job.new_name, content, job.item, keep=self._keep)
        elif job.item.kind is NodeKind.SYMLINK:
            target = await job.source.readlink(job.name)
            await job.target.link(job.new_name, target)
        else:
            path = job.source.path(job.name)
            raise _SourceFault(Kind.UNSUPPORTED, "not copied: a device, pipe or socket", path=path)

    async def _content(self, job: Job) -> AsyncGenerator[Buffer, None]:
        try:
            async with contextlib.aclosing(job.source.read(job.name)) as chunks:
                async for chunk in chunks:
                    self._progress.moved(len(chunk))
                    yield chunk
        except Fault as fault:
            path = job.source.path(job.name)
            raise _SourceFault(fault.kind, fault.what, path=path) from None

    @contextlib.contextmanager
    def told(self, path: str) -> Iterator[None]:
        """Tell a fault about one file and go on; others end the copy."""
        try:
            yield
        except Fault as fault:
            if fault.kind not in ABOUT_FILES:
                raise
            if not isinstance(fault, _SourceFault):
                fault.path = path
            complain(fault)
            self.code = self.code or exit_code(fault.kind)


class _SourceFault(Fault):
    """A fault that already names the source's path."""
