"""The model, measured on what it has not seen. Leaves reports/metrics.json and reports/evaluation/: a table or picture
a question."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from pipeline.base import files, form, places
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.base.form import DIGITS, Form, images_in
from pipeline.base.words import counted
from pipeline.data import descriptions, held_out, splits
from pipeline.data.splits import Split
from pipeline.digits.non_digits import NonDigits
from pipeline.learning import evaluation, inference
from pipeline.learning.inference import Answers
from pipeline.reporting import figures, mosaics

SHOWN = 10  # images in a row of examples
# Bytes of images: of train, for the gap between what was learnt and what is read, and of test, to draw non-digits from:
# 100,000 digits.
ASKED = 80_000_000
DRAWN = 2000  # non-digits: the share that is refused is then known to a point, by an interval of 95 %


def draw(
    test: Split, probabilities: np.ndarray, found: dict[str, pd.DataFrame], gallery: int, of: Form = DIGITS
) -> None:
    """Leave the pictures of reports/evaluation; ``gallery`` is how many images a gallery holds."""
    inked = of.inked
    matrix = evaluation.confusion(test.labels, probabilities.argmax(axis=1), len(of.classes))
    examples = dict(evaluation.corrupted(test.spread(SHOWN).images, of.kind))
    pictures = {
        "confusion_matrix": figures.confusion_matrix(matrix, of),
        "confusion_images": mosaics.confusion_images(test.images, test.labels, probabilities, of),
        "mistakes": mosaics.mistakes(test.images, found["mistakes"], gallery, inked),
        "confused_pairs": mosaics.confused_pairs(test.images, found["mistakes"], inked),
        "suspected_labels": mosaics.suspected_labels(test.images, found["suspected_labels"], gallery, inked),
        "per_class": figures.per_class(found["per_class"]),
        "reliability": figures.reliability(found["calibration"], evaluation.calibration_error(found["calibration"])),
        "slices": figures.slices(found["slices"], matrix.trace() / matrix.sum()),
        "robustness": mosaics.robustness(examples, found["robustness"], inked),
    }
    for name, picture in pictures.items():
        figures.save(picture, places.EVALUATION / f"{name}.png")


def refuse(test: Split, model: Callable[[np.ndarray], Answers]) -> tuple[pd.DataFrame, dict[str, float]]:
    """How what is no digit fares, drawn anew: the table, whose picture it leaves, and the share that is refused."""
    digits = test.spread(images_in(ASKED, test.images.shape[1:])).images
    drawn = NonDigits(np.asarray(digits), np.random.default_rng(evaluation.SEED), DRAWN)
    table = evaluation.refusal(drawn, model(drawn.images))
    figures.save(mosaics.refusal(drawn.by_kind(SHOWN), table), places.EVALUATION / "refusal.png")
    return table, {"non_digits_refused": round(float((table["refused"] * table["n"]).sum() / table["n"].sum()), 6)}


def main() -> None:
    settings, of = params_file.load(), form.load()
    params = settings.evaluate
    parts = {name: splits.load(places.PROCESSED / name) for name in ("train", "val", "test", "recent")}
    model, test = inference.open_model(places.ONNX), parts["test"]
    held_out.note_look(held_out.of(test, parts["recent"]), settings.named, files.sha256_file(places.ONNX))
    parts["train"] = parts["train"].spread(images_in(ASKED, of.shape))
    answers = evaluation.ask(answer := lambda images: inference.run(model, images), parts)
    features = descriptions.of_images(test.images, "test")
    found = evaluation.tables(test, features, answers["test"], answer, params, of)
    certain = inference.answers(model, test.images)
    numbers = evaluation.measure(answers, {name: np.asarray(split.labels) for name, split in parts.items()}, params)
    numbers |= {name: round(share, 6) for name, share in evaluation.believed(test.labels, certain).items()}
    if of.of_digits:
        found["refusal"], refused = refuse(test, lambda images: inference.answers(model, images))
        numbers |= refused
    for name, table in found.items():
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        files.write_text(places.EVALUATION / f"{name}.csv", text)
    files.write_npy(places.EVALUATION / "predictions.npy", answers["test"])
    draw(test, answers["test"], found, params.mistakes, of)
    numbers["robustness"] = round(float(found["robustness"]["relative"].mean()), 6)
    files.write_json(places.METRICS, numbers)
    interval = f"{numbers['accuracy_low']:.2%} to {numbers['accuracy_high']:.2%}"
    errors = f"{counted(int(numbers['errors']), 'error')} in {counted(len(test.labels), 'image')}"
    none = f", {numbers['non_digits_refused']:.1%} of what is none" if of.of_digits else ""
    print(
        f"evaluate: test accuracy {numbers['accuracy']:.2%} (95 %: {interval}), {errors}; refused: "
        f"{numbers['refused']:.2%} of {'digits' if of.of_digits else 'images'}{none}"
    )


if __name__ == "__main__":
    with one_line():
        main()
