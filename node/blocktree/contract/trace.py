"""How a conversation goes wrong, drawn as lanes: one column a role, one line a step."""

from collections.abc import Iterator, Sequence

from blocktree.contract.finding import Finding, Step

_GAP = 3


def lanes(finding: Finding) -> list[str]:
    """The steps of a finding under the names of its roles; nothing if it has none."""
    if not finding.trace:
        return []
    steps = list(finding.trace)
    words = {name: [name] for name in finding.roles}
    for step in steps:
        words[step.role].append(_words(step, finding.roles))
    widths = [max(map(len, words[name])) for name in finding.roles]
    return list(_lines(finding.roles, widths, steps))


def _lines(roles: Sequence[str], widths: list[int], steps: list[Step]) -> Iterator[str]:
    gap = " " * _GAP
    pairs = list(zip(roles, widths, strict=True))
    yield gap.join(name.ljust(width) for name, width in pairs).rstrip()
    yield gap.join("─" * width for _, width in pairs)
    for step in steps:
        cells = [
            (_words(step, roles) if name == step.role else "·").ljust(width)
            for name, width in pairs
        ]
        yield gap.join(cells).rstrip()


def _words(step: Step, roles: Sequence[str]) -> str:
    """What a role does, and with whom where there are several others."""
    return f"{step.what} → {step.other}" if step.other and len(roles) > 2 else step.what
