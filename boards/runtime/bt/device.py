"""The device: where everything is put together, and what each message from a gateway does."""

import asyncio
import gc
import os
import sys

from bt import VERSION, flash, messages
from bt.buffer import Buffer
from bt.clock import Clock
from bt.commands import Commands
from bt.fault import CONTRACT, DENIED, Fault
from bt.identity import Identity
from bt.office import Office
from bt.p256 import principal_id, public_key
from bt.pairing import Pairing, chain_path, keep_chain, patiently
from bt.push import APP, Push
from bt.readings import Readings
from bt.rekey import open_rekey, vouched
from bt.runner import Runner
from bt.slots import Slots
from bt.tasks import spawn

_TIME_MS = 600000
_NOWHERE = (0, 0)


class Device:
    """One device.

    Args:
        settings: `folder` for its state, `board`, `app` (`folder` and `name` of the one it came
            with), `settings` for the app, and the times and sizes that tests and boards change.
        setup_secret: from its label, or b"".
        make_links: gives the links in order of preference, for a device.
    """

    def __init__(self, settings, setup_secret, make_links):
        self.folder = settings["folder"]
        flash.make_folder(self.folder)
        self.settings = settings
        self.clock = Clock()
        self.identity = Identity(self.folder, setup_secret)
        boot = self.identity.next_boot()
        most = settings.get("buffer", 65536)
        buffer = Buffer(self.folder + "/entries" if most else "", most)
        self.readings = Readings(self.identity, self.clock, buffer, boot, self._news)
        self.readings.checkpoint_ms = settings.get("checkpoint", 300) * 1000
        factory = settings.get("app", {})
        self.slots = Slots(
            self.folder + "/apps", factory.get("folder", ""), factory.get("name", "app")
        )
        self.runner = Runner(
            self.slots,
            self.readings,
            settings.get("settings", {}),
            self._app_changed,
            settings.get("prove", 60),
        )
        self.runner.nap = self._nap
        self._push = Push(self.folder)
        self._pairings = {}
        self._cursor = _NOWHERE
        self._checkpoint_sent = None
        self._chain = None  # pushed, waiting for the Rekey or Rename that it belongs to
        self._asked_at = None
        self.office = None
        board = settings.get("board", "unix")
        self.office = Office(self.identity, self.clock, board, make_links(self), os.urandom, self)
        self.commands = Commands(self.runner, self.clock, self.office.post)

    async def run(self):
        """Serve for ever."""
        tasks = [self.office.run(), self.runner.run(), self._keep_checkpoints(), self._keep_time()]
        await asyncio.gather(*tasks)

    def chain_path(self):
        """Where the certificates of the present key lie."""
        return chain_path(self.folder, self.identity)

    # what the office asks and tells

    def opened(self):
        """A session stands: say who we are, and begin with the oldest entry."""
        self._cursor = _NOWHERE
        self._checkpoint_sent = None
        self.office.post(self._report())
        self._say_face()
        self._ask_time()

    def lost(self):
        """The session has ended."""
        self.runner.session_ended()

    def alive(self):
        """The message of a quiet device."""
        return messages.encode(messages.ALIVE, self.clock.uptime())

    def entry(self):
        """The next message of the stream, or None."""
        readings = self.readings
        signed = readings.checkpoint
        if signed and signed[0] <= self._cursor and signed is not self._checkpoint_sent:
            self._checkpoint_sent = signed
            return signed[1]
        found = readings.buffer.after(self._cursor)
        if found is None:
            return None
        self._cursor = found[0]
        return found[1]

    def receive(self, data):
        """Take a message of the gateway; False if there is no room for what it may cause."""
        if not self.office.room():
            return False
        try:
            self._take(messages.decode(data))
        except Fault:
            self.office.drops += 1
        return True

    def paired(self, purpose, session, data):
        """Take a message of a pairer."""
        pairing = self._pairings.get(purpose)
        if pairing is None or pairing.session is not session:
            pairing = self._pairings[purpose] = Pairing(self, session, self.folder)
        return pairing.receive(data)

    def adopt(self, adoption, chain):
        """Take over a new identity; it is in flash when this returns."""
        flash.save(self.folder + "/chain.next", chain)
        self.identity.adopt(adoption)
        keep_chain(self.folder, self.identity, chain)
        self.readings.rekey()
        self.runner.announce()
        spawn(self._serve_anyway())

    def pairing_ended(self, pairing):
        """A pairer has said goodbye: serve, as whoever we are now."""
        self._pairings = {}
        spawn(self._renew())

    # messages

    def _take(self, message):
        code = message[0]
        if code == messages.KEPT:
            self.readings.kept((message[1], message[2]))
        elif code == messages.COMMAND:
            self.commands.receive(*message[1:])
        elif code == messages.TIME_TOLD:
            self._told_time(message[1], message[2])
        elif code == messages.OFFER:
            self._offered(*message[1:])
        elif code == messages.CHUNK:
            self._chunk(message[1], message[2])
        elif code == messages.REKEY:
            self._rekey(message[1], message[2])
        elif code == messages.RENAME:
            self.identity.move(message[1], self.identity.gateways)
            self._take_chain()
        elif code == messages.GATEWAYS:
            self.identity.move(self.identity.path, message[1][:4])
        elif code == messages.BYE:
            self.office.end()
        else:
            raise Fault(CONTRACT, "a gateway does not say this")

    def _report(self):
        oldest = self.readings.buffer.oldest() or (self.readings.boot, self.readings.next)
        version = ".".join([str(part) for part in sys.implementation.version[:3]])
        runtime = "%s %s %s" % (VERSION, sys.implementation.name, version)
        app, digest = self.slots.app()
        place = (self.readings.boot, oldest[0], oldest[1], self.readings.next)
        board = self.settings.get("board", "unix")
        free = gc.mem_free() if hasattr(gc, "mem_free") else 0
        drops = self.office.drops + sum([link.drops for link in self.office.links()])
        said = (messages.REPORT, self.identity.device) + place + (runtime, board, app, digest)
        return messages.encode(*(said + (free, drops)))

    def _say_face(self):
        columns, commands = self.runner.face()
        self.office.post(messages.encode(messages.FACE, tuple(columns), tuple(commands)))

    def _ask_time(self):
        self._asked_at = self.clock.uptime()
        self.office.post(messages.encode(messages.TIME_ASK, self._asked_at))

    def _told_time(self, asked, told):
        if asked == self._asked_at and self.clock.set(asked, told):
            self.readings.clock_was_set()
        self._asked_at = None

    def _offered(self, kind, name, size, digest, proof):
        mine = self.identity
        try:
            if kind == APP and not vouched(
                mine.device, mine.reading_secret, mine.epoch, digest, proof
            ):
                raise Fault(DENIED, "nobody who may read this device vouches for it")
            offset = self._push.offer(kind, name, size, digest)
            self.office.post(messages.encode(messages.WANT, digest, offset))
        except Fault as fault:
            self._taken(digest, fault.kind, fault.what)

    def _chunk(self, offset, data):
        digest = self._push.digest()
        try:
            wanted = self._push.chunk(offset, data)
            if wanted is not None:
                self.office.post(messages.encode(messages.WANT, digest, wanted))
            elif self._push.complete():
                self._install(*self._push.finish())
                self._push.cancel()
                self._taken(digest, 0, "")
        except Fault as fault:
            self._push.cancel()
            self._taken(digest, fault.kind, fault.what)

    def _install(self, kind, name, path, digest):
        if kind == APP:
            self.slots.install(path, name, digest)
            self.runner.switch()
        else:
            with open(path, "rb") as file:
                self._chain = file.read()

    def _taken(self, digest, kind, sentence):
        self.office.post(messages.encode(messages.TAKEN, digest, kind, sentence[:120]))

    def _rekey(self, epoch, sealed):
        identity = self.identity
        try:
            fresh = open_rekey(
                identity.device, identity.reading_secret, identity.epoch, epoch, sealed
            )
        except Fault as fault:
            self.office.post(messages.encode(messages.REKEYED, epoch, fault.kind, fault.what))
            return
        spawn(self._take_keys(epoch, *fresh))

    async def _take_keys(self, epoch, link_secret, reading_secret, scalar):
        identity, device = self.identity, self.identity.device
        if scalar == bytes(32):
            scalar = identity.scalar
        else:
            device = await _device_id(scalar)
        changed = device != identity.device
        try:
            identity.rekey(epoch, link_secret, reading_secret, scalar, device)
        except Fault as fault:
            self.office.post(messages.encode(messages.REKEYED, epoch, fault.kind, fault.what))
            return
        self._take_chain()
        self.readings.rekey()
        if changed:
            self.runner.announce()
        self.office.post(messages.encode(messages.REKEYED, epoch, 0, ""))
        await self._renew()

    def _take_chain(self):
        chain, self._chain = self._chain, None
        if chain is not None:
            keep_chain(self.folder, self.identity, chain)

    async def _serve_anyway(self):
        """The pairer should say goodbye, but may have gone."""
        await asyncio.sleep(10)
        if self._pairings:
            self.pairing_ended(None)

    async def _renew(self):
        await asyncio.sleep(1)  # the last answer is on its way
        self.office.renew()

    async def _nap(self, ms):
        await self.office.nap(ms)

    # what goes on by itself

    def _news(self):
        if self.office is not None:
            self.office.wake()

    def _app_changed(self, state, sentence):
        name, digest = self.slots.app()
        crashes = self.slots.crashes
        text = messages.encode(messages.APP_STATE, name, digest, state, crashes, sentence[:100])
        if self.office is not None:
            self._say_face()
            self.office.post(text)

    async def _keep_checkpoints(self):
        while True:
            due = self.readings.checkpoint_due()
            if due:
                await asyncio.sleep(min(due / 1000, 10))
            elif due is None:
                await asyncio.sleep(5 if self.readings.checkpoint_ms > 60000 else 0.2)
            else:
                await patiently(self.readings.sign())

    async def _keep_time(self):
        while True:
            await asyncio.sleep(_TIME_MS / 1000)
            self._ask_time()


async def _device_id(scalar):
    return principal_id(await patiently(public_key(scalar)))
