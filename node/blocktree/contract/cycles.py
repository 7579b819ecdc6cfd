"""Groups of points in a graph that lead only to each other (Tarjan 1972, without recursion)."""

from collections.abc import Sequence


def bottoms(targets: Sequence[Sequence[int]]) -> list[list[int]]:
    """The strongly connected components that no edge leaves. `targets[n]`: where n leads."""
    return [
        group
        for group in _components(targets)
        if all(to in members for members in [set(group)] for n in group for to in targets[n])
    ]


def _components(targets: Sequence[Sequence[int]]) -> list[list[int]]:
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    groups: list[list[int]] = []
    for root in range(len(targets)):
        if root in index:
            continue
        work = [(root, iter(targets[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for to in rest:
                if to not in index:
                    index[to] = low[to] = len(index)
                    stack.append(to)
                    on_stack.add(to)
                    work.append((to, iter(targets[to])))
                    break
                if to in on_stack:
                    low[node] = min(low[node], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    groups.append(_unwind(stack, on_stack, node))
    return groups


def _unwind(stack: list[int], on_stack: set[int], node: int) -> list[int]:
    group = []
    while True:
        member = stack.pop()
        on_stack.discard(member)
        group.append(member)
        if member == node:
            return group
