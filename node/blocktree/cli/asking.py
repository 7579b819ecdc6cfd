"""What the command line asks a person for, and the options that answer it for a script."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from blocktree.fault import Fault, Kind

_F = TypeVar("_F", bound=Callable[..., Any])
_PASSPHRASE_MIN = 8  # characters; scrypt makes each guess cost a fifth of a second

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
no_input_option = click.option("--no-input", is_flag=True, help="Never ask; fail instead.")
address_option = click.option(
    "--addr",
    "addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Where a node listens, if it is not found by itself. May be given several times.",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read the owner's passphrase from this file (its first line).",
)


def owner_options(command: _F) -> _F:
    """`--passphrase-file` and `--no-input`, for what the owner's key must sign."""
    return passphrase_option(no_input_option(command))


def read_passphrase(file: Path | None, *, no_input: bool, new: bool = False) -> str:
    """The owner's passphrase from a file or the terminal.

    Raises:
        Fault: USAGE if it can be had from neither, or a new one is too short or mistyped.
    """
    if file is not None:
        try:
            passphrase = file.read_text().splitlines()[0]
        except (OSError, IndexError, UnicodeDecodeError) as cause:
            raise Fault(Kind.USAGE, "holds no passphrase", path=str(file)) from cause
    elif no_input or not sys.stdin.isatty():
        raise Fault(
            Kind.USAGE,
            "the owner's passphrase is needed",
            next_step="give --passphrase-file FILE",
        )
    else:
        passphrase = _ask("Passphrase for the owner's key")
        if new and _ask("The same again") != passphrase:
            raise Fault(Kind.USAGE, "the two passphrases differ", next_step="try again")
    if new and len(passphrase) < _PASSPHRASE_MIN:
        raise Fault(Kind.USAGE, f"a passphrase has at least {_PASSPHRASE_MIN} characters")
    return passphrase


def confirm_by_name(name: str, question: str, *, given: str | None, no_input: bool) -> None:
    """Have a person type the name of what is to be destroyed; `given` (--yes=NAME) answers it.

    Raises:
        Fault: CANCELLED if the name is not typed, USAGE if nobody can be asked.
    """
    if given == name:
        return
    if given is not None or no_input or not sys.stdin.isatty():
        raise Fault(Kind.USAGE, f"{question} Confirm with --yes={name}")
    if click.prompt(f"{question} Type  {name}  to confirm", err=True) != name:
        raise Fault(Kind.CANCELLED, "nothing was changed")


def _ask(question: str) -> str:
    return str(click.prompt(question, hide_input=True, err=True))


def read_word(given: str) -> str:
    """A ticket or the like: the argument, the file that it names, or a line of input for `-`.

    Only a line, for who prints it may go on running.
    """
    if given == "-":
        return sys.stdin.readline(1 << 16)
    path = Path(given)
    return path.read_text(errors="replace") if len(given) < 256 and path.exists() else given
