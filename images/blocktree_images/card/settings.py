"""The settings file of a card, `blocktree.toml`: what the first start reads. `SPEC.md` states it.

Raspberry Pi Imager's `rpi-preseed.toml` has the same sections for what both know, so one reader
serves both.
"""

import json
import re
import tomllib
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blocktree.fault import Fault, Kind

VERSION = 1
FILE = "blocktree.toml"
PRESEED = "rpi-preseed.toml"
STATUS = "STATUS.txt"
BYTES_MAX = 64 << 10
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_COUNTRY = re.compile(r"[A-Z]{2}")
_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?")
_PMK = re.compile(r"[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"[^\s/]{1,255}:\d{1,5}")
_HEAD = """# Settings for the first start of this computer. It removes them once it has joined.
# Wrong Wi-Fi password? Correct it here, put the card back, switch on.

"""


@dataclass(frozen=True, slots=True)
class Wifi:
    """A network and how to be let in."""

    name: str
    password: str = ""  # "" for an open one
    country: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a card says. What is empty is left as it is.

    Args:
        hostname: of the board.
        timezone: "Europe/Berlin".
        wifi: None for Ethernet alone.
        ssh_keys: lines of authorized_keys; ssh stays off without one.
        ticket: of `bt node invite`. A secret.
        addresses: "host:port" of members, where multicast DNS does not reach.
        clock: when the card was written, in seconds: the board's clock starts no earlier.
    """

    hostname: str = ""
    timezone: str = ""
    wifi: Wifi | None = None
    ssh_keys: tuple[str, ...] = ()
    ticket: str = ""
    addresses: tuple[str, ...] = ()
    clock: int = 0

    def encode(self) -> str:
        """The file's text.

        Raises:
            Fault: USAGE if something in it could not be read back.
        """
        check(self)
        sections: dict[str, dict[str, Any]] = {
            "system": {"hostname": self.hostname},
            "locale": {"timezone": self.timezone},
            "wlan": _wlan(self.wifi),
            "ssh": {"authorized_keys": list(self.ssh_keys)},
            "node": {
                "ticket": self.ticket,
                "addresses": list(self.addresses),
                "clock": self.clock,
            },
        }
        lines = [_HEAD + f"version = {VERSION}"]
        for name, values in sections.items():
            kept = {key: value for key, value in values.items() if value}
            if kept:
                lines += ["", f"[{name}]"]
                lines += [f"{key} = {_toml(value)}" for key, value in kept.items()]
        return "\n".join(lines) + "\n"


def decode_settings(content: bytes, path: str = FILE) -> Settings:
    """Read the file's text, or that of `rpi-preseed.toml`.

    Raises:
        Fault: MALFORMED, naming what makes no sense.
    """
    try:
        settings = _read(_parse(content))
        check(settings)
    except (ValueError, TypeError, AttributeError) as cause:
        raise Fault(Kind.MALFORMED, f"not settings: {cause}", path=path) from cause
    except Fault as fault:
        raise Fault(Kind.MALFORMED, fault.what, path=path) from fault
    return settings


def check(settings: Settings) -> None:
    """Refuse what the board could not use.

    Raises:
        Fault: USAGE.
    """
    if settings.hostname and not _LABEL.fullmatch(settings.hostname):
        raise _usage("a host name has 1 to 63 letters, digits and hyphens", settings.hostname)
    if settings.timezone and not _is_zone(settings.timezone):
        raise _usage("there is no such time zone", settings.timezone, "Europe/Berlin, Etc/UTC, …")
    if settings.wifi is not None:
        _check_wifi(settings.wifi)
    for key in settings.ssh_keys:
        if not _KEY.fullmatch(key):
            raise _usage("not a public ssh key", key[:40], "give the file that ends in .pub")
    for address in settings.addresses:
        if not _ADDRESS.fullmatch(address):
            raise _usage("an address is HOST:PORT", address)


def _check_wifi(wifi: Wifi) -> None:
    if not 1 <= len(wifi.name.encode()) <= 32 or _controls(wifi.name):
        raise _usage("a Wi-Fi network's name has 1 to 32 bytes", wifi.name)
    sound = 8 <= len(wifi.password.encode()) <= 63 or _PMK.fullmatch(wifi.password)
    if wifi.password and (not sound or _controls(wifi.password)):
        raise _usage("a Wi-Fi password has 8 to 63 characters", wifi.name)
    if wifi.country and not _COUNTRY.fullmatch(wifi.country):
        raise _usage("a country is two capital letters", wifi.country, "DE, GB, US, …")


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > BYTES_MAX:
        raise ValueError("it is over 64 KiB")
    return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))


def _read(parts: Mapping[str, Any]) -> Settings:
    node, wlan, ssh = parts.get("node", {}), parts.get("wlan", {}), parts.get("ssh", {})
    if parts.get("version", VERSION) != VERSION:
        raise ValueError(f"version {parts['version']} is not known here")
    wifi = None
    name = wlan.get("ssid", "") or bytes.fromhex(wlan.get("ssid_hex", "")).decode()
    if name:
        password = wlan.get("password", "") or wlan.get("password_encrypted", "")
        country, hidden = str(wlan.get("country", "")).upper(), wlan.get("hidden", False)
        wifi = Wifi(_string(name), _string(password), country, hidden is True)
    keys = tuple(_string(key).strip() for key in ssh.get("authorized_keys", []))
    if ssh.get("enabled", True) is False:
        keys = ()
    return Settings(
        _string(parts.get("system", {}).get("hostname", "")),
        _string(parts.get("locale", {}).get("timezone", "")),
        wifi,
        keys,
        "".join(_string(node.get("ticket", "")).split()),
        tuple(_string(one) for one in node.get("addresses", [])),
        int(node.get("clock", 0)),
    )


def _wlan(wifi: Wifi | None) -> dict[str, Any]:
    if wifi is None:
        return {}
    return {
        "ssid": wifi.name,
        "password": wifi.password,
        "country": wifi.country,
        "hidden": wifi.hidden,
    }


def _toml(value: Any) -> str:
    """One value; JSON's strings, numbers, lists and truth are TOML's once nothing is escaped."""
    return json.dumps(value, ensure_ascii=False)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _controls(text: str) -> bool:
    return any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def _usage(what: str, path: str, next_step: str = "") -> Fault:
    return Fault(Kind.USAGE, what, path=path, next_step=next_step)
