"""The root file system, by mmdebstrap, as a tar file: Debian and nothing of ours.

Ours is laid over it later (`overlay`), so that a change of ours costs seconds and not the ten
minutes that emulated installation takes.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from blocktree_images.build.boards import Board
from blocktree_images.build.debs import Selection, write_repository
from blocktree_images.build.emulation import emulated
from blocktree_images.build.system import System
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.programs import Watch, need, run, silent

ARCHIVE = "root.tar"
_HOOKS = (
    # the initramfs checks the file system before it is mounted; it asks nobody
    'mkdir -p "$1/etc/initramfs-tools/conf.d"',
    'printf "FSTYPE=ext4\\n" > "$1/etc/initramfs-tools/conf.d/blocktree"',
    # made once, at the end: INITRD=No kept each package from making it anew under emulation
    'chroot "$1" env -u INITRD update-initramfs -c -k all',
)


def inputs(board: Board, system: System, selection: Selection) -> dict[str, Any]:
    """What decides the bytes of the root file system."""
    words = _words(board, system, selection, Path("repository"), Path(ARCHIVE))
    return {
        "words": [word for word in words if not word.startswith("--mode")],
        "packages": selection.digest_inputs(),
    }


def make_rootfs(
    board: Board,
    system: System,
    selection: Selection,
    *,
    store: Path,
    toolbox: Toolbox,
    into: Path,
    watch: Watch = silent,
) -> None:
    """Install the selection's packages and put `root.tar` into the folder.

    Raises:
        Fault: MISSING for a tool or a right, FAILED with mmdebstrap's last lines.
    """
    need("mmdebstrap")
    with tempfile.TemporaryDirectory(dir=into, prefix=".repository-") as scratch:
        repository = Path(scratch)
        repository.chmod(0o755)
        write_repository(selection, store, repository, board.suite)
        words = _words(board, system, selection, repository.absolute(), into / ARCHIVE)
        env = {"SOURCE_DATE_EPOCH": str(selection.epoch), "INITRD": "No"}
        with emulated(board.architecture, toolbox):
            run(words, watch=watch, env=env)


def _words(
    board: Board, system: System, selection: Selection, repository: Path, archive: Path
) -> list[str]:
    wanted = ",".join(deb.name for deb in selection.debs)
    return [
        "mmdebstrap",
        "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        f"--architectures={board.architecture}",
        "--variant=apt",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-confold",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in system.exclude),
        *(f"--dpkgopt=path-include={pattern}" for pattern in system.include),
        f"--include={wanted}",
        "--skip=check/qemu",
        *(f"--customize-hook={hook}" for hook in _HOOKS),
        board.suite,
        str(archive),
        f"deb [trusted=yes] copy:{repository} {board.suite} main",
    ]
