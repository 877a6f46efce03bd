"""What the pages say became of a version."""

from pipeline.registry.records import Event, Happening
from serving import lookups


def event(happened: Happening, version: str, previous: str | None) -> Event:
    return Event(event=happened, version=version, previous=previous, at=f"T{version}", by="ann")


def test_after_a_rollback_the_one_is_champion_again_and_the_other_was_rolled_back():
    events = [event("promoted", "1", None), event("promoted", "2", "1"), event("rolled back", "1", "2")]
    said = [(lookups._last(events, number) or {}).get("event") for number in ("1", "2", "3")]
    assert said == ["is champion again", "rolled back", None]


def test_a_version_that_was_not_promoted_is_not_said_to_be_kept():
    last = lookups._last([event("promoted", "1", None), event("kept", "2", "1")], "2")
    assert last == {"event": "not promoted", "at": "T2", "by": "ann"}
