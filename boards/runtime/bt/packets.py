"""Packets: what one frame of a link carries, before anything in it is believed."""

VERSION = 1
HELLO, WELCOME, CONFIRM, READY, DATA, REFUSE, PROBE = 1, 2, 3, 4, 5, 6, 7
SERVE, PAIR, CABLE = 0, 1, 2  # purposes
ANYONE = bytes(8)  # a hint


def hello(purpose, epoch, hint, nonce, board):
    """A device asks for a session."""
    name = board.encode()[:16]
    return bytes([HELLO, VERSION, purpose]) + epoch.to_bytes(2, "big") + hint + nonce + name


def confirm_head(hint, epoch, purpose, nonce_d, nonce_g):
    """What CONFIRM says before its tag."""
    return bytes([CONFIRM]) + hint + epoch.to_bytes(2, "big") + bytes([purpose]) + nonce_d + nonce_g


def probe(purpose, hint):
    """Ask the other side to begin; as long as the longest answer."""
    return bytes([PROBE, VERSION, purpose]) + hint + bytes(34)


def read_welcome(packet):
    """(nonce_d, nonce_g, TLS port) or None."""
    if len(packet) != 36 or packet[0] != WELCOME or packet[1] != VERSION:
        return None
    return packet[2:18], packet[18:34], int.from_bytes(packet[34:36], "big")


def read_ready(packet):
    """(nonce_d, tag) or None."""
    if len(packet) != 25 or packet[0] != READY:
        return None
    return packet[1:17], packet[17:25]


def read_refuse(packet):
    """(nonce_d, kind, tag, sentence) or None."""
    if not 26 <= len(packet) <= 186 or packet[0] != REFUSE:
        return None
    try:
        return packet[1:17], packet[17], packet[18:26], packet[26:].decode()
    except ValueError:
        return None


def read_probe(packet):
    """(purpose, hint) or None."""
    if len(packet) != 45 or packet[0] != PROBE or packet[1] != VERSION or packet[2] > CABLE:
        return None
    return packet[2], packet[3:11]
