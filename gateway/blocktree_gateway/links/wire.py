"""One way to one device, whatever it is made of."""

from typing import Protocol


class Wire(Protocol):
    """Carries records to a device. Two wires are the same way if they are equal."""

    @property
    def kind(self) -> str:
        """`serial`, `udp` or `mtls`."""

    @property
    def where(self) -> str:
        """The port or address, for people."""

    def send(self, record: bytes) -> bool:
        """Send one record, or drop it: False if there is no room or the way is gone."""

    def close(self) -> None:
        """Give the way up; nothing to do where there is no connection."""
