"""Answers that are given later leave in the moment when they are given."""

import asyncio

import pytest

from blocktree.actors import Done, Later
from blocktree.fault import Fault, Kind


def test_an_outcome_is_handed_on_at_once_and_only_the_first() -> None:
    later: Later[Done] = Later()
    heard: list[Done | Fault] = []
    later.tell(heard.append)
    later.set_result(Done())
    later.set_exception(Fault(Kind.BUSY, "too late"))
    assert heard == [Done()]


def test_who_is_told_after_the_outcome_hears_it_too() -> None:
    later: Later[Done] = Later()
    later.set_exception(Fault(Kind.BUSY, "full"))
    heard: list[Done | Fault] = []
    later.tell(heard.append)
    assert [isinstance(each, Fault) for each in heard] == [True]


def test_nobody_is_told_after_a_cancel() -> None:
    later: Later[Done] = Later()
    heard: list[Done | Fault] = []
    later.tell(heard.append)
    later.cancel()
    later.set_result(Done())
    assert heard == []


def test_it_can_be_waited_for() -> None:
    async def wait() -> Done:
        good: Later[Done] = Later()
        bad: Later[Done] = Later()
        loop = asyncio.get_running_loop()
        loop.call_soon(good.set_result, Done())
        loop.call_soon(bad.set_exception, Fault(Kind.BUSY, "full"))
        with pytest.raises(Fault, match="full"):
            await bad
        return await good

    assert asyncio.run(wait()) == Done()
