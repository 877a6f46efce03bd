"""ONNX Runtime by itself: images a second in batches, and the CPU time of one image.

python -m benchmarks.serving.bare MODEL CORES SECONDS < images.npy
"""

import io
import json
import sys
import time

import numpy as np

from pipeline.learning import inference

SINGLE = 300  # images


def main() -> None:
    path, cores, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    images = np.load(io.BytesIO(sys.stdin.buffer.read()))
    model, quick = inference.open_model(path, cores, spinning=False), inference.open_model(path, threads=1)
    inference.run(model, images)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        inference.run(model, images)
        count += len(images)
    rate, begun = count / (time.perf_counter() - begun), time.process_time()
    for _ in range(SINGLE):
        inference.run(quick, images[:1])
    print(json.dumps({"batch_rate": rate, "cpu_us": 1e6 * (time.process_time() - begun) / SINGLE}))


if __name__ == "__main__":
    main()
