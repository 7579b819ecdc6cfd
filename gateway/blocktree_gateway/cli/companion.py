"""What `bt up` and `bt down` do beside the nodes: gateways, and simulated devices."""

from collections.abc import Sequence

from blocktree.cli.places import Places
from blocktree.fault import Fault
from blocktree_gateway.cli.gateways import gateway_daemons, start_gateway
from blocktree_gateway.cli.simulations import begin_simulation, device_daemons


class Companion:
    """Starts and stops with this machine's nodes (`blocktree.cli.companions`)."""

    @staticmethod
    def start(places: Places, *, sim: bool) -> Sequence[str]:
        """Start what does not run, without waiting for it."""
        lines = begin_simulation(places) if sim else []
        for daemon in gateway_daemons(places):
            if daemon.pid() is None:
                try:
                    start_gateway(daemon, wait=False)
                except Fault as fault:
                    lines.append(f"Gateway {daemon.folder.name}: {fault}")
        return lines

    @staticmethod
    def stop(places: Places) -> None:
        """Stop everything."""
        for daemon in (*device_daemons(places), *gateway_daemons(places)):
            daemon.stop()


companion = Companion()
