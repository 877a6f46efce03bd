"""What a run in MLflow holds: curves by epoch, results by split."""

import pandas as pd
import pytest

from pipeline.registry import tracking


def history(members: int) -> pd.DataFrame:
    """Two epochs a member; a member's loss is its number in the first, and a half more in the second."""
    rows = [
        {"epoch": epoch, "member": member, "loss": member + epoch / 2 - 0.5, "learning_rate": 0.01 / epoch}
        | dict.fromkeys(("accuracy", "val_accuracy", "val_loss"), 0.5)
        for member in range(1, members + 1)
        for epoch in (1, 2)
    ]
    return pd.DataFrame(rows)


def test_a_curve_has_a_step_an_epoch():
    found = tracking.curves(history(1), members=1)
    assert {metric.key for metric in found} == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert [(metric.step, metric.value) for metric in found if metric.key == "loss"] == [(1, 1.0), (2, 1.5)]


def test_of_several_members_there_are_means_and_each_one_s_own():
    found = {(metric.key, metric.step): metric.value for metric in tracking.curves(history(3), members=3)}
    assert found["loss", 1] == pytest.approx(2.0)
    assert [found[f"member-{number}/loss", 2] for number in (1, 2, 3)] == [1.5, 2.5, 3.5]
    assert len(found) == 4 * 5 * 2


def test_a_mean_waits_for_the_last_member():
    half = history(2).iloc[:3]  # the second one's first epoch
    found = {(metric.key, metric.step) for metric in tracking.curves(half, members=2) if metric.key.endswith("loss")}
    assert ("loss", 1) in found and ("loss", 2) not in found
    assert {("member-1/loss", 2), ("member-2/loss", 1)} <= found


def test_results_are_named_by_split_and_collide_with_no_curve():
    metrics = {"accuracy": 0.99, "train_accuracy": 1.0, "val_accuracy": 0.98, "n_test": 400, "note": "no number"}
    found = tracking.results(metrics, seconds=None)
    assert found == {"test_accuracy": 0.99, "train_accuracy": 1.0, "kept_val_accuracy": 0.98}
    assert not set(found) & set(tracking.CURVES)


def test_what_the_params_say_is_no_tag_of_how_the_training_went():
    training = {"epochs": 7, "kept_epoch": 5, "overfits_from": None, "precision": "float32", "seed": 7, "members": 1}
    assert tracking.training_tags(training) == {"epochs": "7", "kept_epoch": "5", "precision": "float32"}
