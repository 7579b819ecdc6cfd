"""A role as Python classes, one for each state, so that a type checker knows what may come next.

Each method is something the role may say in that state, and gives the class of the state that
follows; what may not be said there is no method. Where an answer decides what follows there is a
class for each outcome, to be told apart by `match` or `isinstance`. A state can be left only once,
which the classes check when they run (`blocktree.actors.line`).
"""

import re
from collections.abc import Iterator

from blocktree.contract.branch import Message, Verb
from blocktree.contract.contract import Role
from blocktree.contract.machine import Node, Turn, machine
from blocktree.contract.walk import reached
from blocktree.contract.written import contract_mark

_LINE = "blocktree.actors.line"


def stub(role: Role) -> str:
    """Source of a module with the states of a role; its contract must have passed `check`."""
    return _Stub(role).text()


class _Stub:
    def __init__(self, role: Role) -> None:
        assert role.contract is not None
        self._role = role
        self._contract = role.contract
        self._nodes = reached(machine(role.contract, role))
        self._start = self._nodes[0]
        self._prefix = _camel(role.name)
        self._outcomes: list[str] = []

    def text(self) -> str:
        states = [self._state(node) for node in self._nodes]
        body = "\n\n\n".join([*self._outcomes, *states])
        return f"{self._head(body)}\n\n\n{body}\n"

    def _head(self, body: str) -> str:
        contract = self._contract
        mark = contract_mark(contract)
        words = "Question, State" if "(Question[" in body else "State"
        lines = [
            f'"""The states of {self._role} (version {contract.version}, contract {mark}).',
            "",
            f"Made by `bt contract stub`. Begin with `{self._name(self._start)}(line)`.",
            '"""',
            "# ruff: noqa",
            "",
            *(["from dataclasses import dataclass", ""] if "@dataclass" in body else []),
            *self._imports(),
            f"from {_LINE} import {words}",
            *(["from blocktree.fault import Fault"] if "fault: Fault" in body else []),
        ]
        return "\n".join(lines)

    def _imports(self) -> Iterator[str]:
        used: dict[str, set[str]] = {}
        for node in self._nodes:
            for message, turn in (*node.takes.items(), *node.sends.items()):
                for each in (message, *turn.after):
                    if each is not None:
                        module = each.__module__.removeprefix("_contract_")
                        used.setdefault(module, set()).add(each.__name__)
        for module in sorted(used):
            yield f"from {module} import {', '.join(sorted(used[module]))}"

    def _name(self, node: Node) -> str:
        place = self._start if node.over else node
        return self._prefix + _camel(place.name)

    def _state(self, node: Node) -> str:
        name = self._name(node)
        lines = [f"class {name}(State):", f'    """{self._role.name} in state {node.name}."""']
        for message in sorted(node.sends, key=lambda each: each.record_code):
            lines += ["", *self._send(node, message, node.sends[message])]
        if node.takes:
            lines += ["", *self._hear(node)]
        return "\n".join(lines)

    def _send(self, node: Node, message: Message, turn: Turn) -> Iterator[str]:
        method = _snake(message.__name__)
        verb = turn.branches[0].verb
        head = f"    async def {method}(self, message: {message.__name__})"
        said = f'        """{verb.value.capitalize()} `{message.__name__}`."""'
        if verb is Verb.TELLS:
            (after,) = turn.after.values()
            yield f'{head} -> "{self._name(after)}":'
            yield said
            yield "        await self._tell(message)"
            yield f"        return {self._name(after)}(self._line)"
            return
        result, body = self._result(message, turn)
        yield f'{head} -> "{result}":'
        yield said
        if turn.refused is not node:
            yield f"        self.refused = {self._name(turn.refused)}(self._line)"
        given = [answer.__name__ for answer in turn.after if answer is not None]
        stays = f"stays={turn.refused is node}"
        if given:
            asked = f"await self._ask(message, ({', '.join(given)},), {stays})"
            yield f"        answer: {' | '.join(given)} = {asked}"
        else:
            yield f"        await self._do(message, {stays})"
        yield from body

    def _result(self, message: Message, turn: Turn) -> tuple[str, list[str]]:
        """The type that an ask gives, and the lines that make it."""
        if len(turn.after) == 1:
            ((answer, after),) = turn.after.items()
            if answer is None:
                return self._name(after), [f"        return {self._name(after)}(self._line)"]
            line = f"        return answer, {self._name(after)}(self._line)"
            return f"tuple[{answer.__name__}, {self._name(after)}]", [line]
        names, lines = [], []
        for answer, after in turn.after.items():
            assert answer is not None
            name = f"{self._prefix}{message.__name__}{answer.__name__}"
            names.append(name)
            self._outcome(name, "answer", answer, after)
            made = f"{name}(answer, {self._name(after)}(self._line))"
            lines += [
                f"        if isinstance(answer, {answer.__name__}):",
                f"            return {made}",
            ]
        lines[-2:] = [lines[-1].removeprefix("    ")]
        return " | ".join(names), lines

    def _outcome(self, name: str, field: str, message: Message, after: Node) -> None:
        text = "\n".join(
            [
                "@dataclass(frozen=True)",
                f"class {name}:",
                f'    """`{message.__name__}` came, and what follows."""',
                "",
                f"    {field}: {message.__name__}",
                f'    now: "{self._name(after)}"',
            ]
        )
        if text not in self._outcomes:
            self._outcomes.append(text)

    def _hear(self, node: Node) -> Iterator[str]:
        names, lines = [], []
        for message in sorted(node.takes, key=lambda each: each.record_code):
            turn = node.takes[message]
            name = f"{self._name(node)}Took{message.__name__}"
            names.append(name)
            lines.append(f"        if isinstance(message, {message.__name__}):")
            if turn.branches[0].verb is Verb.HEARS:
                (after,) = turn.after.values()
                self._outcome(name, "message", message, after)
                lines.append("            self._heard(question)")
                made = f"{name}(message, {self._name(after)}(self._line))"
            else:
                self._asked(name, message, turn)
                made = f"{name}(message, question, self._line)"
            lines.append(f"            return {made}")
        taken = [m.__name__ for m in sorted(node.takes, key=lambda each: each.record_code)]
        last = max(i for i, line in enumerate(lines) if line.startswith("        if "))
        lines[last:] = [line.removeprefix("    ") for line in lines[last + 1 :]]
        yield f'    async def hear(self) -> "{" | ".join(names)}":'
        yield '        """Wait for what comes."""'
        yield f"        message: {' | '.join(taken)}"
        yield f"        message, question = await self._hear(({', '.join(taken)},))"
        yield from lines

    def _asked(self, name: str, message: Message, turn: Turn) -> None:
        """The class of a question that was taken: it is left by answering or refusing it."""
        lines = [
            f"class {name}(Question[{message.__name__}]):",
            f'    """`{message.__name__}` was asked."""',
        ]
        for answer, after in turn.after.items():
            name_after = self._name(after)
            argument = "" if answer is None else f", answer: {answer.__name__}"
            method = "done" if answer is None else f"answer_{_snake(answer.__name__)}"
            lines += [
                "",
                f'    def {method}(self{argument}) -> "{name_after}":',
                '        """Answer, and go on."""',
                f"        self._answer({'None' if answer is None else 'answer'})",
                f"        return {name_after}(self._line)",
            ]
        refused = self._name(turn.refused)
        lines += [
            "",
            f'    def refuse(self, fault: Fault) -> "{refused}":',
            '        """Refuse, and go on."""',
            "        self._refuse(fault)",
            f"        return {refused}(self._line)",
        ]
        self._outcomes.append("\n".join(lines))


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"\W+", name) if part)


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return f"{words}_" if words in {"hear", "class", "def", "return", "pass", "import"} else words
