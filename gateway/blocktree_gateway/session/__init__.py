"""Sessions with devices, as pure machines: packets, keys, the handshake, letters in order.

Nothing here reads a clock, waits or touches a socket: time and dice are arguments. The authority
for every byte is `boards/runtime/bt/SPEC.md`; `tests/vectors/device_*` pin it for both sides.
"""
