"""Running programs of the system, and naming the Debian package of one that is missing."""

import collections
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from blocktree.fault import Fault, Kind

Watch = Callable[[str], None]

_PACKAGES = {
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg-deb": "dpkg",
    "mmdebstrap": "mmdebstrap",
    "mcopy": "mtools",
    "mdel": "mtools",
    "xz": "xz-utils",
    "zstd": "zstd",
    "tar": "tar",
}
_SHOWN_LINES = 12
_SBIN = "/usr/sbin:/sbin"


def silent(line: str) -> None:
    """Watch a program without telling anybody."""
    del line


def find(program: str) -> str | None:
    """Where a program of the system is, or None."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


def need(*programs: str) -> None:
    """Make sure that programs are here: through apt if we are root.

    Raises:
        Fault: MISSING, naming each program and its Debian package.
    """
    missing = [program for program in programs if find(program) is None]
    if not missing:
        return
    packages = sorted({_PACKAGES.get(program, program) for program in missing})
    step = f"sudo apt-get install {' '.join(packages)}"
    if os.geteuid() == 0 and find("apt-get"):
        _install(packages)
        missing = [program for program in missing if find(program) is None]
    if missing:
        names = " and ".join(missing)
        raise Fault(
            Kind.MISSING,
            f"{names} {'is' if len(missing) == 1 else 'are'} not on this machine",
            next_step=step,
        )


def _install(packages: Sequence[str]) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for argv in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(argv, env=env, capture_output=True, check=False)  # noqa: S603
        if argv is install and done.returncode == 0:
            return


def run(
    argv: Sequence[str | Path],
    *,
    watch: Watch = silent,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    what: str = "",
) -> str:
    """Run a program to its end and give all that it printed.

    Args:
        argv: the program and its arguments.
        watch: told of each line as it comes.
        env: added to the environment.
        cwd: where it runs.
        stdin: what it reads; nothing by default.
        what: how it is called in the fault; the program's name by default.

    Raises:
        Fault: MISSING if there is no such program, FAILED with its last lines.
    """
    words = [str(word) for word in argv]
    name = what or Path(words[0]).name
    try:
        process = subprocess.Popen(  # noqa: S603 - argument lists only, no shell
            words,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            cwd=cwd,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as cause:
        package = _PACKAGES.get(name, name)
        raise Fault(
            Kind.MISSING,
            f"{name} is not on this machine",
            next_step=f"sudo apt-get install {package}",
        ) from cause
    with process:  # closes what it holds, and waits
        try:
            return _follow(process, name, watch, stdin)
        finally:
            if process.poll() is None:
                process.terminate()


def _follow(process: subprocess.Popen[str], name: str, watch: Watch, stdin: str | None) -> str:
    if process.stdin is not None:
        process.stdin.write(stdin or "")
        process.stdin.close()
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        watch(line.rstrip())
    if process.wait():
        last = collections.deque((line.rstrip() for line in lines if line.strip()), _SHOWN_LINES)
        raise Fault(
            Kind.FAILED, f"{name} ended with code {process.returncode}:\n  " + "\n  ".join(last)
        )
    return "".join(lines)
