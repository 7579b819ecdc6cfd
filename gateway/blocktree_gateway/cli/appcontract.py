"""The contract of an app, checked on this machine before the app goes to a device."""

from pathlib import Path as FilePath

from blocktree.actors.examine import examine
from blocktree.cli.contractfile import load, one_contract
from blocktree.contract import raise_first
from blocktree.contract.compact import encode_table, read_table
from blocktree.fault import Fault, Kind
from blocktree_gateway.appfile import TABLE

_SOURCE = "contract.py"
_ROLE = "device"


def contract_table(folder: FilePath, role: str = "") -> bytes | None:
    """The table that a device is to hold an app to; None if the app has no contract.

    Args:
        folder: of the app. `contract.py` in it declares the contract; without it `contract.tbl` is
            looked at as it is.
        role: that the device plays; `device` by default.

    Raises:
        Fault: CONTRACT, with the line, for a contract that is wrong; USAGE if it is not clear which
            role is meant; MALFORMED for a table that is none.
    """
    source, made = folder / _SOURCE, folder / TABLE
    if not source.is_file():
        if not made.is_file():
            return None
        try:
            read_table(made.read_bytes())
        except Fault as fault:
            raise fault.at(str(made)) from None
        return made.read_bytes()
    module = load(str(source))
    contract = one_contract(module, "")
    raise_first(examine(module))
    names = [each.name for each in contract.roles]
    wanted = role or _ROLE
    if wanted not in names:
        raise Fault(
            Kind.USAGE,
            f"its contract has no role {wanted}",
            path=str(source),
            next_step=f"--role one of: {', '.join(names)}",
        )
    return encode_table(contract.role(wanted))
