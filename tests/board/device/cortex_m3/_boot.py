"""The emulated board's flash: a file system in memory that a reset leaves as it is."""

import sys

import uctypes
import vfs

_START = 0x21000000  # of the MPS2's PSRAM
_BLOCK = 4096
_BLOCKS = 256


class Flash:
    """What VfsLfs2 asks of a block device."""

    def __init__(self):
        self._memory = memoryview(uctypes.bytearray_at(_START, _BLOCK * _BLOCKS))

    def readblocks(self, block, piece, offset=0):
        """Fill `piece`."""
        at = block * _BLOCK + offset
        piece[:] = self._memory[at : at + len(piece)]

    def writeblocks(self, block, piece, offset=0):
        """Keep `piece`."""
        at = block * _BLOCK + offset
        self._memory[at : at + len(piece)] = piece

    def ioctl(self, operation, _argument):
        """4: how many blocks, 5: how large; all else is nothing to do."""
        return {4: _BLOCKS, 5: _BLOCK}.get(operation, 0)


def mount():
    """Mount the flash, made anew if it never was."""
    flash = Flash()
    try:
        found = vfs.VfsLfs2(flash)
    except OSError:
        vfs.VfsLfs2.mkfs(flash)
        found = vfs.VfsLfs2(flash)
    vfs.mount(found, "/")
    sys.path.append("/lib")


mount()
