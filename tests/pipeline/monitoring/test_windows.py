import pytest
from examples import window

from pipeline.monitoring import windows
from pipeline.monitoring.windows import Window

GOOD, BAD = window(False), window(True)


@pytest.mark.parametrize(
    ("records", "alarm"),
    [
        ([], False),
        ([BAD], False),  # one odd window is not drift
        ([BAD, BAD], True),
        ([BAD, GOOD, BAD], True),
        ([BAD, BAD, GOOD], False),  # the latest is good again
        ([BAD, GOOD, GOOD, BAD], False),  # the first is too long ago
        ([GOOD, GOOD, GOOD], False),
    ],
)
def test_the_alarm_wants_two_bad_windows_of_three_and_the_latest(records: list[Window], alarm: bool):
    assert windows.alarmed(records, bad=2, of=3) is alarm
