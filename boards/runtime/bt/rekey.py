"""What only who holds the reading secret may do: give new secrets, and vouch for an app.

A gateway lacks it, so it passes both on and can make neither.
"""

from bt import ccm
from bt.fault import CONFLICT, Fault
from bt.hkdf import hkdf, hmac


def open_rekey(device, reading_secret, present, epoch, sealed):
    """(link secret, reading secret, scalar or zeros) for `epoch`.

    Raises:
        Fault: CONFLICT if the epoch is not above the present one, DAMAGED if it does not open.
    """
    if not present < epoch <= 65535:
        raise Fault(CONFLICT, "epoch %d does not follow %d" % (epoch, present))
    number = epoch.to_bytes(2, "big")
    okm = hkdf(device, reading_secret, b"blocktree rekey 1\0" + number, 29)
    plain = ccm.open(okm[:16], okm[16:], device + number, sealed)
    return plain[:32], plain[32:64], plain[64:]


def vouched(device, reading_secret, epoch, digest, proof):
    """Whether who may read this device offered a file of this digest."""
    purpose = b"blocktree app 1\0"
    key = hkdf(device, reading_secret, purpose + epoch.to_bytes(2, "big"), 32)
    return ccm.same(hmac(key, purpose + digest)[:16], proof)
