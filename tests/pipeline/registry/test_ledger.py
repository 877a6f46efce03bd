"""The ledger of looks: what is paid, what refills it, and what survives."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from pipeline.base import params as params_file
from pipeline.data import held_out
from pipeline.data.splits import Split
from pipeline.registry import journal, ledger, versions
from pipeline.registry.alpha_spending import Ledger
from pipeline.registry.records import Event, Verdict

NAME = "digits-cnn"
RULES = params_file.load().gate
NONE = Split(np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8))


def some(count: int, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count).astype(np.uint8))


TEST = some(100)


@pytest.fixture
def client(empty_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_registry.read_bytes())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return versions.connect()


def look(client: MlflowClient, model: str, recent: Split = NONE, events: tuple[Event, ...] = ()) -> tuple:
    return ledger.look(client, NAME, held_out.of(TEST, recent), model, RULES.look_share, events)


def test_all_looks_together_spend_no_more_than_there_is():
    book = Ledger()
    for number in range(2000):
        book = book.spend("these", str(number), 1000, 1000 if number == 0 else 0, 0.05)
    assert sum(one.spent for one in book.looks) <= 1.0
    assert book.budget(book.looks[-1], RULES, 0.03).worn_out


@pytest.mark.parametrize(
    ("images", "looks", "too_few"), [(34, 1, True), (34, 5, True), (1500, 1, False), (1500, 400, False)]
)
def test_a_set_is_too_few_or_worn_out(images: int, looks: int, too_few: bool):
    book = Ledger()
    for number in range(looks):
        book = book.spend("set", f"model {number}", images, images * (number == 0), RULES.look_share)
    budget = book.budget(book.looks[-1], RULES, 0.01)
    assert budget.too_few == too_few and budget.worn_out == (too_few or looks > 1)


def test_a_worn_out_set_says_how_many_fresh_images_refill_it():
    book = Ledger(left=1e-9).spend("these", "m", 1000, 0, 0.05)
    budget = book.budget(book.looks[-1], RULES, 0.01)
    assert budget.worn_out and budget.refill

    def next_one(fresh: int) -> bool:
        again = book.spend("grown", "m", 1000 + fresh, fresh, 0.0)
        return again.budget(again.looks[-1], RULES, 0.01).worn_out

    assert next_one(budget.refill - 1) and not next_one(budget.refill)


def test_who_looks_twice_pays_once(client: MlflowClient):
    _, first, fresh = look(client, "a")
    assert fresh.all() and first.fresh == 100 and first.spent == RULES.look_share
    book, again, fresh = look(client, "a")
    assert again == first and len(book.looks) == 1 and not fresh.any()
    book, other, _ = look(client, "b")
    assert other.spent == pytest.approx(RULES.look_share * (1 - RULES.look_share)) and len(book.looks) == 2


def test_a_model_that_evaluate_measured_has_looked(client: MlflowClient):
    look(client, "a")
    for model in ("b", "c", "a", "d"):
        held_out.note_look(held_out.of(TEST, NONE), "digits", model)
    held_out.note_look(held_out.of(some(100, seed=2), NONE), "mnist", "x")  # which wears out another model's images
    book, found, _ = look(client, "d")
    assert [(one.model, one.by) for one in book.looks] == [
        ("a", "gate"),
        ("b", "evaluate"),
        ("c", "evaluate"),
        ("d", "gate"),
    ]
    assert found.left == pytest.approx((1 - RULES.look_share) ** 4)


def test_looks_that_evaluate_noted_are_paid_for_after_another_image_was_held_out_too(client: MlflowClient):
    look(client, "a")
    for model in "bcd":
        held_out.note_look(held_out.of(TEST, NONE), "digits", model)
    book, found, fresh = look(client, "d", recent=some(1, seed=1))
    assert [(one.model, one.images, one.fresh) for one in book.looks] == [
        ("a", 100, 100),
        *((model, 100, 0) for model in "bcd"),
        ("d", 101, 1),
    ]
    assert fresh.sum() == 1
    assert found.left == pytest.approx(((1 - RULES.look_share) ** 4 + 1 / 101) * (1 - RULES.look_share))
    assert look(client, "d", recent=some(1, seed=1))[0].looks == book.looks  # once


def test_images_that_evaluate_alone_has_looked_at_are_not_fresh(client: MlflowClient):
    for model in "bc":
        held_out.note_look(held_out.of(TEST, NONE), "digits", model)
    book, _, fresh = look(client, "d", recent=some(1, seed=1))
    assert [one.fresh for one in book.looks] == [100, 0, 1] and fresh.sum() == 1
    assert book.left < (1 - RULES.look_share) ** 2


def test_newly_held_out_images_refill_it_and_known_ones_do_not(client: MlflowClient):
    for model in "abcdef":
        worn = look(client, model)[0]
    twice = Split(np.concatenate([TEST.images[:30], TEST.images[:30]]), np.zeros(60, np.uint8))
    assert held_out.of(TEST, twice).digest == held_out.of(TEST, NONE).digest  # nothing new is held out
    _, found, fresh = look(client, "g", recent=some(25, seed=1))
    assert (found.images, found.fresh, fresh.sum()) == (125, 25, 25)
    assert found.left == pytest.approx((worn.left + 25 / 125) * (1 - RULES.look_share))
    relabelled = Split(TEST.images, (TEST.labels + 1) % 10)
    held = held_out.of(relabelled, NONE)
    _, again, _ = ledger.look(client, NAME, held, "g", RULES.look_share, ())
    assert again.held_out != found.held_out and again.fresh == 0


def told(book: Ledger) -> tuple[Event, ...]:
    """The history of these looks."""
    return tuple(
        Event(
            event="refused",
            version="1",
            verdict=Verdict(
                promote=False,
                reason="",
                checks=(),
                comparison=None,
                budget=book.budget(one, RULES, 0.03),
                rules={"risk": RULES.risk},
            ),
        )
        for one in book.looks
    )


@pytest.mark.parametrize(
    "how", ["the run is deleted", "an entry is changed", "the last entry is taken out", "the last entry is no look"]
)
def test_a_ledger_that_is_lost_or_changed_is_made_again_and_gains_nothing(client: MlflowClient, how: str):
    other = held_out.of(some(100, seed=2), NONE)
    held_out.note_look(other, "digits", "x")
    for model in "abc":
        book = look(client, model)[0]
    events = told(replace(book, looks=book.looks[1:]))  # the history does not tell of what evaluate did
    run = client.get_registered_model(NAME).tags["journal.ledger"]
    tags = sorted(client.get_run(run).data.tags)
    numbered = [key for key in tags if key[0].isdigit()]
    if how == "the run is deleted":
        client.delete_run(run)
    elif how == "the last entry is no look":
        client.set_tag(
            run,
            numbered[-1],
            json.dumps({**json.loads(client.get_run(run).data.tags[numbered[-1]]), "entry": {"look": {}}}),
        )
    elif how == "an entry is changed":
        text = client.get_run(run).data.tags[numbered[1]]
        client.set_tag(run, numbered[1], text.replace('"left": 0', '"left": 1'))
    else:
        client.delete_tag(run, numbered[-1])
    after, found, fresh = look(client, "d", events=events)
    assert after.rebuilt and not fresh.any() and found.left < book.left
    assert {one.model for one in after.looks} == {"a", "b", "c", "d", "x"}
    assert look(client, "d", events=events)[0].looks == after.looks  # once


def test_a_look_that_was_cut_off_while_it_was_written_never_was(client: MlflowClient):
    look(client, "a")
    run = client.get_registered_model(NAME).tags["journal.ledger"]
    client.set_tag(run, "00000002.abc.0001-of-0002", '{"entry"')
    book, found, _ = look(client, "b")
    assert [one.model for one in book.looks] == ["a", "b"] and found.spent > 0


def written(client: MlflowClient, count: int) -> tuple[str, list[str]]:
    """The run of a history of so many entries, and the tag keys of these."""
    for number in range(1, count + 1):
        journal.append(client, NAME, "history", {"n": number})
    run = client.get_registered_model(NAME).tags["journal.history"]
    return run, sorted(key for key in client.get_run(run).data.tags if key[0].isdigit())


def read(client: MlflowClient) -> tuple[list[int], bool]:
    found = journal.read(client, versions.find(client, NAME), "history")
    return [entry["n"] for entry in found.entries], found.whole


@pytest.mark.parametrize("text", ["{", "[]", '"n"', '{"entry": {"n": 9}}', '{"entry": 9, "before": "x"}'])
@pytest.mark.parametrize("place", [1, 2])
def test_an_entry_that_is_no_longer_one_is_passed_over_and_told(client: MlflowClient, text: str, place: int):
    run, keys = written(client, 3)
    client.set_tag(run, keys[place], text)
    left = [1, 2, 3]
    del left[place]
    assert read(client) == (left, False)
    journal.append(client, NAME, "history", {"n": 4})
    assert read(client) == ([*left, 4], False)


@pytest.mark.parametrize("key", ["1.note", "1", "00000001.abc.1-of-", "00000001.abc.x-of-1"])
def test_a_tag_that_only_looks_like_an_entry_s_is_passed_over_and_told(client: MlflowClient, key: str):
    run, _ = written(client, 2)
    client.set_tag(run, key, "look at this")
    assert read(client) == ([1, 2], False)
    client.delete_tag(run, key)
    client.set_tag(run, "note", "look at this")
    assert read(client) == ([1, 2], True)


def test_a_run_that_was_deleted_is_told_also_when_another_one_was_begun(client: MlflowClient):
    run, _ = written(client, 2)
    client.delete_run(run)
    assert read(client) == ([], False)
    written(client, 2)
    assert read(client) == ([1, 2], False)
    journal.begin_again(client, NAME, "history")
    assert read(client) == ([], True)


def test_an_entry_longer_than_any_tag_may_be_is_whole(client: MlflowClient):
    long = {"reason": "ü because " * 30_000}
    journal.append(client, NAME, "history", long)
    journal.append(client, NAME, "history", {"n": 2})
    found = journal.read(client, versions.find(client, NAME), "history")
    assert found.entries == [long, {"n": 2}] and found.whole
    run = client.get_registered_model(NAME).tags["journal.history"]
    assert max(len(value) for value in client.get_run(run).data.tags.values()) <= 5000


def test_two_machines_that_no_lock_kept_apart_both_write(client: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    journal.append(client, NAME, "history", {"n": 1})
    before = journal._texts
    with monkeypatch.context() as patch:
        first = journal._texts(client.get_run(client.get_registered_model(NAME).tags["journal.history"]))
        patch.setattr(journal, "_texts", lambda run: first)
        journal.append(client, NAME, "history", {"n": 2})
        journal.append(client, NAME, "history", {"n": 3})
    assert journal._texts is before
    found = journal.read(client, versions.find(client, NAME), "history")
    assert sorted(entry["n"] for entry in found.entries) == [1, 2, 3] and found.whole
    journal.append(client, NAME, "history", {"n": 4})
    assert journal.read(client, versions.find(client, NAME), "history").entries[-1] == {"n": 4}
