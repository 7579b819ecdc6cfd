"""Answers that several callers wait for together."""

import asyncio
from collections.abc import Iterable

from blocktree.fault import Fault, Kind


def given_up() -> Fault:
    """What those are told who wait for a task that is cancelled."""
    return Fault(Kind.CANCELLED, "it was given up before it was done")


def settle(answers: Iterable[asyncio.Future[None]], fault: Fault | None) -> None:
    """Give all who still wait the same answer: done, or this fault."""
    for answer in answers:
        if answer.done():
            continue
        if fault is None:
            answer.set_result(None)
        else:
            answer.set_exception(fault)
            answer.exception()  # seen, for whoever asked may have gone
