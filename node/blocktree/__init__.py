"""Blocktree: one tree that holds a home's files, services and sensors.

ARCHITECTURE.md draws the layers; each package's SPEC.md states its words, bytes and limits.
"""

from blocktree.processor import prepare_tls

__version__ = "0.1.0"

prepare_tls()  # here, where nothing has loaded OpenSSL yet, whichever program this is
