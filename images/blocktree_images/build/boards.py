"""Boards as data: `boards/<name>/board.toml`, read strictly.

[board]    name, title, kind = "computer" (others are not for this package)
[system]   architecture, suite, kernel; packages beside the usual ones; backports taken by name
[boot]     loader = "raspberrypi" or "none"; firmware, devicetrees, consoles, options, config
[emulate]  how `bt image boot` runs it: machine, cpu, memory (MiB), card, network, …
[imager]   devices: Raspberry Pi Imager's tags
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from blocktree.fault import Fault, Kind

_T = TypeVar("_T")
_LOADERS = ("raspberrypi", "none")
_ARCHITECTURES = ("arm64", "amd64")
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class SystemPart:
    """What Debian gives."""

    architecture: str
    kernel: str
    suite: str = "trixie"
    packages: tuple[str, ...] = ()
    backports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BootPart:
    """What the boot partition holds."""

    loader: str
    firmware: tuple[str, ...] = ()
    devicetrees: tuple[str, ...] = ()
    consoles: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    config: str = ""


@dataclass(frozen=True, slots=True)
class EmulatePart:
    """The machine that stands in for the board."""

    machine: str
    cpu: str
    memory: int = 512
    cores: int = 2
    card: str = "virtio"  # or "sd"
    network: str = "virtio"  # or "usb"
    console: str = "ttyAMA0"
    devicetree: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImagerPart:
    """What Raspberry Pi Imager is told."""

    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """A kind of computer that an image can be made for."""

    name: str
    title: str
    system: SystemPart
    boot: BootPart
    emulate: EmulatePart | None = None
    imager: ImagerPart = ImagerPart()

    @property
    def architecture(self) -> str:
        """Debian's name of it."""
        return self.system.architecture

    @property
    def suite(self) -> str:
        """Debian's release."""
        return self.system.suite


def boards_folder() -> Path:
    """Where the boards are described: in the source.

    Raises:
        Fault: MISSING if this is an installed package.
    """
    folder = _HERE.parents[2] / "boards"
    if folder.is_dir():
        return folder
    raise Fault(
        Kind.MISSING,
        "the descriptions of boards are not installed",
        next_step="run bt from a checkout of the source: tools/bt image …",
    )


def board_names(folder: Path) -> list[str]:
    """Every computer that is described."""
    return sorted(
        path.parent.name
        for path in folder.glob("*/board.toml")
        if tomllib.loads(path.read_text()).get("board", {}).get("kind") == "computer"
    )


def load_board(name: str, folder: Path | None = None) -> Board:
    """One board.

    Raises:
        Fault: NOT_FOUND, naming those there are; MALFORMED, naming the line that makes no sense.
    """
    folder = folder or boards_folder()
    names = board_names(folder)
    if name not in names:
        raise Fault(
            Kind.NOT_FOUND,
            "there is no computer of that name",
            path=name,
            next_step=f"one of {', '.join(names)}",
        )
    return read_board((folder / name / "board.toml").read_text(), name)


def read_board(text: str, name: str) -> Board:
    """One board from its text; `name` is the folder's.

    Raises:
        Fault: MALFORMED.
    """
    try:
        parts = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise _malformed(name, str(cause)) from cause
    head = dict(parts.pop("board", {}))
    if head.pop("kind", None) != "computer" or head.get("name") != name:
        raise _malformed(name, f'[board] needs name = "{name}" and kind = "computer"')
    sections = {
        "system": SystemPart,
        "boot": BootPart,
        "emulate": EmulatePart,
        "imager": ImagerPart,
    }
    if unknown := parts.keys() - sections.keys():
        raise _malformed(name, f"[{min(unknown)}] is not a section")
    made: dict[str, Any] = {
        key: _part(sections[key], key, values, name) for key, values in parts.items()
    }
    board = _part(Board, "board", {**head, **made}, name)
    if board.boot.loader not in _LOADERS:
        raise _malformed(name, f"[boot] loader is one of {', '.join(_LOADERS)}")
    if board.architecture not in _ARCHITECTURES:
        raise _malformed(name, f"[system] architecture is one of {', '.join(_ARCHITECTURES)}")
    return board


def _part(cls: type[_T], section: str, values: Mapping[str, Any], name: str) -> _T:
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := values.keys() - fields.keys():
        raise _malformed(name, f"[{section}] has no {min(unknown)}")
    given = {key: _value(section, fields[key], value, name) for key, value in values.items()}
    try:
        return cls(**given)
    except TypeError as cause:
        raise _malformed(name, f"[{section}] lacks something: {cause}") from cause


def _value(section: str, field: "dataclasses.Field[Any]", value: Any, name: str) -> Any:
    """The value if it is of the field's type; a list becomes a tuple."""
    if isinstance(value, list):
        sound = field.type == tuple[str, ...] and all(isinstance(one, str) for one in value)
        value = tuple(value)
    else:
        sound = field.type not in (str, int) or type(value) is field.type
    if not sound:
        raise _malformed(name, f"[{section}] {field.name} is of the wrong type")
    return value


def _malformed(name: str, what: str) -> Fault:
    return Fault(Kind.MALFORMED, what, path=f"boards/{name}/board.toml")
