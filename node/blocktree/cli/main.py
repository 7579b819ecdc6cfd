"""The command group: finds the verb, runs it, and turns a fault into a sentence and an exit code.

Verbs are imported when they are called, because a start that loads everything costs a second on a
small board.
"""

import errno
import importlib
import logging
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from blocktree import __version__
from blocktree.cli.exits import exit_code
from blocktree.cli.output import colour, complain
from blocktree.fault import Fault, Kind

_LOG = "BLOCKTREE_LOG"  # debug, info, …: tell on standard error what is done
# What a person reads in `bt --help`, in the order of a first day.
_VERBS = {
    "init": "Make a new tree and its keys.",
    "up": "Start this machine's nodes.",
    "down": "Stop this machine's nodes and mounts.",
    "status": "Say how the tree is, problems first.",
    "doctor": "Check this machine for what commonly goes wrong.",
    "mount": "Mount the tree on a directory.",
    "umount": "Unmount it.",
    "ls": "List a directory.",
    "cat": "Write a file to standard output.",
    "cp": "Copy files into, out of or within the tree.",
    "mv": "Move or rename.",
    "rm": "Remove files.",
    "mkdir": "Make directories.",
    "stat": "Say everything known of a file.",
    "share": "Say who may do what in a directory, and let others.",
    "scrub": "Check all that the nodes keep, and repair it.",
    "run": "Have the tree run an actor.",
    "ps": "List the actors that the tree runs.",
    "stop": "Have the tree run an actor no more.",
    "logs": "Print what an actor printed.",
    "services": "List who answers at paths of the tree.",
    "ask": "Ask an actor something.",
    "send": "Send a message to an actor.",
    "watch": "Print each change of a file, a directory or an actor.",
    "contract": "Check, draw and compare contracts; see who broke one.",
    "user": "Have other people belong to the tree.",
    "node": "Invite, join, list, remove and replace nodes.",
    "sim": "Stop and start the nodes of a simulated tree.",
    "demo": "Show the main job end to end on this machine.",
}


class _Verbs(click.Group):
    """A group whose commands live in modules of their own name, or in packages above the node.

    Those register theirs as entry points of the group `blocktree.verbs`, so that nothing here
    names them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*_VERBS, *_registered()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name in _VERBS:
            command = importlib.import_module(f"blocktree.cli.{cmd_name}").command
        elif found := _registered().get(cmd_name):
            command = found.load()
        else:
            return None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        rows = list(_VERBS.items())
        for name, found in _registered().items():
            rows.append((name, found.load().get_short_help_str()))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _registered() -> dict[str, EntryPoint]:
    """The verbs of other packages: looked up only when none of ours is meant."""
    return {found.name: found for found in sorted(entry_points(group="blocktree.verbs"))}


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bt")
def bt() -> None:
    """Blocktree: one tree that holds a home's files, kept by its own small computers.

    \b
    A first try on one machine, no hardware needed:
      bt up --sim 3              make a throw-away tree kept by three nodes
      bt mount /home ~/home      mount it
      bt status                  see how it is
      bt down --purge            remove it again

    State is kept in $BLOCKTREE_STATE, or else ~/.local/state/blocktree.
    BLOCKTREE_LOG=info (or debug) has a command tell what it does.
    """  # noqa: D301 - \b is click's mark for text that keeps its lines


def main(argv: list[str] | None = None) -> None:
    """Run one command line; leaves with the exit code of `cli.exits`."""
    _quieten()
    try:
        result: Any = bt.main(args=argv, standalone_mode=False, color=colour())
    except Fault as fault:
        complain(fault)
        sys.exit(exit_code(fault.kind))
    except click.exceptions.Abort:
        complain(Fault(Kind.CANCELLED, "interrupted"))
        sys.exit(exit_code(Kind.CANCELLED))
    except click.ClickException as usage:
        usage.show()
        sys.exit(exit_code(Kind.USAGE))
    except BrokenPipeError:
        sys.exit(0)  # `bt ls | head` is not a failure
    except OSError as cause:
        complain(refused := _refusal(cause))
        sys.exit(exit_code(refused.kind))
    except Exception as bug:  # a person can do nothing with a traceback; who can asks for it
        logging.getLogger(__name__).exception("a fault of this program")
        complain(_own_fault(bug))
        sys.exit(exit_code(Kind.FAILED))
    sys.exit(result if isinstance(result, int) else 0)


def _quieten() -> None:
    """Faults tell a person what is wrong; what the program's parts log is shown on request only."""
    if level := os.environ.get(_LOG):
        known = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        logging.basicConfig(level=known, format="%(levelname)s %(name)s: %(message)s")
    elif not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())


def _own_fault(bug: Exception) -> Fault:
    what = f"a fault of this program: {type(bug).__name__}: {bug}"
    return Fault(Kind.FAILED, what, next_step=f"please report it, with what {_LOG}=info shows")


def _refusal(cause: OSError) -> Fault:
    """What the operating system did not let us do."""
    path, what = str(cause.filename or ""), (cause.strerror or str(cause)).lower()
    if isinstance(cause, PermissionError):
        step = "bt doctor; or keep state elsewhere: BLOCKTREE_STATE=DIR"
        return Fault(Kind.DENIED, what, path=path, next_step=step)
    kind = Kind.NO_SPACE if cause.errno == errno.ENOSPC else Kind.FAILED
    return Fault(kind, what, path=path, next_step="bt doctor")
