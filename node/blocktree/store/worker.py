"""Where blocking work runs: one thread for the disk, a few for hashes and signatures.

The service sees only `Worker`, so that a simulated world can run the same jobs in its own order and
its own time.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from blocktree.fault import Fault, Kind

_T = TypeVar("_T")
Done = Callable[[Any, Exception | None], None]


class Worker(Protocol):
    """Runs jobs in the order they were submitted; `done` is called on the event loop."""

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits here: then what it guards may be touched on the loop."""

    def submit(self, job: Callable[[], Any], done: Done) -> None:
        """Run `job`, then `done(its result, None)` or `done(None, what it raised)`."""

    def stop(self) -> None:
        """Finish the jobs submitted so far; later ones fail with STOPPED."""


class Threads:
    """`count` threads over one queue; with one thread jobs run strictly in order."""

    def __init__(self, name: str, count: int = 1) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        self._stopped = False
        self._under_way = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits; counted on the loop, so it holds until the next submit."""
        return not self._under_way

    def submit(self, job: Callable[[], Any], done: Done) -> None:
        """Queue a job."""
        if self._stopped:
            self._loop.call_soon(done, None, Fault(Kind.STOPPED, "the node is stopping"))
            return
        self._under_way += 1
        self._queue.put((job, done))

    def stop(self) -> None:
        """Let the threads end after what is queued, and wait for them."""
        self._stopped = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            job, done = item
            result, error = None, None
            try:
                result = job()
            except Exception as cause:  # handed to whoever waits
                error = cause
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._finish, done, result, error)

    def _finish(self, done: Done, result: Any, error: Exception | None) -> None:
        self._under_way -= 1
        done(result, error)


def run(worker: Worker, job: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Submit a job and wait for what it returns or raises."""
    future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

    def done(result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    worker.submit(job, done)
    return future
