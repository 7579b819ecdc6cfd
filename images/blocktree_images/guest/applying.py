"""Settings become the board's configuration: name, clock, zone, Wi-Fi, ssh keys.

Each is written only if it differs, so that doing it at every start costs nothing, and what an
update brought is configured like what it replaced.
"""

import logging
import socket
import time
from pathlib import Path

from blocktree_images.card.settings import Settings, Wifi
from blocktree_images.guest.place import Place, call, write

log = logging.getLogger(__name__)

_HOSTS = "127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_SUPPLICANT = "wpa_supplicant@wlan0.service"


def apply(settings: Settings, place: Place, *, now: float) -> list[str]:
    """Configure the board, and say what was changed."""
    changed = []
    if settings.clock > now:
        time.clock_settime(time.CLOCK_REALTIME, settings.clock)
        changed.append("clock")
    if settings.hostname and _name(settings.hostname, place):
        changed.append("host name")
    if settings.timezone and _zone(settings.timezone, place):
        changed.append("time zone")
    if settings.wifi is not None and _wifi(settings.wifi, place):
        changed.append("Wi-Fi")
    if settings.ssh_keys and _ssh(settings.ssh_keys, place):
        changed.append("ssh keys")
    return changed


def start_services(settings: Settings) -> None:
    """Start what the settings ask for; systemd puts it in order, nothing is waited for."""
    if settings.wifi is not None:
        call("systemctl", "start", "--no-block", _SUPPLICANT)
    if settings.ssh_keys:
        call("systemctl", "start", "--no-block", "ssh.service")


def supplicant_text(wifi: Wifi) -> str:
    """The configuration of wpa_supplicant: names and passwords in hex or quoted as it wants."""
    lines = ["ctrl_interface=/run/wpa_supplicant", "update_config=0"]
    if wifi.country:
        lines.append(f"country={wifi.country}")
    lines += ["network={", f"  ssid={wifi.name.encode().hex()}"]
    if wifi.hidden:
        lines.append("  scan_ssid=1")
    if not wifi.password:
        lines.append("  key_mgmt=NONE")
    elif len(wifi.password) == 64:
        lines += ["  key_mgmt=WPA-PSK", f"  psk={wifi.password}"]
    else:
        lines += ["  key_mgmt=WPA-PSK SAE", f'  psk="{wifi.password}"', "  ieee80211w=1"]
    return "\n".join([*lines, "}", ""])


def _name(name: str, place: Place) -> bool:
    write(place.etc("hosts"), _HOSTS.format(name=name))
    changed = write(place.etc("hostname"), f"{name}\n")
    if place.root == Path("/") and socket.gethostname() != name:
        socket.sethostname(name)
    return changed


def _zone(zone: str, place: Place) -> bool:
    link, target = place.etc("localtime"), f"/usr/share/zoneinfo/{zone}"
    if link.is_symlink() and str(link.readlink()) == target:
        return False
    part = link.with_name(".localtime.part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(link)
    return True


def _wifi(wifi: Wifi, place: Place) -> bool:
    path = place.etc("wpa_supplicant", "wpa_supplicant-wlan0.conf")
    return write(path, supplicant_text(wifi), 0o600)


def _ssh(keys: tuple[str, ...], place: Place) -> bool:
    folder = place.data / "ssh"
    host_key = folder / "ssh_host_ed25519_key"
    folder.mkdir(parents=True, exist_ok=True)
    if not host_key.exists():
        done = call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key))
        if done.returncode:
            log.error("no ssh host key: %s", done.stderr.strip())
    return write(folder / "authorized_keys", "\n".join(keys) + "\n", 0o600)
