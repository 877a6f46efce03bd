"""When windows are an alarm, at the edges: whatever k of n is asked for, and whatever came before."""

from examples import window
from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitoring import windows

HISTORY = st.lists(st.booleans(), max_size=12)  # whether each window is bad, the oldest first


@st.composite
def rules(draw: st.DrawFn) -> tuple[int, int]:
    """k of n"""
    of = draw(st.integers(1, 8))
    return draw(st.integers(1, of)), of


@st.composite
def last_windows(draw: st.DrawFn, count: int, bad: int) -> list[bool]:
    """So many windows, ``bad`` of them bad and the latest among these."""
    others = draw(st.permutations([True] * (bad - 1) + [False] * (count - bad)))
    return [*others, True]


def alarmed(history: list[bool], rule: tuple[int, int]) -> bool:
    return windows.alarmed([window(bad) for bad in history], *rule)


@given(HISTORY, rules(), st.data())
def test_exactly_k_of_n_are_an_alarm_and_one_fewer_is_none(
    before: list[bool], rule: tuple[int, int], data: st.DataObject
):
    bad, of = rule
    assert alarmed(before + data.draw(last_windows(of, bad)), rule)
    if bad > 1:
        assert not alarmed(before + data.draw(last_windows(of, bad - 1)), rule)


@given(HISTORY, rules())
def test_a_good_latest_window_is_never_an_alarm(before: list[bool], rule: tuple[int, int]):
    assert not alarmed([*before, False], rule)


@given(HISTORY, HISTORY, rules(), st.data())
def test_what_lies_before_the_last_n_does_not_count(
    before: list[bool], other: list[bool], rule: tuple[int, int], data: st.DataObject
):
    last = data.draw(st.lists(st.booleans(), min_size=rule[1], max_size=rule[1]))
    assert alarmed(before + last, rule) is alarmed(other + last, rule)


@given(rules(), st.data())
def test_of_fewer_than_n_windows_k_bad_ones_are_enough_and_fewer_than_k_never(
    rule: tuple[int, int], data: st.DataObject
):
    bad, of = rule
    there = data.draw(st.integers(bad, of))
    assert alarmed(data.draw(last_windows(there, bad)), rule)
    assert not alarmed([True] * (bad - 1), rule)


@given(HISTORY, rules())
def test_another_bad_window_never_ends_an_alarm(history: list[bool], rule: tuple[int, int]):
    bad, of = rule
    if alarmed(history, rule) and (history[-of:].count(True) > bad or len(history) < of or not history[-of]):
        assert alarmed([*history, True], rule)
