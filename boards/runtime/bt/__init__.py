"""The device runtime: actors, links, sealed readings and apps, for MicroPython 1.25 and CPython."""

VERSION = "0.1.0"
