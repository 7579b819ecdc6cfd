"""How much may wait on a link, and for how long a peer may be silent."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one link, in bytes and ticks of `tick_s` seconds."""

    write_high: int = 2 << 20  # above it `drain` waits
    write_max: int = 64 << 20  # above it `send` answers BUSY
    inbound_max: int = 32 << 20
    buffer_bytes: int = 256 << 10  # frames above it are read into memory of their own
    tick_s: float = 1.0
    silent_ticks: int = 5


CONTROL_LIMITS = Limits(
    write_high=1 << 20, write_max=32 << 20, inbound_max=16 << 20, buffer_bytes=64 << 10
)
BULK_LIMITS = Limits()
