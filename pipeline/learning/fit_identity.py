"""Which fit is it? Digests of all that decides what a fit gives."""

import hashlib
import json
from pathlib import Path

from pipeline.base import files
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Recipe
from pipeline.data.splits import Split
from pipeline.learning import data_parallel
from pipeline.learning.backend import keras, tensorflow

# The modules that decide what a fit gives, as folders and files of pipeline/; a test holds them against the imports.
CODE = (
    "base",
    "data/kinds.py",
    "data/splits.py",
    "digits/augmentation.py",
    "digits/hands.py",
    "digits/image.py",
    "digits/non_digits.py",
    "digits/training.py",
    "learning/augmented.py",
    "learning/backend.py",
    "learning/callbacks.py",
    "learning/data_parallel.py",
    "learning/fit_identity.py",
    "learning/fitting.py",
    "learning/networks.py",
    "learning/shuffling.py",
    "plain/training.py",
)


def code() -> str:
    """The digest of the CODE."""
    top = Path(__file__).parents[1]
    paths = [path for part in CODE for path in ([top / part] if part.endswith(".py") else (top / part).glob("*.py"))]
    digests = {path.relative_to(top).as_posix(): files.sha256_file(path) for path in paths}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def data_digest(train: Split, val: Split) -> str:
    """Of the images and labels that a fit sees."""
    arrays = [files.sha256_array(array) for split in (train, val) for array in split]
    return hashlib.sha256("".join(arrays).encode()).hexdigest()


def digest(recipe: Recipe, data: str, form: Form = DIGITS) -> str:
    """What a fit comes from but for its seed: the recipe's settings, the data's form and digest, the code and the
    libraries."""
    facts = [recipe.model_dump(), form.as_json(), data, code(), keras.version(), tensorflow.version.VERSION]
    facts += [] if data_parallel.place().alone else [data_parallel.place().of]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
