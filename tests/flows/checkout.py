"""A checkout that the flows serve, without git and without a training: its models are of a few weights."""

import json
from pathlib import Path

import linear_model
import numpy as np

from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.data import comparison, splits
from pipeline.data.splits import Split
from pipeline.digits import features
from pipeline.learning import inference
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen
from pipeline.registry import promotion, versions

NAME = "digits-cnn"
LABELS = (np.arange(400) % 10).astype(np.uint8)
GROUP = 20  # images: so many in a hundred


def images() -> np.ndarray:
    """A lit row says the class, and a lit pixel below tells the first group from the rest: uint8 (400, 28, 28)."""
    drawn = np.zeros((len(LABELS), 28, 28), np.uint8)
    drawn[np.arange(len(LABELS)), LABELS * 2] = 255
    drawn[:GROUP, 27, 0] = 255
    return drawn


class Checkout:
    """The folder with params.yaml, the images held out, and the registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = params_file.load(folder / "params.yaml")
        held = {"test": Split(images(), LABELS), "recent": Split(images()[:0], LABELS[:0])}
        for part, split in held.items():
            splits.save(folder / places.PROCESSED / part, split)
        files.write_json(folder / places.MANIFEST, {"dataset": "digits"})

    def register(self, reads_all: bool = True) -> str:
        """A version @challenger that reads every image, or gets the first group wrong; its number."""
        client = versions.connect()
        versions.create(client, NAME)
        place = self.folder / "mlartifacts" / str(len(list((self.folder / "mlartifacts").glob("*"))))
        weights = np.zeros((28, 28, 10))
        weights[np.arange(10) * 2, :, np.arange(10)] = 1.0
        weights[27, 0, 0] = 0.0 if reads_all else 100.0
        linear_model.write(place / "model.onnx", weights.reshape(784, 10), np.zeros(10))
        answered = inference.probabilities(place / "model.onnx", images())
        (place / "extra_files").mkdir()
        comparison.answered(features.describe(images()), answered).to_parquet(place / places.VERSION_REFERENCE)
        np.savez(place / places.VERSION_PINNED, allow_pickle=False, images=images(), probabilities=answered)
        run = client.create_run(versions.experiment(client, NAME))
        tags = {
            "weights_sha256": files.sha256_array(weights),
            "onnx_sha256": files.sha256_file(place / "model.onnx"),
            "metrics": json.dumps({"accuracy": 0.99, "gap": 0.0}),
        }
        version = client.create_model_version(NAME, str(place), run.info.run_id, tags=tags)
        client.set_registered_model_alias(NAME, versions.CHALLENGER, version.version)
        return str(version.version)

    def crown(self) -> str:
        """A version that passed the gate: the champion's number."""
        number = self.register()
        assert promotion.promote(versions.connect(), NAME, self.params).event == "promoted"
        return number

    def champion(self) -> str:
        return versions.aliases(versions.connect(), NAME)[versions.CHAMPION]

    def ask(self, seen: np.ndarray) -> None:
        """The champion, in use, was asked about these images."""
        number = self.champion()
        ids = [f"{number}-{i}" for i in range(len(seen))]
        answers, confidences = np.zeros(len(seen), int), np.ones(len(seen))
        asked = Seen(ids, "2026-01-01T00:00:00+00:00", NAME, number, seen, answers, confidences)
        with live.store(self.folder / places.SEEN) as store:
            live.write(store, [asked], features.describe(seen).to_numpy(), keep_images=False)
