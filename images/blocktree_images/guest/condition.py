"""What STATUS.txt says: how the board is, for a person who has only a laptop. Text in, text out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LOG_LINE = re.compile(r"^\S+ \S+ (WARNING|ERROR) blocktree[\w.]*: (.*)$")
_HEAD = "Blocktree on {name}\n\n"
_WIDTH = 90
_ADVICE = (
    (
        r"ticket.*(expired|is over)|expired",
        "The ticket is too old. On the machine where `bt init` ran, make a new one: put this card\n"
        "into it and run\n    bt image customise DEVICE --node {path}",
    ),
    (
        r"used before|spent",
        "The ticket was used by another computer already. Make a new one: put this card into the\n"
        "machine where `bt init` ran and run\n    bt image customise DEVICE --node {path}",
    ),
    (
        r"clock",
        "This computer has no clock of its own and found no time server. Connect it to the\n"
        "internet once, or write the card anew.",
    ),
    (
        r"no member of the tree|unreachable|does not answer|cannot be reached|refused|timed out",
        "No other computer of the tree answers. Is one of them switched on, and on the same\n"
        "network? Where multicast DNS does not reach, write its address on the card:\n"
        "    bt image customise DEVICE --node {path} --addr HOST:PORT",
    ),
)


@dataclass(frozen=True, slots=True)
class Network:
    """What the board sees of its network.

    Args:
        addresses: that it has, link-local ones aside.
        cable: whether an Ethernet cable has a live other end; None without a socket.
        wifi: the network it is to use, or "".
        wifi_state: of wpa_supplicant: COMPLETED, SCANNING, … or "" if it does not run.
        refused: whether the password was refused.
    """

    addresses: tuple[str, ...] = ()
    cable: bool | None = None
    wifi: str = ""
    wifi_state: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """How it is.

    Args:
        name: of the host.
        path: of the node, or "".
        joined: whether the tree has recorded it.
        network: what it sees of it.
        problem: what went wrong, or "".
        problems: of earlier steps, each a sentence.
        memory: "131 of 466 MiB used", or "".
    """

    name: str
    path: str = ""
    joined: bool = False
    network: Network = Network()
    problem: str = ""
    problems: tuple[str, ...] = ()
    memory: str = ""

    def text(self) -> str:
        """The file."""
        lines = [_HEAD.format(name=self.name), self._headline(), ""]
        lines += [f"! {problem}" for problem in self.problems]
        if not self.joined and self.path:
            lines += [*self._hindrance(), ""]
        lines.append(f"network   {network_text(self.network)}")
        if self.path:
            lines.append(f"node      {self.path}")
        if self.memory:
            lines.append(f"memory    {self.memory}")
        return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"

    def _headline(self) -> str:
        if self.joined:
            return "OK: it has joined the tree and keeps it."
        if not self.path:
            return (
                "WAITING: the card names no tree to join. Put it into the machine where `bt init`\n"
                "ran and run\n    bt image customise DEVICE --node /home/NAME"
            )
        return "NOT JOINED YET: it keeps trying."

    def _hindrance(self) -> list[str]:
        """What is in the way, the first thing first."""
        network = self.network
        if network.refused:
            return [
                f'The Wi-Fi network "{network.wifi}" refuses the password. Correct it in',
                "blocktree.toml on this card, put the card back and switch on.",
            ]
        if not network.addresses:
            return [_no_network(network)]
        if not self.problem:
            return ["It looks for the other computers of its tree."]
        advice = next(
            (text for pattern, text in _ADVICE if re.search(pattern, self.problem, re.IGNORECASE)),
            "",
        )
        return [f"It says: {self.problem}", advice.format(path=self.path)]


def network_text(network: Network) -> str:
    """One line."""
    if network.addresses:
        return ", ".join(network.addresses)
    return "none yet"


def last_complaint(log: Sequence[str]) -> str:
    """The last warning or error in a node's log, or ""."""
    for line in reversed(log):
        if found := _LOG_LINE.match(line):
            return found[2]
    return ""


def wifi_refused(listed: str) -> bool:
    """Whether `wpa_cli list_networks` shows a network that is off because of a wrong key."""
    return "[TEMP-DISABLED]" in listed


def wifi_state(status: str) -> str:
    """The state in `wpa_cli status`."""
    return next((line[10:] for line in status.splitlines() if line.startswith("wpa_state=")), "")


def memory_text(meminfo: str) -> str:
    """Used of total, from /proc/meminfo, as `free` counts it."""
    found = {name: int(number) for name, number in re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.M)}
    total, free = found.get("MemTotal", 0), found.get("MemAvailable", 0)
    return f"{(total - free) >> 10} of {total >> 10} MiB used" if total else ""


def _no_network(network: Network) -> str:
    if network.wifi and network.wifi_state:
        return (
            f'It cannot get onto the Wi-Fi network "{network.wifi}" (state {network.wifi_state}).\n'
            "Is the name right, and is it in reach? This board may know 2.4 GHz only."
        )
    if network.wifi:
        return "Its Wi-Fi does not work: no adapter was found, or there is no firmware for it."
    if network.cable is False:
        return "No network: no cable is plugged in, and the card names no Wi-Fi network."
    return "No network address yet: does the router give addresses (DHCP)?"
