"""Every node of a machine, in an order that is the same each time."""

from blocktree.contract.machine import Node


def reached(start: Node) -> list[Node]:
    """The nodes that can be reached, breadth first, each once; ends are the start again."""
    nodes, todo = [start], [start]
    while todo:
        node = todo.pop(0)
        turns = [
            turns[message]
            for turns in (node.takes, node.sends)
            for message in sorted(turns, key=lambda each: each.record_code)
        ]
        after = [to for turn in turns for to in (*turn.after.values(), turn.refused)]
        for to in (*after, *([] if node.lost is None else [node.lost])):
            if not to.over and all(to is not known for known in nodes):
                nodes.append(to)
                todo.append(to)
    return nodes
