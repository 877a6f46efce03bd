"""Which data sets are there, by the name that params.yaml gives them?"""

from collections.abc import Callable

from pipeline.base.params import Ingest, Params
from pipeline.data.datasets import embedded, mnist
from pipeline.data.datasets.decoders import DECODERS, Loaded

DATASETS: dict[str, Callable[[Ingest], Loaded]] = {
    "digits": embedded.load_digits,
    "mnist": mnist.load_mnist,
    "kaggle": mnist.load_kaggle,
    **DECODERS,
}


def load(params: Params) -> Loaded:
    """Read, verify and decode the data set that ``params`` names; :class:`BadInput` if any of it is not whole."""
    return DATASETS[params.dataset](params.ingest)
