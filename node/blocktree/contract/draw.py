"""A contract as a diagram, drawn from the very nodes that dispatch is compiled from.

`dot` gives text for Graphviz, `mermaid` text that many viewers draw by themselves. An arrow says
what makes the role move: `?` what it takes, `!` what it says, then the answer.
"""

from collections.abc import Iterator

from blocktree.contract.branch import RECEIVES, name_of
from blocktree.contract.contract import Contract, Role
from blocktree.contract.machine import Node, Turn, machine
from blocktree.contract.walk import reached

Arrow = tuple[int, int, str]  # from, to, words


def dot(contract: Contract) -> str:
    """The diagram in the language of Graphviz: a box for each role, a node for each state."""
    lines = [
        f"digraph {_quoted(contract.name)} {{",
        '  rankdir=LR; compound=true; fontname="sans-serif"',
        '  node [shape=box, style=rounded, fontname="sans-serif"]',
        '  edge [fontname="sans-serif", fontsize=10]',
        f"  label={_quoted(f'{contract.name} {contract.version}')}",
    ]
    for place, role in enumerate(contract.roles):
        nodes, arrows = _drawn(contract, role)
        lines += [f"  subgraph cluster_{place} {{", f"    label={_quoted(role.name)}"]
        lines.append(f"    r{place}_in [shape=point]")
        for number, node in enumerate(nodes):
            lines.append(f"    r{place}_{number} [label={_quoted(node.name)}]")
        lines.append(f"    r{place}_in -> r{place}_0")
        for begin, end, words in arrows:
            tip = f"r{place}_{'end' if end < 0 else end}"
            lines.append(f"    r{place}_{begin} -> {tip} [label={_quoted(words)}]")
        if any(end < 0 for _, end, _ in arrows):
            lines.append(f"    r{place}_end [shape=doublecircle, label={_quoted('')}, width=0.15]")
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(contract: Contract) -> str:
    """The diagram as Mermaid text."""
    lines = ["stateDiagram-v2", f"  %% {contract.name} {contract.version}"]
    for place, role in enumerate(contract.roles):
        nodes, arrows = _drawn(contract, role)
        lines.append(f'  state "{role.name}" as r{place} {{')
        lines += [f'    state "{node.name}" as r{place}_{n}' for n, node in enumerate(nodes)]
        lines.append(f"    [*] --> r{place}_0")
        for begin, end, words in arrows:
            tip = "[*]" if end < 0 else f"r{place}_{end}"
            lines.append(f"    r{place}_{begin} --> {tip} : {words}")
        lines.append("  }")
    return "\n".join(lines) + "\n"


def _drawn(contract: Contract, role: Role) -> tuple[list[Node], list[Arrow]]:
    nodes = reached(machine(contract, role))
    place = {id(node): number for number, node in enumerate(nodes)}
    arrows: dict[tuple[int, int], list[str]] = {}
    for number, node in enumerate(nodes):
        for to, words in _moves(node):
            arrows.setdefault((number, place.get(id(to), -1)), []).append(words)
    return nodes, [(a, b, "\\n".join(words)) for (a, b), words in arrows.items()]


def _moves(node: Node) -> Iterator[tuple[Node, str]]:
    for turns in (node.takes, node.sends):
        for message in sorted(turns, key=lambda each: each.record_code):
            yield from _turn(message.__name__, turns[message], node)
    if node.lost is not None:
        yield node.lost, "partner lost"


def _turn(name: str, turn: Turn, node: Node) -> Iterator[tuple[Node, str]]:
    mark = "?" if turn.branches[0].verb in RECEIVES else "!"
    for answer, to in turn.after.items():
        said = "" if answer is None else f" → {name_of(answer)}"
        yield to, f"{mark} {name}{said}"
    if turn.refused is not node and turn.refused not in turn.after.values():
        yield turn.refused, f"{mark} {name} → refused"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\n", "\n").replace('"', '\\"').replace("\n", "\\n") + '"'
