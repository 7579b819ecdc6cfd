"""Being adopted: what a pairer says, and the moment from which it holds."""

import asyncio

from bt import flash, messages
from bt.fault import FAILED, Fault
from bt.identity import Adoption
from bt.push import CHAIN, Push
from bt.tasks import spawn


class Pairing:
    """One session with a pairer; nothing of the device changes before the last step.

    Args:
        device: what is adopted.
        session: where answers go.
        folder: where the chain waits.
    """

    def __init__(self, device, session, folder):
        self._device = device
        self.session = session
        self._adoption = Adoption()
        self._push = Push(folder)
        self._chain = None

    def receive(self, message):
        """Take one message; True unless there is no room for its answer."""
        if self.session.letters.room() < 3:
            return False
        try:
            self._take(messages.decode(message))
        except Fault as fault:
            self._say(messages.BYE, fault.kind, fault.what)
        return True

    def _take(self, message):
        code = message[0]
        if code == messages.ADOPT:
            self._adoption.secrets = message[1:]
        elif code == messages.BELONG:
            self._adoption.place = message[1:]
        elif code == messages.JOIN:
            self._adoption.wifi = message[1:]
        elif code == messages.OFFER:
            self._say(messages.WANT, message[4], self._push.offer(*message[1:5]))
        elif code == messages.CHUNK:
            self._chunk(message[1], message[2])
        elif code == messages.BYE:
            self._push.cancel()
            self._device.pairing_ended(self)

    def _chunk(self, offset, data):
        digest = self._push.digest()
        wanted = self._push.chunk(offset, data)
        if wanted is not None:
            self._say(messages.WANT, digest, wanted)
        elif self._push.complete():
            kind, _name, path, _digest = self._push.finish()
            if kind == CHAIN:
                with open(path, "rb") as file:
                    self._chain = file.read()
            self._push.cancel()
            self._say(messages.TAKEN, digest, 0, "")
            if self._adoption.complete() and self._chain:
                spawn(self._adopt())

    async def _adopt(self):
        try:
            device = await patiently(self._adoption.device())
            self._device.adopt(self._adoption, self._chain)
            self._say(messages.ADOPTED, device, self._adoption.place[1])
        except Fault as fault:
            self._say(messages.BYE, fault.kind, fault.what)
        except OSError as cause:
            self._say(messages.BYE, FAILED, str(cause))

    def _say(self, *message):
        if self.session.letters is not None and self.session.letters.room():
            self.session.letters.send(messages.encode(*message))
            self._device.office.wake()


async def patiently(steps):
    """Run a generator of steps with other tasks in between; gives what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        await asyncio.sleep(0)


def chain_path(folder, identity):
    """Where the chain of this very key lies."""
    return folder + "/chain-" + identity.fingerprint().replace(" ", "")


def keep_chain(folder, identity, chain):
    """Save a chain for the identity, and drop those of other keys."""
    path = chain_path(folder, identity)
    flash.save(path, chain)
    for name in flash.names(folder):
        if name.startswith("chain-") and not path.endswith(name):
            flash.remove(folder + "/" + name)
