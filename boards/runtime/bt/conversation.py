"""The conversation of an app with whoever commands it, held to the app's contract if it has one."""

from bt import flash
from bt.fault import CONTRACT, Fault
from bt.monitor import Monitor


class Conversation:
    """What one session commands, and what the app says.

    A message out of order stops the conversation: everything in it is refused until the next
    session, unless the contract has one state only, where there is nothing to stop.

    Args:
        path: of the contract table; without the file everything is allowed.
        blame: called with the sentence when the contract was broken.
    """

    def __init__(self, path, blame):
        self._blame = blame
        self._stopped = ""
        self._monitor = None
        if flash.size(path):
            with open(path, "rb") as file:
                self._monitor = Monitor(file.read())

    def take(self, command):
        """A command has come.

        Raises:
            Fault: CONTRACT if it may not.
        """
        if self._stopped:
            raise Fault(CONTRACT, "stopped until the next session: " + self._stopped)
        if self._monitor is not None:
            try:
                self._monitor.take(message_of(command))
            except Fault as fault:
                self._break(fault)

    def done(self):
        """The command was carried out."""
        if self._monitor is not None and not self._stopped:
            self._monitor.done()

    def refuse(self):
        """The command was refused."""
        if self._monitor is not None and not self._stopped:
            self._monitor.refuse()

    def lose(self):
        """The session has ended: the next one begins anew, or where the contract says."""
        self._stopped = ""
        if self._monitor is not None:
            self._monitor.lose()

    def _break(self, fault):
        if self._monitor.states > 1:
            self._stopped = fault.what
        self._blame(fault.what)
        raise fault


def message_of(command):
    """The message that stands for a command: `Led.set` is `LedSet`."""
    return "".join([word[:1].upper() + word[1:] for word in command.split(".")])
