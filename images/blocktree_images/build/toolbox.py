"""Programs of a newer Debian, unpacked privately: the same ones on every machine that builds.

Nothing is installed. Each program runs through its own loader with its own libraries, so that it
does not matter what Debian the machine has.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.build.debs import Selection, unpack
from blocktree_images.programs import Watch, run, silent

SUITE = "trixie"
PACKAGES = (
    "dosfstools",  # mkfs.vfat
    "e2fsprogs",  # from 1.47.2 on mke2fs gives the same bytes twice and takes a tar file
    "fdisk",  # sfdisk
    "libarchive13t64",  # with which mke2fs reads tar files
    "mtools",
    "python3",  # compiles bytecode for the board's Python
    "qemu-system-arm",
    "qemu-user-static",
    "xz-utils",
    "zstd",
)
_LOADERS = {
    "amd64": ("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
    "arm64": ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
}
_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The unpacked programs.

    Args:
        root: where they are.
        architecture: Debian's name of this machine's.
        key: names their versions.
    """

    root: Path
    architecture: str
    key: str

    @property
    def libraries(self) -> Path:
        """Where its shared libraries are."""
        return self.root / "usr" / "lib" / _LOADERS[self.architecture][1]

    def command(self, program: str) -> list[str]:
        """The words that run a program of the toolbox.

        Raises:
            Fault: MISSING.
        """
        loader = _LOADERS[self.architecture][0]
        return [
            str(self.root / "usr" / loader),
            "--library-path",
            f"{self.libraries}:{self.libraries}/systemd",
            str(self.path(program)),
        ]

    def path(self, program: str) -> Path:
        """Where a program's file is."""
        for folder in _FOLDERS:
            if (found := self.root / folder / program).exists():
                return found
        raise Fault(Kind.MISSING, f"{program} is not in the toolbox", path=str(self.root))

    def run(
        self,
        program: str,
        *words: str | Path,
        watch: Watch = silent,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> str:
        """Run a program of the toolbox; as `programs.run`."""
        argv = [*self.command(program), *words]
        return run(argv, watch=watch, env=env, stdin=stdin, what=program)


def unpack_toolbox(selection: Selection, store: Path, into: Path, watch: Watch = silent) -> None:
    """Unpack the toolbox's packages; links into the system are made to stay inside."""
    unpack(selection, store, into, watch)
    for path in into.rglob("*"):
        if path.is_symlink() and (target := path.readlink()).is_absolute():
            path.unlink()
            path.symlink_to(os.path.relpath(into / target.relative_to("/"), path.parent))
