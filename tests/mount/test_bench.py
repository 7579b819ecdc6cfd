"""The benchmarks run: a small round of each, whose figures are there and whose mounts are gone."""

import json
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parent.parent.parent / "tools"


def test_the_mount_benchmark_measures_and_cleans_up(tmp_path: Path) -> None:
    small = ["--size", "2", "--random", "20", "--files", "5", "--tar", "5", "--rounds", "1"]
    command = [
        sys.executable,
        str(TOOLS / "bench_mount.py"),
        "--json",
        "--dir",
        str(tmp_path),
        *small,
    ]
    peers = ["--only", "local", "--only", "driver"]
    done = subprocess.run(
        [*command, *peers], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    assert report["absent"] == {}
    for figures in report["peers"].values():
        assert set(figures) == set(report["units"])
        assert all(figure > 0 for what, figure in figures.items() if what != "CPU")
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
