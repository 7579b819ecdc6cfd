"""Measure our mount beside sshfs, GlusterFS replica 3 and a local directory, in one run.

Every peer is started here, on this machine and disk, and taken away afterwards. Cold: a new client,
and none of the stored bytes in the page cache. Write ends with fsync and close. Rounds go over all
peers in turn; the table shows medians, and CPU seconds of client and servers for the whole round.
Packages: sshfs openssh-server glusterfs-server fuse3. Best as root (GlusterFS needs it).
"""

import argparse
import contextlib
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mount_peers import PEERS, Peer, Unavailable, running

LOADS = str(Path(__file__).parent / "mount_loads.py")
LOAD_SECONDS = 600
OURS = "blocktree"
UNITS = {
    "write": "MiB/s",
    "read cold": "MiB/s",
    "read cached": "MiB/s",
    "random 4 KiB cold": "reads/s",
    "create": "files/s",
    "stat cold": "files/s",
    "tar x": "files/s",
    "CPU": "s/round",
}
Figures = dict[str, float]


def main() -> None:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = options.only or [name for name in PEERS if name != "driver"]
    work = Path(tempfile.mkdtemp(prefix="bench-mount-", dir=options.dir))
    absent: dict[str, str] = {}
    results: dict[str, list[Figures]] = defaultdict(list)
    try:
        with contextlib.ExitStack() as stack:
            peers = list(start(names, work, stack, absent))
            for number in range(options.rounds):
                for peer in list(peers):
                    tell(f"round {number + 1} of {options.rounds}: {peer.name}")
                    try:
                        results[peer.name].append(measure(peer, number, options))
                    except (Unavailable, subprocess.SubprocessError, OSError) as error:
                        absent[peer.name] = str(error)
                        peers.remove(peer)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    table = {name: medians(rounds) for name, rounds in results.items() if rounds}
    if options.json:
        print(json.dumps(report(table, absent, options), indent=2))
    else:
        show(table, absent)
    sys.exit(1 if OURS in absent else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PEERS, help="may be given repeatedly")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256, help="MiB of the big file")
    parser.add_argument("--random", type=int, default=2000, help="random reads of 4 KiB")
    parser.add_argument("--files", type=int, default=500, help="files to create and stat")
    parser.add_argument("--tar", type=int, default=500, help="files in the archive")
    parser.add_argument("--dir", type=Path, help="where to work; default: the temporary directory")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def start(
    names: list[str], work: Path, stack: contextlib.ExitStack, absent: dict[str, str]
) -> Iterator[Peer]:
    for name in names:
        tell(f"starting {name}")
        try:
            yield stack.enter_context(running(name, work))
        except Unavailable as reason:
            absent[name] = str(reason)
            tell(f"{name}: {reason}")


def measure(peer: Peer, number: int, options: argparse.Namespace) -> Figures:
    """One round on one peer."""
    place = peer.point / f"round-{number}"
    place.mkdir()
    cpu = peer.cpu_seconds()
    lost = 0.0  # what a client used that a cold start takes away
    figures = {"write": load("write", place, options.size)}
    lost += restart(peer)
    figures["read cold"] = load("read", place, options.size)
    figures["read cached"] = load("read", place, options.size)
    lost += restart(peer)
    figures["random 4 KiB cold"] = load("random", place, options.random)
    figures["create"] = load("create", place, options.files)
    lost += restart(peer)
    figures["stat cold"] = load("stat", place, options.files)
    figures["tar x"] = load("tar", place, options.tar)
    figures["CPU"] = peer.cpu_seconds() + lost - cpu
    shutil.rmtree(place)
    return figures


def restart(peer: Peer) -> float:
    """Make it cold; the CPU seconds that went with the old client."""
    before = peer.cpu_seconds()
    peer.make_cold()
    return max(0.0, before - peer.cpu_seconds())


def load(name: str, place: Path, amount: int) -> float:
    done = subprocess.run(
        [sys.executable, LOADS, name, str(place), str(amount)],
        capture_output=True,
        text=True,
        timeout=LOAD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}")
    return float(json.loads(done.stdout))


def medians(rounds: list[Figures]) -> Figures:
    return {row: statistics.median(figures[row] for figures in rounds) for row in UNITS}


def ratios(table: dict[str, Figures]) -> dict[str, Figures]:
    """Ours over each peer; CPU the other way round would mislead, so it is a plain ratio too."""
    if OURS not in table:
        return {}
    return {
        name: {row: table[OURS][row] / figures[row] for row in UNITS if figures[row]}
        for name, figures in table.items()
        if name != OURS
    }


def report(
    table: dict[str, Figures], absent: dict[str, str], options: argparse.Namespace
) -> dict[str, object]:
    sizes = {key: getattr(options, key) for key in ("rounds", "size", "random", "files", "tar")}
    return {
        "schema": 1,
        "sizes": sizes,
        "units": UNITS,
        "peers": table,
        "ratios": ratios(table),
        "absent": absent,
    }


def show(table: dict[str, Figures], absent: dict[str, str]) -> None:
    compared = ratios(table)
    heads = [*table, *(f"/{name}" for name in compared)]
    print(f"{'':20}{'':9}" + "".join(f"{head:>12}" for head in heads))
    for row, unit in UNITS.items():
        cells = [f"{figures[row]:12,.1f}" for figures in table.values()]
        cells += [f"{ours.get(row, 0):11.2f}×" for ours in compared.values()]
        print(f"{row:20}{unit:9}" + "".join(cells))
    for name, reason in absent.items():
        print(f"{name}: not measured: {reason}")


if __name__ == "__main__":
    main()
