"""`bt demo`: the main job on this machine, with a tree of its own that is gone afterwards.

It drives `bt` itself, so it shows nothing that a person could not do.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from blocktree.cli.mainjob import FILES_MIN, MainJob, find_source
from blocktree.cli.output import duration_text, print_json, print_table, say
from blocktree.fault import Fault, Kind


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """A throw-away tree in a state directory of its own."""

    state: Path

    def bt(self, *arguments: str) -> str:
        """Run `bt` and give what it printed.

        Raises:
            Fault: FAILED with what it said if it fails.
        """
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "blocktree.cli", *arguments],
            env={**os.environ, "BLOCKTREE_STATE": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise Fault(Kind.FAILED, f"bt {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def begin(self) -> None:
        """Make the tree and start its nodes."""
        self.bt("up", "--sim", "3", "--bare")

    def mount(self, point: Path) -> None:
        """Mount it."""
        self.bt("mount", "/home", str(point))

    def nodes(self) -> list[dict[str, Any]]:
        """What `bt sim ls` says of the nodes."""
        listed: list[dict[str, Any]] = json.loads(self.bt("sim", "ls", "--json"))["nodes"]
        return listed

    def kill(self, name: str) -> None:
        """Kill a node by SIGKILL."""
        self.bt("sim", "kill", name)

    def start(self, name: str) -> None:
        """Start it again."""
        self.bt("sim", "start", name)


@click.command("demo")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help=f"A directory with at least {FILES_MIN:,} files to copy; /usr/share by default.",
)
@click.option("--big", default=256, show_default=True, help="MiB of one big file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(source: Path | None, big: int, *, as_json: bool) -> None:
    """Make a tree, start three nodes, mount it, copy, kill the leader, verify every byte.

    \b
    Examples:
      bt demo
      bt demo --from ~/Pictures --big 1024
    """  # noqa: D301
    folder = Path(tempfile.mkdtemp(prefix="blocktree-demo-"))
    stage = ThisMachine(folder / "state")
    job = MainJob(stage, folder, source or find_source(), big << 20)
    try:
        job.run()
    except OSError as cause:
        raise Fault(
            Kind.FAILED, f"the mount gave an error: {cause.strerror}", path=str(cause.filename)
        ) from cause
    finally:
        _clean_up(stage, job)
    if as_json:
        rows = [{"what": s.what, "seconds": s.seconds, "result": s.result} for s in job.steps]
        print_json("demo", {"ok": True, "steps": rows})
        return
    say("")
    rows_shown = [(s.what, duration_text(s.seconds), s.result or "ok") for s in job.steps]
    print_table(("WHAT", "TOOK", "RESULT"), rows_shown)
    say("")
    say("Every check held. Nothing of it is left on this machine.")


def _clean_up(stage: ThisMachine, job: MainJob) -> None:
    """Stop everything and remove what was made, whatever happened before."""
    try:
        stage.bt("down", "--purge", "--yes", "home")
    except Fault as fault:
        say(f"cleaning up: {fault}")
    for mount in job.mounts:
        if mount.is_mount():
            subprocess.run(["umount", "-l", str(mount)], check=False)  # noqa: S603, S607
    shutil.rmtree(job.folder, ignore_errors=True)
