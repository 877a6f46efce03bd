"""How good is a model, where is it wrong, and can its confidence be trusted?

Everything works on arrays: ``labels`` (N,), ``probabilities`` float32 (N, classes), ``images`` uint8 (N, *shape). The
tables for people name the classes.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form, images_in
from pipeline.base.params import Evaluate
from pipeline.base.stored import Images
from pipeline.data import kinds, suspected_labels
from pipeline.data.splits import Split
from pipeline.digits.non_digits import NonDigits
from pipeline.learning.inference import CERTAIN, Answers

CORRUPTED = 100_000_000  # bytes of images that are corrupted at once
SEED = 0  # of the corruptions: the accuracy under each is a number to compare between runs

TAIL = 0.1  # of the test split in each slice

Answer = Callable[[Images], np.ndarray]
"""images uint8 (N, *shape) → probabilities float32 (N, classes)"""


def overall(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, loss (mean negative log-likelihood, nats) and the number of errors."""
    from sklearn.metrics import log_loss

    wrong = int(np.sum(probabilities.argmax(axis=1) != labels))
    loss = log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1]))
    return {"accuracy": 1 - wrong / len(labels), "loss": float(loss), "errors": wrong}


def accuracy_interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) on an accuracy of ``right`` in ``n``."""
    from scipy.stats import binomtest

    interval = binomtest(right, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int = 10) -> np.ndarray:
    """How many images of each class (row) were taken for each class (column): int64 (classes, classes)."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, predicted, labels=np.arange(classes))


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: int = 10) -> pd.DataFrame:
    """A row a class: digit, accuracy (of this class against the rest), precision, recall, f1, support (images)."""
    from sklearn.metrics import precision_recall_fscore_support

    matrix = confusion(labels, predicted, classes)
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    scores = precision_recall_fscore_support(labels, predicted, labels=np.arange(classes), zero_division=0)
    columns = dict(zip(("precision", "recall", "f1", "support"), scores, strict=True))
    return pd.DataFrame({"digit": np.arange(classes), "accuracy": 1 - wrong / len(labels), **columns})


def mistakes(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Every mistake, the most confident first: index (in the split), true, predicted, confidence."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    index = np.flatnonzero(predicted != labels)
    index = index[np.argsort(-confidence[index], kind="stable")]
    columns = {"index": index, "true": labels[index], "predicted": predicted[index], "confidence": confidence[index]}
    return pd.DataFrame(columns)


def confused_pairs(matrix: np.ndarray) -> pd.DataFrame:
    """The confusions that occurred, the most frequent first: true, predicted, count, share (of the true class)."""
    true, predicted = np.nonzero(matrix * (1 - np.eye(len(matrix), dtype=int)))
    count = matrix[true, predicted]
    share = count / matrix.sum(axis=1)[true]
    table = pd.DataFrame({"true": true, "predicted": predicted, "count": count, "share": share})
    return table.sort_values(["count", "share"], ascending=False, kind="stable", ignore_index=True)


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> pd.DataFrame:
    """The reliability table, a row a bin of confidence (equal widths, empty ones left out).

    Columns: low, high (the bin is low < confidence ≤ high), n, confidence and accuracy (means in the bin).
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    sums = {"confidence": confidence, "accuracy": right}
    means = {name: np.bincount(place, values, bins) / np.maximum(n, 1) for name, values in sums.items()}
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, **means})
    return table[table["n"] > 0].reset_index(drop=True)


def calibration_error(table: pd.DataFrame) -> float:
    """Expected calibration error: the mean of |accuracy − confidence| over the bins, weighted by their images.

    Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    gaps = (table["accuracy"] - table["confidence"]).abs()
    return float(np.average(gaps, weights=table["n"]))


def slices(described: pd.DataFrame, right: np.ndarray, kind: str = DIGITS.kind) -> pd.DataFrame:
    """Accuracy on the tails of the features, the weakest first: slice, feature, edge, n, errors, accuracy, low, high.

    ``described`` has the images' FEATURES, ``right`` bool (N,). ``edge`` is the
    feature's value at which the tail begins; low and high are Wilson's 95 % interval (1927). A tail of more than twice
    its size is left out: so many images share the edge that it singles out nothing.
    """
    features = kinds.features(kind)
    described = features.derived(described)
    rows = []
    for name, feature, side in features.SLICES:
        values = described[feature].to_numpy()
        edge = np.quantile(values, TAIL if side == "low" else 1 - TAIL)
        inside = values <= edge if side == "low" else values >= edge
        n, hits = int(inside.sum()), int(right[inside].sum())
        if n <= 2 * TAIL * len(values):
            rows.append((name, feature, edge, n, n - hits, hits / n, *accuracy_interval(hits, n)))
    table = pd.DataFrame(rows, columns=["slice", "feature", "edge", "n", "errors", "accuracy", "low", "high"])
    return table.sort_values("accuracy", kind="stable", ignore_index=True)


def corrupted(images: Images, kind: str = DIGITS.kind) -> Iterator[tuple[str, np.ndarray]]:
    """The name of each corruption of their kind, and the images uint8 (N, *shape) under it; the same each time."""
    images = np.asarray(images)
    for number, (name, corrupt) in enumerate(kinds.corruptions(kind).CORRUPTIONS.items()):
        yield name, corrupt(images, np.random.default_rng([SEED, number]), 1.0)


def robustness(test: Split, answer: Answer, count: int, kind: str = DIGITS.kind) -> pd.DataFrame:
    """A row a corruption, the worst first: corruption, n, accuracy, and that relative to the accuracy on the same
    ``count`` images as they were, or of fewer large ones. ``answer`` is the model."""
    images, labels = test.spread(min(count, images_in(CORRUPTED, test.images.shape[1:])))
    clean = float(np.mean(answer(images).argmax(axis=1) == labels))
    rows = []
    for name, changed in corrupted(images, kind):
        accuracy = float(np.mean(answer(changed).argmax(axis=1) == labels))
        rows.append((name, len(labels), accuracy, accuracy / clean if clean else 0.0))
    table = pd.DataFrame(rows, columns=["corruption", "n", "accuracy", "relative"])
    return table.sort_values("accuracy", kind="stable", ignore_index=True)


def believed(labels: np.ndarray, answers: Answers) -> dict[str, float]:
    """The share of images whose answer is not believed, and how many of the others are right (selective accuracy)."""
    certain = answers.certainty >= CERTAIN
    right = answers.probabilities.argmax(axis=1) == labels
    return {
        "refused": float(1 - certain.mean()),
        "believed_accuracy": float(right[certain].mean() if certain.any() else 1),
    }


def refusal(drawn: NonDigits, answers: Answers) -> pd.DataFrame:
    """A row a kind of non-digit, the least refused first: kind, n, refused (share)."""
    doubted = pd.DataFrame({"kind": drawn.kinds, "refused": answers.certainty < CERTAIN})
    table = doubted.groupby("kind")["refused"].agg(n="size", refused="mean").reset_index()
    return table.sort_values("refused", kind="stable", ignore_index=True)


def measure(answers: dict[str, np.ndarray], labels: dict[str, np.ndarray], ask: Evaluate) -> dict[str, float]:
    """The flat numbers of reports/metrics.json from the answers and labels of train, val, test and recent."""
    accuracy = {name: overall(labels[name], answers[name])["accuracy"] for name in ("train", "val")}
    test = overall(labels["test"], answers["test"])
    n = len(labels["test"])
    low, high = accuracy_interval(n - int(test["errors"]), n)
    numbers = {
        "accuracy": test["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": test["loss"],
        "ece": calibration_error(calibration(labels["test"], answers["test"], ask.calibration_bins)),
        "min_recall": _lowest_recall(labels["test"], answers["test"]),
        "train_accuracy": accuracy["train"],
        "val_accuracy": accuracy["val"],
        "gap": accuracy["train"] - test["accuracy"],
    }
    counts = {"errors": test["errors"], "n_test": n, "n_recent": len(labels["recent"])}
    if counts["n_recent"]:
        recent = overall(labels["recent"], answers["recent"])
        numbers["recent_accuracy"], counts["recent_errors"] = recent["accuracy"], recent["errors"]
    return {name: round(float(value), 6) for name, value in numbers.items()} | counts


def _lowest_recall(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Of the classes that there are images of."""
    found = per_class(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    return float(found["recall"][found["support"] > 0].min())


def ask(answer: Answer, parts: dict[str, Split]) -> dict[str, np.ndarray]:
    """The model's probabilities on each split; :class:`BadInput` if they are no numbers."""
    answers = {name: answer(split.images) for name, split in parts.items()}
    for name, probabilities in answers.items():
        broken = len(probabilities) - int(np.isfinite(probabilities).all(axis=1).sum())
        if broken:
            raise BadInput(f"the model answers NaN to {broken} of {len(probabilities)} {name} images: train it again")
    return answers


def tables(
    test: Split,
    described: pd.DataFrame,
    probabilities: np.ndarray,
    answer: Answer,
    ask: Evaluate,
    form: Form = DIGITS,
) -> dict[str, pd.DataFrame]:
    """Every table about the test split, by name. ``described`` has its images' FEATURES; ``confusion`` has a row an
    image, as DVC's plot wants. What stands for a class in them is its name."""
    labels, predicted, classes = np.asarray(test.labels), probabilities.argmax(axis=1), len(form.classes)
    found = {
        "per_class": per_class(labels, predicted, classes),
        "confusion": pd.DataFrame({"actual": labels, "predicted": predicted}),
        "confused_pairs": confused_pairs(confusion(labels, predicted, classes)),
        "mistakes": mistakes(labels, probabilities),
        "suspected_labels": suspected_labels.find(labels, probabilities),
        "calibration": calibration(labels, probabilities, ask.calibration_bins),
        "slices": slices(described, predicted == labels, form.kind),
        "robustness": robustness(test, answer, ask.corrupted, form.kind),
    }
    named = np.array(form.classes, object)
    of_classes = {"digit", "actual", "true", "predicted", "label", "suggested"}
    return {
        name: table.assign(**{column: named[table[column].to_numpy(int)] for column in of_classes & {*table.columns}})
        for name, table in found.items()
    }
