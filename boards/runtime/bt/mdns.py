"""Asking by multicast DNS where gateways listen: the question, and the ports in its answers.

An answer comes from the gateway's own address, so only the port has to be read from it. Nothing in
it is believed: it says where else to send a HELLO.
"""

PORT = 5353
GROUP = "224.0.0.251"
_SERVICE = b"\n_btgateway\4_udp\5local\0"
_SRV = 33
_PORTS = 4


def question():
    """Who offers the service? Answers are to come to the asker alone."""
    return b"\0\0\0\0\0\1\0\0\0\0\0\0" + _SERVICE + b"\0\x0c\x80\1"


def ports(packet):
    """The ports of gateways in an answer, also in one that is cut; none in anything else."""
    found = []
    if len(packet) < 12 or packet[2] < 128 or _SERVICE[:16] not in packet:
        return found
    try:
        at = 12
        for _ in range(_number(packet, 4)):
            at = _behind(packet, at) + 4
        for _ in range(_number(packet, 6) + _number(packet, 8) + _number(packet, 10)):
            at = _behind(packet, at)
            size = _number(packet, at + 8)
            if _number(packet, at) == _SRV and size > 6 and len(found) < _PORTS:
                found.append(_number(packet, at + 14))
            at += 10 + size
    except IndexError:
        pass
    return [port for port in found if port]


def _number(packet, at):
    return packet[at] << 8 | packet[at + 1]


def _behind(packet, at):
    """Where a name ends."""
    while packet[at]:
        if packet[at] & 192:  # the rest is elsewhere
            return at + 2
        at += 1 + packet[at]
    return at + 1
