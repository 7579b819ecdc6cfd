"""Blocktree: one tree that holds a home's files, services and sensors.

ARCHITECTURE.md draws the layers; each package's SPEC.md states its words, bytes and limits.
"""

__version__ = "0.1.0"
