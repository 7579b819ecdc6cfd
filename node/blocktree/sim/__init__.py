"""A world from a seed: network, clocks, crashes and disks are simulated, the machines are real.

`SPEC.md` says what is simulated and what is checked. `world` and `network` know nothing of Raft;
`process` runs one real core over a `disk` that loses what was not synced; `trial` is a whole run.
"""

from blocktree.sim.faulty import FaultyDisk
from blocktree.sim.judge import Violation
from blocktree.sim.linear import Operation, unexplained_key
from blocktree.sim.network import Network
from blocktree.sim.process import Process
from blocktree.sim.segments import SegmentDisk
from blocktree.sim.trial import Trial, Verdict, run_trial
from blocktree.sim.world import World

__all__ = [
    "FaultyDisk",
    "Network",
    "Operation",
    "Process",
    "SegmentDisk",
    "Trial",
    "Verdict",
    "Violation",
    "World",
    "run_trial",
    "unexplained_key",
]
