"""Start the device that `config.json` describes; on boards this is `main.py`.

On a computer: `micropython main.py CONFIG` or `python main.py CONFIG`.
"""

import asyncio
import json
import sys

from bt import setupcode
from bt.device import Device
from bt.wifi import joining


def make_links(device):
    """The links of the configuration, in its order."""
    online = joining(device.identity)
    return [_MAKERS[each["kind"]](device, each, online) for each in device.settings["links"]]


def make_serial(_device, settings, _online):
    """A terminal by its path, a UART by its number and pins, or the USB console."""
    from bt import serial_link

    if "path" in settings:
        return serial_link.SerialLink(lambda: serial_link.open_terminal(settings["path"]))
    if "uart" in settings:
        from machine import UART

        uart = UART(settings["uart"], settings.get("baud", 115200), timeout=0, rxbuf=512)
        return serial_link.SerialLink(lambda: uart)
    console = serial_link.Console()
    return serial_link.SerialLink(lambda: console)


def make_udp(device, settings, online):
    """To the gateways of the configuration and those that a gateway named, and to everyone."""
    from bt.udp_link import PORT, UdpLink

    def gateways():
        named = [gateway.split(" ") for gateway in device.identity.gateways]
        known = [_address(text, PORT) for text in settings.get("gateways", ())]
        return known + [(words[1], int(words[2])) for words in named if len(words) == 4]

    broadcast = settings.get("broadcast", True)
    return UdpLink(gateways, broadcast=broadcast, port=settings.get("port", 0), online=online)


def make_tls(device, settings, online):
    """To the gateways of the configuration (`PATH HOST PORT`) and those that a gateway named."""
    from bt.tls_link import TlsLink

    def gateways():
        words = [text.split(" ") for text in settings.get("gateways", ())]
        named = [gateway.split(" ") for gateway in device.identity.gateways]
        words += [[each[0], each[1], each[3]] for each in named if len(each) == 4]
        return [(path, host, int(port)) for path, host, port in words]

    return TlsLink(device.identity, device.chain_path, gateways, online=online)


_MAKERS = {"serial": make_serial, "udp": make_udp, "tls": make_tls}


def _address(text, port):
    host, _, own = text.partition(":")
    return host, int(own or port)


def main(path="/device/config.json"):
    """Read the configuration and serve for ever."""
    with open(path) as file:
        settings = json.load(file)
    if sys.implementation.name != "micropython":
        sys.dont_write_bytecode = True  # apps are replaced within a second
    setup = setupcode.read(settings["setup"]) if "setup" in settings else b""
    asyncio.run(Device(settings, setup, make_links).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
