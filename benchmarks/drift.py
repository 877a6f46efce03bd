"""Does the monitor raise no false alarm and miss no drift? Clean windows, and the same ones under each corruption.

    python -m benchmarks.drift --workspace FOLDER     with a workspace's model, val split (reference) and test split

Windows are drawn from the test split, the clean ones and the corrupted ones alike; the bars are at most 1 bad window in
100 clean ones, and at least 14 of 15 corruptions (inversion apart) seen.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.table import show
from pipeline.base import params as params_file
from pipeline.base import places
from pipeline.base.errors import one_line
from pipeline.data import comparison, splits
from pipeline.data.comparison import Compared
from pipeline.digits import corruptions, features
from pipeline.learning import inference
from pipeline.monitoring import monitor

SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workspace", type=Path, default=Path(), metavar="FOLDER")
    parser.add_argument("--windows", type=int, default=100, help="clean ones")
    parser.add_argument("--images", type=int, default=1000, help="of a window")
    parser.add_argument("--strength", type=float, default=1.0, help="of the corruptions; 1 is moderate")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    arguments = parser.parse_args()
    rules = params_file.load().monitor
    model = inference.open_model(arguments.workspace / places.ONNX)
    val, test = (splits.load(arguments.workspace / places.PROCESSED / name) for name in ("val", "test"))
    rng = np.random.default_rng(SEED)

    def answered(images: np.ndarray) -> pd.DataFrame:
        return comparison.answered(features.describe(images), inference.run(model, images))

    reference = answered(np.asarray(val.images))

    def look(images: np.ndarray) -> Compared:
        return monitor.compare(reference, answered(images), rules)[0]

    def window() -> np.ndarray:
        return np.asarray(test.images)[rng.choice(len(test.labels), arguments.images)]

    clean = [look(window()) for _ in tqdm(range(arguments.windows), "clean windows", disable=None)]
    false = sum(found.verdict == "drift" for found in clean)
    seen = {name: look(corrupt(window(), rng, arguments.strength)) for name, corrupt in corruptions.CORRUPTIONS.items()}
    caught = sum(found.verdict == "drift" for name, found in seen.items() if name != "inverted")
    if arguments.json:
        print(json.dumps({"clean": len(clean), "false": false, "caught": caught, "of": len(seen) - 1}))
        return
    rows = [
        [name, found.verdict, f"{found.drifted_share:.0%}", f"{top.distance:.2f} {top.name}"]
        for name, found in seen.items()
        for top in found.columns[:1]
    ]
    show(["corruption", "verdict", "columns drifted", "furthest"], *rows)
    print(
        f"\n{false} of {len(clean)} clean windows bad; {caught} of {len(seen) - 1} corruptions seen (inversion apart)"
    )


if __name__ == "__main__":
    with one_line():
        main()
