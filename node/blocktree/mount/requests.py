"""The table from opcode to the function that serves it; what is not in it is answered ENOSYS.

Left out on purpose: LSEEK (every file looks dense, the kernel answers by itself), COPY_FILE_RANGE
(the kernel copies), ACCESS (with `default_permissions` the kernel checks), IOCTL, BMAP, POLL,
TMPFILE.
"""

from collections.abc import Mapping

from blocktree.mount import directories, nodes, openfiles
from blocktree.mount.protocol import Opcode
from blocktree.mount.view import Serve

SERVES: Mapping[int, Serve] = {**directories.SERVES, **nodes.SERVES, **openfiles.SERVES}

LOCKS_DIRECTORY = frozenset(
    {
        Opcode.LOOKUP,
        Opcode.CREATE,
        Opcode.MKNOD,
        Opcode.MKDIR,
        Opcode.SYMLINK,
        Opcode.LINK,
        Opcode.UNLINK,
        Opcode.RMDIR,
        Opcode.RENAME,
        Opcode.RENAME2,
        Opcode.READDIR,
        Opcode.READDIRPLUS,
    }
)
"""While one of these is under way the kernel holds the lock of the directory it names."""
