"""Who this device is: its secrets, id, tree and path, saved in one file that is whole or absent."""

from bt import cbor, flash, p256, packets, setupcode
from bt.fault import Fault

_NOTHING = bytes(32)


class Identity:
    """Loaded at the start, replaced by pairing and key rotation.

    Args:
        folder: where the device keeps its state.
        setup_secret: from the label; b"" for a device that is adopted by cable only.
    """

    def __init__(self, folder, setup_secret=b""):
        self._folder = folder
        self.setup_secret = setup_secret
        self.epoch = 0
        self.link_secret = self.reading_secret = self.scalar = self.device = self.tree = _NOTHING
        self.path = ""
        self.wifi = ("", "")
        self.gateways = ()
        self._load()

    @property
    def paired(self):
        """Whether somebody adopted it."""
        return self.epoch > 0

    def hint(self, purpose):
        """What it calls itself in a HELLO."""
        if purpose == packets.SERVE:
            return self.device[:8]
        return setupcode.hint(self.setup_secret) if self.setup_secret else packets.ANYONE

    def fingerprint(self):
        """For people: the first 8 bytes of the id."""
        return fingerprint(self.device)

    def adopt(self, adoption):
        """Take over what a pairing gave; valid from the moment the file is renamed.

        Raises:
            Fault: NO_SPACE if it cannot be saved; the old identity holds then.
        """
        fresh = adoption.values()
        flash.save(self._folder + "/id", cbor.dumps(fresh))
        self._take(fresh)

    def rekey(self, epoch, link_secret, reading_secret, scalar, device):
        """New secrets under a new epoch."""
        fresh = list(self._values())
        fresh[:5] = [epoch, link_secret, reading_secret, scalar, device]
        flash.save(self._folder + "/id", cbor.dumps(fresh))
        self._take(fresh)

    def move(self, path, gateways):
        """Another path, or other gateways."""
        fresh = list(self._values())
        fresh[6], fresh[9] = path, gateways
        if fresh != list(self._values()):
            flash.save(self._folder + "/id", cbor.dumps(fresh))
            self._take(fresh)

    def next_boot(self):
        """The number of this boot, saved before it is used.

        Raises:
            Fault: NO_SPACE if it cannot be saved.
        """
        saved = flash.load(self._folder + "/boot")
        boot = 1 + (int.from_bytes(saved, "big") if saved else 0)
        flash.save(self._folder + "/boot", boot.to_bytes(4, "big"))
        return boot

    def _values(self):
        secrets = (self.epoch, self.link_secret, self.reading_secret, self.scalar)
        return secrets + (self.device, self.tree, self.path) + self.wifi + (self.gateways,)

    def _take(self, values):
        self.epoch, self.link_secret, self.reading_secret, self.scalar = values[:4]
        self.device, self.tree, self.path = values[4:7]
        self.wifi = (values[7], values[8])
        self.gateways = tuple(values[9])

    def _load(self):
        saved = flash.load(self._folder + "/id")
        if saved is None:
            return
        try:
            self._take(cbor.loads(saved))
        except (Fault, ValueError, TypeError):  # of another version: pair it again
            self.epoch = 0


class Adoption:
    """What a pairer has said so far."""

    def __init__(self):
        self.secrets = self.place = None
        self.wifi = ("", "")

    def complete(self):
        """Whether all that has to be said was said."""
        return self.secrets is not None and self.place is not None

    def device(self):
        """Steps to the device id; the generator returns it."""
        point = yield from p256.public_key(self.secrets[3])
        self.id = p256.principal_id(point)
        return self.id

    def values(self):
        """The identity that it makes, in the order of its file."""
        return tuple(self.secrets) + (self.id,) + tuple(self.place) + tuple(self.wifi) + ((),)


def fingerprint(device):
    """Four groups of four hex digits."""
    text = "".join(["%02x" % byte for byte in device[:8]])
    return " ".join([text[i : i + 4] for i in range(0, 16, 4)])
