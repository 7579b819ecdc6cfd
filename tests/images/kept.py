"""What lies on a card's data partition, read without starting it."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from blocktree.disk import Limits
from blocktree.names import Digest
from blocktree.store.folder import NodeFolder
from blocktree_images.build.layout import DATA
from blocktree_images.build.toolbox import Toolbox


def data_partition(toolbox: Toolbox, card: Path, folder: Path) -> Path:
    """The files of a card's data partition, copied to `folder`."""
    image = folder / "data.ext4"
    skip = DATA.start // (1 << 20)
    words = ["dd", f"if={card}", f"of={image}", "bs=1M", f"skip={skip}", "conv=sparse"]
    subprocess.run(words, check=True, capture_output=True)
    if "needs_recovery" in toolbox.run("dumpe2fs", "-h", image):
        run_journal = [*toolbox.command("e2fsck"), "-p", str(image)]  # 1: it was mended
        assert subprocess.run(run_journal, check=False, capture_output=True).returncode <= 1
    files = folder / "files"
    files.mkdir()
    toolbox.run("debugfs", "-R", f"rdump / {files}", image)
    return files


def blobs(node: Path, wanted: Iterable[Digest] | None = None) -> dict[Digest, bytes]:
    """Blobs that a node keeps which does not run, each checked against its name.

    Args:
        node: its folder.
        wanted: which; by default all that its last checkpoint knows. A node that lost its power
            has others, behind that checkpoint in its log.
    """
    folder = NodeFolder(node)
    disk = folder.open_disk(folder.credential(), Limits())
    try:
        digests = disk.digests(limit=1 << 16) if wanted is None else wanted
        return {d: bytes(disk.read_blob(d, verify=True)) for d in digests}
    finally:
        disk.close()
