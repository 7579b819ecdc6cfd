"""Where apps lie: two slots in flash and the app that the device was flashed with.

One small file says which slot is in use, whether it is on trial and how often the app crashed or
the board was started during the trial; it is saved before the app is started, so an app that takes
the whole board down is noticed as well.
"""

from bt import appfile, cbor, flash
from bt.fault import MALFORMED, Fault

FACTORY, A, B = 0, 1, 2
CRASHES = 3
_NONE = ("", bytes(8))


class Slots:
    """The slots of one device.

    Args:
        folder: of the two slots and the small file.
        factory: the folder of the app that the device came with, or "".
        name: of that app.
    """

    def __init__(self, folder, factory, name):
        self._folder = folder
        self._factory = factory
        flash.make_folder(folder)
        self.current, self.previous = FACTORY, FACTORY
        self.trial = False
        self.crashes = 0
        self._apps = [(name if factory else "", bytes(8)), _NONE, _NONE]
        saved = flash.load(folder + "/state")
        if saved is not None:
            self.current, self.previous, self.trial, self.crashes, one, two = cbor.loads(saved)
            self._apps[1:] = [one, two]

    def app(self):
        """(name, digest) of the app in use."""
        return self._apps[self.current]

    def folder(self):
        """Where the app in use lies; "" if there is none."""
        if self.current == FACTORY:
            return self._factory
        return "%s/%d" % (self._folder, self.current)

    def install(self, path, name, digest):
        """Unpack an app file into the slot that is not in use, on trial from now on.

        Raises:
            Fault: as `appfile.members`; the slot in use is untouched then.
        """
        slot = A if self.current == B else B
        place = "%s/%d" % (self._folder, slot)
        flash.make_folder(place)
        for old in flash.names(place):
            flash.remove(place + "/" + old)
        try:
            with open(path, "rb") as file:
                for member, size in appfile.members(file):
                    with open(place + "/" + member, "wb") as out:
                        appfile.copy(file, size, out.write)
        except OSError as cause:
            raise Fault(MALFORMED, "cannot unpack the app: %s" % cause) from None
        self._apps[slot] = (name, digest[:8])
        self.previous, self.current = self.current, slot
        self.trial, self.crashes = True, 0
        self._save()

    def starting(self):
        """A trial counts the starts of the board; True if the previous app takes over now."""
        return self.trial and self.crashed()

    def crashed(self):
        """Count a crash on trial; True if the previous app has to take over now."""
        self.crashes += 1
        if not self.trial:
            return False
        fallen = self.crashes >= CRASHES
        if fallen:
            self.current, self.previous = self.previous, self.current
            self.trial, self.crashes = False, 0
        self._save()
        return fallen

    def proven(self):
        """It has lived long enough."""
        self.crashes = 0
        if self.trial:
            self.trial = False
            self._save()

    def _save(self):
        state = (self.current, self.previous, self.trial, self.crashes) + tuple(self._apps[1:])
        flash.save(self._folder + "/state", cbor.dumps(state))
