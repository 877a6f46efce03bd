"""Which labels may be wrong?"""

import numpy as np
import pandas as pd


def find(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Images whose label may be wrong, the clearest first: index, label, suggested, p_label, p_suggested.

    Confident learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068): a class's threshold is its mean
    self-confidence, that is the mean probability of the class over the images that are labelled with it. A label is
    suspected where another class is predicted with at least that class's threshold and the label's own probability is
    below its. Ranked by the margin between the two probabilities. The probabilities must be those of images that
    the model was not trained on.
    """
    rows = np.arange(len(labels))
    own, predicted = probabilities[rows, labels], probabilities.argmax(axis=1)
    classes = probabilities.shape[1]
    support = np.bincount(labels, minlength=classes)
    threshold = np.bincount(labels, weights=own, minlength=classes) / np.maximum(support, 1)
    best = probabilities[rows, predicted]
    suspected = (predicted != labels) & (best >= threshold[predicted]) & (own < threshold[labels])
    index = np.flatnonzero(suspected & (support[predicted] > 0))  # a class without images has no threshold
    index = index[np.argsort(own[index] - best[index], kind="stable")]
    columns = {"index": index, "label": labels[index], "suggested": predicted[index]}
    return pd.DataFrame({**columns, "p_label": own[index], "p_suggested": best[index]})
