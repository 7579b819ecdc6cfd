"""Running the app: loaded from its slot, started again, and replaced by the one before it."""

import asyncio
import gc
import sys

from bt.conversation import Conversation
from bt.fault import NOT_FOUND, USAGE, Fault

TRIAL, PROVEN, FALLEN_BACK, NONE = 1, 2, 3, 4
_WAIT_MOST = 64
_TYPES = {"bool": bool, "int": int, "text": str, "bytes": bytes}


class Runner:
    """Keeps one app alive.

    Args:
        slots: where apps lie.
        readings: what the app measures goes there.
        settings: the board's pins and the like, for the app.
        changed: called with (state, sentence) when the app started, proved itself or fell back.
        prove: seconds without a crash that prove an app.
    """

    def __init__(self, slots, readings, settings, changed, prove=60):
        self._slots = slots
        self._readings = readings
        self.settings = settings
        self._changed = changed
        self._prove = prove
        self._task = None
        self._switched = asyncio.Event()
        self._failures = 0
        self._modules = ()
        self.nap = None  # a coroutine function: milliseconds without a link
        self.app = None
        self.conversation = None

    async def run(self):
        """Start the app again and again, for ever."""
        if self._slots.starting():
            self._changed(FALLEN_BACK, "the board was restarted again and again")
        while True:
            self._switched.clear()
            wait = 0
            try:
                self._load()
                self._task = asyncio.create_task(self._live())
                await self._task
            except asyncio.CancelledError:
                if not self._switched.is_set():
                    raise
            except Exception as cause:  # an app may raise anything
                wait = self._crashed(cause)
            self._unload()
            await self._pause(wait)

    def switch(self):
        """Stop the app that runs: another was installed."""
        self._failures = 0
        self._switched.set()
        if self._task is not None:
            self._task.cancel()

    async def command(self, name, arguments):
        """Carry out a command.

        Raises:
            Fault: NOT_FOUND, USAGE or CONTRACT before the app sees it, or what the app says.
        """
        app = self.app
        if app is None:
            raise Fault(NOT_FOUND, "no app runs")
        for line in app.commands:
            words = line.split(" ")
            if words[0] == name:
                break
        else:
            raise Fault(NOT_FOUND, "no command %s; there are: %s" % (name, ", ".join(app.commands)))
        fits = len(arguments) == len(words) - 1
        for word, value in zip(words[1:], arguments):
            kind = _TYPES[word.split(":")[1]]
            fits = (
                fits and isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            )
        if not fits:
            raise Fault(USAGE, "expected " + line)
        conversation = self.conversation
        conversation.take(name)
        try:
            result = await app.ask(getattr(app, name.replace(".", "_").lower()), *arguments)
        except Exception:
            conversation.refuse()
            raise
        conversation.done()
        return result if isinstance(result, tuple) else () if result is None else (result,)

    def announce(self):
        """Say in the stream which app measures, and what."""
        if self.app is not None:
            name, digest = self._slots.app()
            self._readings.start(name, digest, self.app.columns)

    def keep(self, values):
        """A reading of the app: one value for each column."""
        if len(values) != len(self.app.columns):
            raise ValueError("%d values for %d columns" % (len(values), len(self.app.columns)))
        self._readings.reading(values)

    def say(self, level, text):
        """A note of the app."""
        self._readings.note(level, text)

    def face(self):
        """(columns, commands) of the app."""
        return (self.app.columns, self.app.commands) if self.app is not None else ((), ())

    def _load(self):
        folder = self._slots.folder()
        if not folder:
            return
        gc.collect()
        sys.path.insert(0, folder)
        getattr(sys, "path_importer_cache", {}).clear()
        before = set(sys.modules)
        try:
            module = __import__("app")
        finally:
            sys.path.remove(folder)
            self._modules = [name for name in sys.modules if name not in before]
        self.app = module.App(self)
        self.conversation = Conversation(folder + "/contract.tbl", self._blame)
        self.announce()

    def _unload(self):
        self.app = self._task = None
        for name in self._modules:
            sys.modules.pop(name, None)
        self._modules = []
        gc.collect()

    async def _live(self):
        if self.app is None:
            self._changed(NONE, "no app; push one with: bt app push")
            await asyncio.Event().wait()
        self._changed(TRIAL if self._slots.trial else PROVEN, "")
        proving = asyncio.create_task(self._prove_it())
        try:
            await self.app.run()
        finally:
            proving.cancel()
            self.app.stop()

    async def _prove_it(self):
        await asyncio.sleep(self._prove)
        told = self._slots.trial
        self._failures = 0
        self._slots.proven()
        if told:
            self._changed(PROVEN, "")

    def session_ended(self):
        """Whoever comes next begins a conversation of its own."""
        if self.app is not None:
            self.conversation.lose()

    def _blame(self, sentence):
        self._readings.note(2, "contract broken: " + sentence)

    def _crashed(self, cause):
        sentence = "%s: %s" % (type(cause).__name__, cause)
        self._readings.note(3, "app crashed: " + sentence)
        self._failures += 1
        if self._slots.crashed():
            self._failures = 0
            self._changed(FALLEN_BACK, sentence)
            return 0
        return min(1 << min(self._failures - 1, 6), _WAIT_MOST)

    async def _pause(self, seconds):
        if seconds and not self._switched.is_set():
            try:
                await asyncio.wait_for(self._switched.wait(), seconds)
            except asyncio.TimeoutError:
                pass
