"""Actors for boards: a bounded mailbox, one message at a time, timers that post to it."""

import asyncio

from bt.fault import BUSY, STOPPED, Fault

MAILBOX = 8


class Actor:
    """Subclass it, and let `start` set timers; a method may be a coroutine or not.

    What a method raises ends `run`: whoever runs the actor decides what then. Its own attributes
    begin with `_mailbox` and `_timer`.
    """

    def __init__(self):
        self._mailbox = []
        self._mailbox_came = asyncio.Event()
        self._timer_tasks = []
        self._mailbox_open = True

    async def run(self):
        """Take messages until something is raised."""
        try:
            await _done(self.start())
            while True:
                method, arguments, reply = await self._mailbox_next()
                try:
                    result = await _done(method(*arguments))
                except Fault as fault:
                    if reply is None:
                        raise
                    reply.set(fault)
                    continue
                except Exception:
                    if reply is not None:
                        reply.set(Fault(STOPPED, "it crashed over this"))
                    raise
                if reply is not None:
                    reply.set(result)
        finally:
            self.stop()

    def start(self):
        """Called once, first."""

    def stop(self):
        """End timers and answer who waits; called by itself when `run` ends."""
        self._mailbox_open = False
        for timer in self._timer_tasks:
            timer.cancel()
        self._timer_tasks = []
        for _method, _arguments, reply in self._mailbox:
            if reply is not None:
                reply.set(Fault(STOPPED, "it stopped"))
        self._mailbox = []

    def tell(self, method, *arguments):
        """Post a call of one of its methods; False if the mailbox is full."""
        return self._mailbox_post(method, arguments, None)

    async def ask(self, method, *arguments):
        """Post a call and wait for what it returns.

        Raises:
            Fault: BUSY if the mailbox is full, STOPPED if the actor ends first, or the method's.
        """
        reply = Reply()
        if not self._mailbox_post(method, arguments, reply):
            raise Fault(BUSY if self._mailbox_open else STOPPED, "its mailbox takes no more")
        return await reply.get()

    def every(self, ms, method):
        """Call a method each `ms` milliseconds; a call that is still waiting is not doubled."""
        self._timer_tasks.append(asyncio.create_task(self._timer_every(ms, method)))

    def after(self, ms, method):
        """Call a method once, in `ms` milliseconds."""
        self._timer_tasks = self._timer_tasks[-15:]
        self._timer_tasks.append(asyncio.create_task(self._timer_once(ms, method)))

    async def _timer_every(self, ms, method):
        while True:
            await asyncio.sleep(ms / 1000)
            if not [waiting for waiting in self._mailbox if waiting[0] == method]:
                self._mailbox_post(method, (), None)

    async def _timer_once(self, ms, method):
        await asyncio.sleep(ms / 1000)
        self._mailbox_post(method, (), None)

    def _mailbox_post(self, method, arguments, reply):
        if not self._mailbox_open or len(self._mailbox) >= MAILBOX:
            return False
        self._mailbox.append((method, arguments, reply))
        self._mailbox_came.set()
        return True

    async def _mailbox_next(self):
        while not self._mailbox:
            self._mailbox_came.clear()
            await self._mailbox_came.wait()
        return self._mailbox.pop(0)


class Reply:
    """What an ask waits for."""

    def __init__(self):
        self._came = asyncio.Event()
        self._value = None

    def set(self, value):
        """Answer; a Fault is raised where it is waited for."""
        self._value = value
        self._came.set()

    async def get(self):
        """Wait for the answer."""
        await self._came.wait()
        if isinstance(self._value, Fault):
            raise self._value
        return self._value


async def _done(value):
    """The value, or what the coroutine returns."""
    return await value if hasattr(value, "send") else value
