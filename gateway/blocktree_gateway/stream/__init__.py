"""The stream of a device's readings: opened, proved and shown by who holds the reading secret.

Gateways carry and keep the entries sealed; what is here belongs to readers (and to the simulated
devices of tests). Authority: `boards/runtime/bt/SPEC.md`, "The stream of readings".
"""
