"""Run every device vector on a Cortex-M3: MicroPython built from Debian's sources, in QEMU.

The runtime is frozen into the firmware of MicroPython's own QEMU port; AES and SHA-256 come from
Debian's mbedTLS, as on boards. Needs apt, gcc-arm-none-eabi, libnewlib-arm-none-eabi,
qemu-system-arm, dpkg-dev and make; takes some minutes and 400 MB the first time.

  .venv/bin/python tools/check_cortex_m3.py [--work FOLDER]
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mpremote.transport_serial import SerialTransport

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests" / "vectors"
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
CFLAGS_EXTRA += -DMICROPY_PY_CRYPTOLIB=1 -DMICROPY_SSL_MBEDTLS=1
CFLAGS_EXTRA += -DMBEDTLS_CONFIG_FILE='"crypto_config.h"' -I$(TOP)/lib/mbedtls/include
"""
HEAP = 131072
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
    sources = " ".join(f"lib/mbedtls/library/{name}.c" for name in MBEDTLS)
    (port / "mpconfigport.mk").write_text(MAKE.format(sources=sources))
    (port / "crypto_config.h").write_text(CONFIG)
    manifest = port / "vectors_manifest.py"
    manifest.write_text(
        f"freeze({str(ROOT / 'boards' / 'runtime')!r}, {runtime_modules()!r})\n"
        f"freeze({str(ROOT / 'tests' / 'board' / 'device')!r}, 'vector_checks.py')\n"
    )
    run(["make", "-C", str(tree / "mpy-cross"), "-j2"], work, log)
    libraries = [
        output("arm-none-eabi-gcc", *CPU, "-print-file-name=libc_nano.a"),
        output("arm-none-eabi-gcc", *CPU, "-print-libgcc-file-name"),
    ]
    settings = {
        "BOARD": "MPS2_AN385",
        "MICROPY_HEAP_SIZE": str(HEAP),
        "FROZEN_MANIFEST": str(manifest),
        "LIBS": " ".join(libraries),
    }
    run(["make", "-C", str(port), "-j2", *[f"{k}={v}" for k, v in settings.items()]], work, log)
    return port / "build-MPS2_AN385" / "firmware.elf"


def runtime_modules() -> tuple[str, ...]:
    """The modules that the vectors exercise, and what those import."""
    runtime = ROOT / "boards" / "runtime" / "bt"
    checks = (ROOT / "tests" / "board" / "device" / "vector_checks.py").read_text()
    todo, found = [checks], {"__init__"}
    while todo:
        text = todo.pop()
        names = re.findall(r"^\s*from bt\.(\w+) import", text, re.M)
        for listed in re.findall(r"^from bt import (.+)$", text, re.M):
            names += re.findall(r"\w+", listed)
        for name in names:
            if name not in found and not name.endswith("_cpython"):
                found.add(name)
                todo.append((runtime / f"{name}.py").read_text())
    return tuple(f"bt/{name}.py" for name in sorted(found))


@contextlib.contextmanager
def board(firmware: Path) -> Iterator[SerialTransport]:
    """The raw REPL of the firmware, running in QEMU."""
    machine = ["-machine", "mps2-an385", "-nographic", "-monitor", "none", "-semihosting"]
    process = subprocess.Popen(
        ["qemu-system-arm", *machine, "-serial", "pty", "-kernel", str(firmware)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "QEMU_AUDIO_DRV": "none"},
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        port = re.search(r"/dev/pts/\d+", said)
        if not port:
            sys.exit(f"QEMU does not start: {said}")
        transport = SerialTransport(port[0])
        transport.enter_raw_repl(soft_reset=False)
        yield transport
    finally:
        process.kill()
        process.wait()


def check(firmware: Path) -> int:
    """Run the vectors; gives how many differ."""
    cases = sorted(VECTORS.glob("device_*/*.txt")) + sorted(VECTORS.glob("contract/*.txt"))
    differ = 0
    with board(firmware) as transport:
        said = "import sys,gc,vector_checks\nprint(sys.version, sys.implementation)"
        print(transport.exec(said).decode().strip())
        for path in cases:
            text = path.read_text()
            call = f"print(vector_checks.judge({path.parent.name!r}, {text!r}))\ngc.collect()"
            found, expected = eval(transport.exec(call).decode())
            if found != expected:
                differ += 1
                name = path.relative_to(VECTORS)
                print(f"{name}: expected {expected}, found {found}", file=sys.stderr)
        free = transport.exec("print(gc.mem_free())").decode().strip()
    print(f"held {len(cases) - differ} of {len(cases)}; {free} of {HEAP} bytes of heap free")
    return differ


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
    sys.exit(1 if check(build(work, log)) else 0)


if __name__ == "__main__":
    main()
