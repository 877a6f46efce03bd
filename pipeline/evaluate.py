"""The model, measured on what it has not seen. Leaves reports/metrics.json and reports/evaluation/: a table or picture
a question."""

import numpy as np
import pandas as pd

from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.data import descriptions, held_out, splits
from pipeline.data.splits import Split
from pipeline.digits import corruptions
from pipeline.digits.image import CLASSES
from pipeline.digits.non_digits import NonDigits
from pipeline.learning import evaluation, inference
from pipeline.reporting import figures


def draw(test: Split, probabilities: np.ndarray, found: dict[str, pd.DataFrame], gallery: int) -> None:
    """Leave the pictures of reports/evaluation; ``gallery`` is how many images a gallery holds."""
    matrix = evaluation.confusion(test.labels, probabilities.argmax(axis=1))
    pictures = {
        "confusion_matrix": figures.confusion_matrix(matrix),
        "confusion_images": figures.confusion_images(test.images, test.labels, probabilities),
        "mistakes": figures.mistakes(test.images, found["mistakes"], gallery),
        "confused_pairs": figures.confused_pairs(test.images, found["mistakes"]),
        "suspected_labels": figures.suspected_labels(test.images, found["suspected_labels"], gallery),
        "per_class": figures.per_class(found["per_class"]),
        "reliability": figures.reliability(found["calibration"], evaluation.calibration_error(found["calibration"])),
        "slices": figures.slices(found["slices"], matrix.trace() / matrix.sum()),
        "robustness": figures.robustness(
            corruptions.all_of(evaluation.sample(test, CLASSES).images, evaluation.SEED), found["robustness"]
        ),
    }
    for name, picture in pictures.items():
        figures.save(picture, places.EVALUATION / f"{name}.png")


def main() -> None:
    settings = params_file.load()
    params = settings.evaluate
    parts = {name: splits.load(places.PROCESSED / name) for name in ("train", "val", "test", "recent")}
    model, test = inference.open_model(places.ONNX), parts["test"]
    held_out.note_look(held_out.of(test, parts["recent"]), settings.dataset, files.sha256_file(places.ONNX))
    answers = evaluation.ask(answer := lambda images: inference.run(model, images), parts)
    features = descriptions.of_images(test.images, descriptions.load("test"))
    found = evaluation.tables(test, features, answers["test"], answer, params)
    certain = inference.answers(model, test.images)
    drawn = NonDigits(np.asarray(test.images), np.random.default_rng(evaluation.SEED))
    found["refusal"] = evaluation.refusal(drawn, inference.answers(model, drawn.images))
    for name, table in found.items():
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        files.write_text(places.EVALUATION / f"{name}.csv", text)
    files.write_npy(places.EVALUATION / "predictions.npy", answers["test"])
    draw(test, answers["test"], found, params.mistakes)
    figures.save(figures.refusal(drawn.by_kind(CLASSES), found["refusal"]), places.EVALUATION / "refusal.png")
    numbers = evaluation.measure(answers, {name: np.asarray(split.labels) for name, split in parts.items()}, params)
    refused = found["refusal"]
    numbers |= {name: round(share, 6) for name, share in evaluation.believed(test.labels, certain).items()}
    numbers["non_digits_refused"] = round(float((refused["refused"] * refused["n"]).sum() / refused["n"].sum()), 6)
    numbers["robustness"] = round(float(found["robustness"]["relative"].mean()), 6)
    files.write_json(places.METRICS, numbers)
    interval = f"{numbers['accuracy_low']:.2%} to {numbers['accuracy_high']:.2%}"
    errors = f"{numbers['errors']} errors in {numbers['n_test']:,} images"
    print(
        f"evaluate: test accuracy {numbers['accuracy']:.2%} (95 %: {interval}), {errors}; refused: "
        f"{numbers['refused']:.2%} of digits, {numbers['non_digits_refused']:.1%} of what is none"
    )


if __name__ == "__main__":
    with one_line():
        main()
