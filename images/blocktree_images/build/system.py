"""What every computer's root file system is made of: `system.toml`, read once."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("system.toml")


@dataclass(frozen=True, slots=True)
class System:
    """The lists of `system.toml`."""

    packages: tuple[str, ...]
    exclude: tuple[str, ...]
    include: tuple[str, ...]
    drop: tuple[str, ...]


def load_system() -> System:
    """Read `system.toml`."""
    lists = tomllib.loads(_FILE.read_text())
    return System(**{name: tuple(values) for name, values in lists.items()})
