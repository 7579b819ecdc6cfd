"""What is done again and again is done at common moments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.link.beat import until_beat


@pytest.mark.parametrize(
    ("now", "left"),
    [(7.0, 1.0), (7.25, 0.75), (7.75, 0.25), (7.76, 1.24), (7.999999, 1.000001)],
)
def test_the_next_beat_is_a_whole_second_away_or_less_but_never_at_once(
    now: float, left: float
) -> None:
    assert until_beat(now, 1.0) == pytest.approx(left)


@given(st.floats(0, 1e7), st.sampled_from([0.02, 0.5, 1.0, 2.0]))
def test_whoever_waits_for_a_beat_is_woken_with_the_others(now: float, every: float) -> None:
    left = until_beat(now, every)
    assert every / 4 <= left < every * 1.25 + 1e-9
    beats = (now + left) / every
    assert beats == pytest.approx(round(beats), abs=1e-6)
