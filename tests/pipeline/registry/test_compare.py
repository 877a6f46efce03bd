"""Two versions side by side, on a real MLflow store."""

import json
from pathlib import Path

import pytest
import registered
from mlflow import MlflowClient
from registered import NAME

import cli
import digits
from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.registry import artifacts, compare, history, ledger, paired, versions


def register(client: MlflowClient, name: str, *misread: int, **more: object) -> str:
    return registered.version(client, Path(name).absolute(), misread, **more)  # type: ignore[arg-type]


def test_what_each_alone_reads_right_is_what_the_other_misread(client: MlflowClient):
    first, second = register(client, "a", 3, 14, 25), register(client, "b", 14, 39, epochs=3)
    client.set_registered_model_alias(NAME, versions.CHAMPION, second)
    found = compare.side_by_side(client, NAME, first, "champion")
    assert (found.first.version, found.second.version) == (first, second)
    assert found.second.aliases == ["champion"]
    answers = found.answers
    assert answers and answers.images == registered.IMAGES and answers.neither_right == 1
    assert [(one.index, one.label, one.answered) for one in answers.first_alone] == [(39, "9", "0")]
    assert [one.index for one in answers.second_alone] == [3, 25]
    assert answers.least_gain == -paired.most_lost(1, 2, registered.IMAGES, 0.025) < 0 < answers.most_gain
    recall = {row.name: (row.first, row.second) for row in found.recall}
    assert recall["3"] == (0.75, 1.0) and recall["4"] == (0.75, 0.75)
    assert {row.name: (row.first, row.second) for row in found.metrics}["accuracy"] == (0.925, 0.95)
    assert [(one.name, one.first, one.second) for one in found.params] == [("recipe.epochs", "12", "3")]
    assert found.size_mb.first == found.size_mb.second and (found.latency_ms.first or 0) > 0
    lines = [line.split() for line in compare.lines(found)]
    assert ["test", "accuracy", "92.50%", "95.00%"] in lines and ["recall", "of", "3", "75.00%", "100.00%"] in lines
    assert ["size", "in", "MB", "0.03", "0.03"] in lines


def test_no_look_at_the_held_out_images_is_spent_and_nothing_is_written_down(client: MlflowClient):
    first, second = register(client, "a", 3), register(client, "b", 4)
    compare.side_by_side(client, NAME, first, second)
    assert ledger.read(client, NAME).looks == () and not places.LOOKS.exists()
    assert history.events(client, NAME) == []


@pytest.mark.parametrize("test", [{"images": "other", "labels": "b"}, {}], ids=["other images", "images not recorded"])
def test_answers_to_images_that_are_not_known_to_be_the_same_are_not_compared(client: MlflowClient, test: dict):
    first, second = (
        register(client, "a", 3, test=test),
        register(client, "b", 4, test={} if not test else registered.TEST),
    )
    found = compare.side_by_side(client, NAME, first, second)
    assert found.answers is None and found.recall
    assert "were not measured on the same test images" in compare.lines(found)[-1]
    models = [digits.Model(NAME, number, Path("model.onnx")) for number in (first, second)]
    with pytest.raises(BadInput, match=r"were not measured on the same test images: .*: give images and labels"):
        digits.compare(*models)


def test_a_notebook_compares_without_images_by_the_same_records(client: MlflowClient):
    first, second = register(client, "a", 3, 14), register(client, "b", 14)
    table = digits.compare(*(digits.Model(NAME, number, Path("model.onnx")) for number in (first, second)))
    assert table["alone_right"].tolist() == [0, 1] and table["accuracy"].tolist() == [0.95, 0.975]
    with pytest.raises(BadInput, match="have no test images in common"):
        digits.compare(digits.Model(NAME, first, Path("a")), digits.Model("other", second, Path("b")))


def test_one_version_has_nothing_beside_it_and_an_unknown_one_is_said(client: MlflowClient):
    first = register(client, "a")
    client.set_registered_model_alias(NAME, versions.CHAMPION, first)
    with pytest.raises(BadInput, match="champion and 1 are both version 1 of digits-cnn: name two versions"):
        compare.side_by_side(client, NAME, "champion", first)
    with pytest.raises(BadInput, match="has no version 7"):
        compare.side_by_side(client, NAME, first, "7")


def test_the_command_tells_it_in_lines_and_as_json(client: MlflowClient, capsys: pytest.CaptureFixture[str]):
    register(client, "a", 3, 14), register(client, "b", 14, epochs=3)
    cli.main(["compare", "1", "2", "--model", NAME])
    text = capsys.readouterr().out
    assert "version 1 alone reads 0 right and version 2 alone reads 1 right; both misread 1" in text
    assert "recipe.epochs: 12, then 3" in text and "no look at the held-out images is spent" in text
    cli.main(["compare", "1", "2", "--model", NAME, "--json"])
    assert json.loads(capsys.readouterr().out)["answers"]["second_alone"][0]["index"] == 3


def test_what_a_run_recorded_is_bounded_and_its_lack_is_told_apart(client: MlflowClient):
    version = client.get_model_version(NAME, register(client, "a", page=None))
    with pytest.raises(artifacts.NotRecorded, match=r"version 1 was registered without reports/index\.html"):
        artifacts.recorded(client, version, places.RUN_PAGE, 1000)
    with pytest.raises(BadInput, match="has more than 10 bytes"):
        artifacts.recorded(client, version, "lineage/manifest.json", 10)


def test_a_record_of_a_store_elsewhere_is_fetched_once_and_goes_with_its_version(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(artifacts, "_is_local", lambda place: False)
    version = client.get_model_version(NAME, register(client, "a"))
    kept = artifacts.recorded(client, version, places.RUN_PAGE, 1000)
    assert kept.is_relative_to(places.home() / places.RECORDS) and kept.read_text() == registered.PAGE
    with monkeypatch.context() as away:
        away.setattr(client, "list_artifacts", lambda *_: pytest.fail("it was asked again"))
        assert artifacts.recorded(client, version, places.RUN_PAGE, 1000) == kept
    artifacts.erase(client, version)
    assert not kept.exists()
