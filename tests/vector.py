"""Vectors: files that pin a format outside the code, `tests/vectors/<format>/<case>.txt`.

Header lines `key: value`, of which `expect:` says `ok` or a fault's kind in lower case; an empty
line; then one byte string in hex on each line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blocktree.fault import Fault

FOLDER = Path(__file__).parent / "vectors"


@dataclass(frozen=True)
class Vector:
    """One case."""

    headers: Mapping[str, str]
    values: Sequence[bytes]

    def __str__(self) -> str:
        head = [f"{key}: {value}" for key, value in self.headers.items()]
        return "\n".join([*head, "", *(value.hex() for value in self.values)]) + "\n"


def load(path: Path) -> Vector:
    head, _, body = path.read_text().partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    return Vector(headers, [bytes.fromhex(line) for line in body.split()])


def pin(folder: str, case: str, made: Vector, *, rewrite: bool) -> None:
    """Compare a case that can be built again with its file; `rewrite` accepts it."""
    path = FOLDER / folder / f"{case}.txt"
    if rewrite:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(made))
    assert path.exists(), f"{path} is missing; run pytest --rewrite"
    assert str(made) == path.read_text(), f"{path} differs; run pytest --rewrite and read the diff"


def verdict(check: Callable[[], object]) -> str:
    """What `expect:` is compared with: `ok`, or the kind of the fault."""
    try:
        check()
    except Fault as fault:
        return fault.kind.name.lower()
    return "ok"
