"""Sole holders in stories from seeds: no two act at a time, and nothing is counted twice."""

import pytest

from blocktree.sim.holding import Keeper
from blocktree.sim.judge import Violation
from blocktree.sim.split import Host, Story
from blocktree.store import registry

SEEDS = 100  # tools/run_split.py plays more
BATCH = 20


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_a_split_never_has_two_holders_act(first: int) -> None:
    epochs = 0
    for seed in range(first, first + BATCH):
        epochs += Story(seed).play().epochs()
    assert epochs > BATCH  # in some of them the counter moved


def test_the_same_seed_tells_the_same_story() -> None:
    one, two = Story(3).play(), Story(3).play()
    assert one.acts == two.acts
    assert one.answered == two.answered


class Hasty(Keeper):
    """Believes, when it comes to lead, that there are no leases that it does not know."""

    counts_from_start = False


class Careless(Host):
    """Acts on although its lease has ended."""

    patient = True


def found(kind: type[Story], seeds: int = 60) -> bool:
    """Whether one of some seeds finds a bug that was planted."""
    for seed in range(seeds):
        try:
            kind(seed).play()
        except Violation as violation:
            return "acts under" in str(violation)
    return False


def test_a_leader_that_does_not_wait_is_found_out() -> None:
    assert found(type("Planted", (Story,), {"keeper": Hasty}))


def test_a_holder_that_does_not_stop_is_found_out() -> None:
    assert found(type("Planted", (Story,), {"host": Careless}))


def test_a_lease_that_is_given_away_too_early_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "SAFE_S", 1.0)
    assert found(Story)
