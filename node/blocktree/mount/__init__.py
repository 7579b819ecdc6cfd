"""The mount: our own driver of the kernel's FUSE protocol over a `files.volume.Volume`.

`SPEC.md` states what is negotiated and promised; `tests/mount` runs git, sqlite, tar, rsync and
`tests/conformance/posix.py` on it through the real kernel.
"""

from blocktree.mount.channel import disconnect
from blocktree.mount.mounted import Mounted, mount
from blocktree.mount.view import Options

__all__ = ["Mounted", "Options", "disconnect", "mount"]
