"""`bt demo` as a person runs it."""

import json
import subprocess
import sys


def test_the_demo_holds_every_check_and_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blocktree.cli", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"]
    assert [step["result"] for step in told["steps"] if "files equal" in step["result"]]
