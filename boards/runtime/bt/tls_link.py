"""The TLS link: mutual TLS to a gateway whose path we were told, packets with their length before.

The certificates are the handshake: the gateway's chain must end in our tree's root and name one of
the gateways that we know (mbedTLS compares the URI in it with the name that it is given).
"""

import asyncio
import sys

from bt import flash
from bt.cobs import PACKET_MAX
from bt.tasks import spawn

_WAITS = (1, 2, 4, 8, 16, 32, 60)
_HANDSHAKE = 20
_EMPTY = b"\0\5\5\0\0\0\0"
_KEY_HEAD, _KEY_TAIL = b"01\x02\x01\x01\x04 ", b"\xa0\n\x06\x08*\x86H\xce=\x03\x01\x07"


def read_chain(path):
    """The first and the last certificate (DER) of a chain file, or None."""
    data = flash.load(path)
    found = []
    at = 0
    while data and at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return (found[0], found[-1]) if len(found) > 1 else None


def key_der(scalar):
    """The private key as SEC 1 DER, without the public half, which follows."""
    return _KEY_HEAD + scalar + _KEY_TAIL


class TlsLink:
    """One connection at a time, to the first gateway of the list that answers.

    Args:
        identity: gives the scalar.
        chain: gives the path of the chain file.
        gateways: gives (path, host, port) triples to try.
        online: awaited before each attempt (Wi-Fi).
    """

    kind = "tls"
    strict = False
    drops = 0

    def __init__(self, identity, chain, gateways, *, online=None):
        self._identity = identity
        self._chain = chain
        self._gateways = gateways
        self._online = online
        self._writer = None
        self._out = []
        self._came = asyncio.Event()
        self._rounds = 0  # in which no gateway served us
        self.wanted = True  # False while another link has the session
        self.opened = None  # called when a connection stands, and when it has gone (False)
        self.trouble = ""

    async def run(self, sink):
        """Give each packet to `sink(packet, address)`, for ever."""
        while True:
            known = self._gateways() if self.wanted else ()
            for path, host, port in known:
                try:
                    if self._online is not None:
                        await self._online()
                    await self._serve(path, host, port, sink)
                except (OSError, ValueError, EOFError, asyncio.TimeoutError) as cause:
                    self.trouble = str(cause)
                self._close()
            await self._pause(known)

    async def _pause(self, known):
        """Wait, longer after each round in vain, but not once we are told of other gateways."""
        seconds = _WAITS[min(self._rounds, len(_WAITS) - 1)] if known else 1
        self._rounds += 1 if known else 0
        for _ in range(seconds):
            await asyncio.sleep(1)
            if self.wanted and self._gateways() != known:
                self._rounds = 0
                return

    async def _serve(self, path, host, port, sink):
        certificates = read_chain(self._chain())
        if certificates is None:
            raise OSError("no certificates: pair it again")
        name = uri(self._identity.tree, path)
        key = key_der(self._identity.scalar)
        connecting = self._shake_hands(host, port, name, certificates, key)
        reader, self._writer = await asyncio.wait_for(connecting, _HANDSHAKE)
        del certificates, key, connecting
        self._out = []
        spawn(self._write(self._writer))
        self.opened(True)
        heard = 0
        while True:
            size = int.from_bytes(await reader.readexactly(2), "big")
            if not 0 < size <= PACKET_MAX:
                return
            sink(await reader.readexactly(size), None)
            heard += 1
            if heard == 2:  # who refuses us says goodbye, and no more
                self._rounds = 0

    async def _shake_hands(self, host, port, name, certificates, key):
        """On boards the handshake happens with the first byte: send an empty acknowledgement."""
        reader, writer = await connect(host, port, name, certificates, key)
        try:
            writer.write(_EMPTY)
            await writer.drain()
        except (OSError, ValueError):
            writer.close()
            raise
        return reader, writer

    def send(self, packet, address):
        """Queue one packet."""
        if self._writer is not None:
            self._out.append(len(packet).to_bytes(2, "big") + packet)
            self._came.set()

    async def _write(self, writer):
        """Write what `send` queues, one after the other; the session bounds how much that is."""
        try:
            while writer is self._writer:
                self._came.clear()
                while self._out:
                    writer.write(self._out.pop(0))
                    await writer.drain()
                await self._came.wait()
        except (OSError, ValueError):
            self.trouble = "the connection broke"
            self.close()

    def close(self):
        """End the connection; `run` makes another."""
        if self._writer is not None:
            self._writer.close()

    def _close(self):
        writer, self._writer = self._writer, None
        self._came.set()  # lets `_write` end
        if writer is not None:
            self.opened(False)
            writer.close()


def uri(tree, path):
    """The URI in a certificate (keys/SPEC.md): tree id and path, the odd bytes in percent."""
    bits = int.from_bytes(tree, "big") << 4
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    name = "bt1" + "".join([letters[bits >> 5 * i & 31] for i in range(51, -1, -1)])
    rest = path.split("/", 2)[2] if path.count("/") > 1 else ""
    plain = "-._~/"
    text = ""
    for byte in rest.encode():
        letter = chr(byte)
        known = byte < 128 and ("0" <= letter <= "9" or "a" <= letter.lower() <= "z")
        text += letter if known or letter in plain else "%%%02X" % byte
    return "blocktree://%s/%s" % (name, text)


if sys.implementation.name == "micropython":
    import tls

    async def connect(host, port, name, certificates, key):
        """A reader and a writer over mutual TLS with the gateway called `name`."""
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        context.load_verify_locations(certificates[1])
        context.load_cert_chain(certificates[0], key)
        return await asyncio.open_connection(host, port, ssl=context, server_hostname=name)

else:
    from bt.tls_cpython import connect
