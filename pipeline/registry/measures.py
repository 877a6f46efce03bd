"""What is a figure that was measured of a model called, and how is it written? Shares as percent."""

_PERCENT, _COUNT = "{:.2%}".format, "{:,.0f}".format
_MEASURES = {
    "accuracy": ("test accuracy", _PERCENT),
    "accuracy_low": ("its 95% interval, from", _PERCENT),
    "accuracy_high": ("its 95% interval, to", _PERCENT),
    "recall": ("recall", _PERCENT),
    "min_recall": ("recall of the weakest class", _PERCENT),
    "errors": ("errors", _COUNT),
    "n_test": ("test images", _COUNT),
    "n_recent": ("recent images held out", _COUNT),
    "recent_accuracy": ("accuracy on recent images", _PERCENT),
    "recent_errors": ("errors on recent images", _COUNT),
    "loss": ("loss", "{:.4f}".format),
    "ece": ("calibration error", _PERCENT),
    "gap": ("points by which train beats test", lambda share: f"{100 * share:+.2f}"),
    "train_accuracy": ("train accuracy", _PERCENT),
    "val_accuracy": ("validation accuracy", _PERCENT),
    "refused": ("test images refused", _PERCENT),
    "believed_accuracy": ("accuracy where it is sure", _PERCENT),
    "non_digits_refused": ("non-digits refused", _PERCENT),
    "robustness": ("accuracy left on worse pictures", _PERCENT),
    "size in MB": ("size in MB", "{:.2f}".format),
    "latency in ms": ("latency in ms", "{:.2f}".format),
}


def words(name: str) -> str:
    """What people call it; of one that has no words, its name."""
    return _MEASURES[name][0] if name in _MEASURES else name.replace("_", " ")


def text(name: str, value: float | None) -> str:
    """The figure as people read it; a dash where there is none."""
    if value is None:
        return "–"
    return _MEASURES[name][1](value) if name in _MEASURES else f"{value:.4g}"
