"""Build MicroPython for a Cortex-M3 board that QEMU emulates, and print where the firmware is.

MicroPython's own QEMU port from Debian's sources, with what stock boards have and it lacks
(`tests/board/device/cortex_m3`); AES and SHA-256 come from Debian's mbedTLS, as on boards.
Needs apt, gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm, dpkg-dev and make; takes a
minute or more and 400 MB the first time. Tests build it with --cortex-m3.

  .venv/bin/python tools/build_cortex_m3.py [--work FOLDER]
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ROOT / "tests" / "board" / "device" / "cortex_m3"
NEEDED = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "dpkg-source": "dpkg-dev",
    "make": "make",
    "gcc": "gcc",
}
MBEDTLS = ("aes", "sha256", "platform_util", "constant_time")
CONFIG = """
#define MBEDTLS_AES_C
#define MBEDTLS_CIPHER_MODE_CBC
#define MBEDTLS_SHA256_C
#define MBEDTLS_PLATFORM_C
"""
MAKE = """
SRC_THIRDPARTY_C += {sources}
SRC_C += board.c shared/timeutils/timeutils.c
MICROPY_VFS_LFS2 = 1
CFLAGS_EXTRA += -DMICROPY_PY_CRYPTOLIB=1 -DMICROPY_SSL_MBEDTLS=1
CFLAGS_EXTRA += -DMBEDTLS_CONFIG_FILE='"crypto_config.h"' -I$(TOP)/lib/mbedtls/include
"""
HEAP = 240 << 10  # as a Pico's
CHANGES = (
    ("mpconfigport.h", "// type definitions", '#include "board.h"\n// type definitions'),
    ("modmachine.c", "    exit(0);", "    board_reset();"),
    ("main.c", "        mp_init();\n", "        mp_init();\n        board_start();\n"),
    ("mphalport.c", "uintptr_t mp_hal_stdio_poll(", "MP_WEAK uintptr_t mp_hal_stdio_poll("),
    ("mcu/arm/mps2.ld", "    .bss :", "    /DISCARD/ : { *(.ARM.exidx*) }\n\n    .bss :"),
)
CPU = ("-mthumb", "-mcpu=cortex-m3", "-mfloat-abi=soft")


def run(command: Sequence[str], cwd: Path, log: Path) -> None:
    with log.open("ab") as out:
        done = subprocess.run(command, cwd=cwd, stdout=out, stderr=out, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} … failed; read {log}")


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def get_sources(work: Path, log: Path) -> None:
    """MicroPython and mbedTLS from trixie, unpacked without Debian's patches."""
    targets = output("apt-get", "indextargets", "--format", "$(REPO_URI)").splitlines()
    mirror = next(each for each in targets if each.rstrip("/").endswith("/debian"))
    aside = work / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (aside / folder).mkdir(parents=True, exist_ok=True)
    (aside / "status").write_text("")
    signed = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    (aside / "sources.list").write_text(f"deb-src [{signed}] {mirror} trixie main\n")
    settings = {
        "Dir::Etc::SourceList": aside / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State": aside,
        "Dir::State::status": aside / "status",
        "Dir::Cache": aside / "cache",
        "APT::Sandbox::User": "",
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    run(["apt-get", "-qq", *options, "update"], work, log)
    fetch = ["source", "--download-only", "micropython", "mbedtls"]
    run(["apt-get", "-qq", *options, *fetch], work, log)
    for name in ("micropython", "mbedtls"):
        shutil.rmtree(work / name, ignore_errors=True)
        description = str(next(work.glob(f"{name}_*.dsc")))
        run(["dpkg-source", "--skip-patches", "-x", description, name], work, log)


def build(work: Path, log: Path) -> Path:
    """The firmware; gives its path."""
    tree = work / "micropython"
    port = tree / "ports" / "qemu"
    if not (tree / "lib" / "mbedtls" / "library").exists():
        shutil.rmtree(tree / "lib" / "mbedtls", ignore_errors=True)
        (tree / "lib" / "mbedtls").symlink_to(work / "mbedtls")
        (tree / "lib" / "micropython-lib").mkdir(exist_ok=True)
        (tree / "lib" / "micropython-lib" / "README.md").touch()
    dress(port)
    run(["make", "-C", str(tree / "mpy-cross"), "-j2"], work, log)
    libraries = [
        output("arm-none-eabi-gcc", *CPU, "-print-file-name=libc_nano.a"),
        output("arm-none-eabi-gcc", *CPU, "-print-libgcc-file-name"),
    ]
    settings = {
        "BOARD": "MPS2_AN385",
        "MICROPY_HEAP_SIZE": str(HEAP),
        "FROZEN_MANIFEST": str(port / "board_manifest.py"),
        "LIBS": " ".join(libraries),
    }
    run(["make", "-C", str(port), "-j2", *[f"{k}={v}" for k, v in settings.items()]], work, log)
    return port / "build-MPS2_AN385" / "firmware.elf"


def dress(port: Path) -> None:
    """Lay our board over the port."""
    sources = " ".join(f"lib/mbedtls/library/{name}.c" for name in MBEDTLS)
    frozen = f'include("$(MPY_DIR)/extmod/asyncio")\nfreeze({str(OURS)!r}, "_boot.py")\n'
    files = {each.name: each.read_text() for each in OURS.glob("*.[ch]")}
    files["mpconfigport.mk"] = MAKE.format(sources=sources)
    files["crypto_config.h"] = CONFIG
    files["board_manifest.py"] = frozen
    for name, old, new in CHANGES:
        text = (port / name).read_text()
        assert new in text or text.count(old) == 1, f"{name} is not as expected"
        files[name] = text if new in text else text.replace(old, new)
    for name, text in files.items():
        path = port / name
        if not path.exists() or path.read_text() != text:  # what is as it was is not built again
            path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = cache / "blocktree" / "cortex-m3"
    parser.add_argument("--work", type=Path, default=where, help=f"where to build ({where})")
    work = parser.parse_args().work.resolve()
    missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
    if missing:
        sys.exit(f"Some packages are missing. Run: sudo apt-get install -y {' '.join(missing)}")
    work.mkdir(parents=True, exist_ok=True)
    log = work / "log"
    log.write_text("")
    if not (work / "micropython" / "ports").exists():
        print("Getting the sources …", file=sys.stderr)
        get_sources(work, log)
    print("Building the firmware …", file=sys.stderr)
    print(build(work, log))


if __name__ == "__main__":
    main()
