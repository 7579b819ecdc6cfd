"""What answers at paths: registering there, finding it, judging who may send, and running it.

`store/SPEC.md` states what is said to the sector service, `SPEC.md` here how services are run.
"""

from blocktree.services.registrar import Registrar
from blocktree.services.resolver import PathResolver
from blocktree.services.sending import SendRight
from blocktree.services.wiring import Registration, register_paths

__all__ = ["PathResolver", "Registrar", "Registration", "SendRight", "register_paths"]
