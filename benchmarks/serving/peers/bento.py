"""A model behind BentoML, with its batches: MODEL=… bentoml serve bento:Digits --port PORT."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(traffic={"timeout": 30}, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Digits:
    def __init__(self) -> None:
        self.model = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])

    @bentoml.api(batchable=True, max_batch_size=1024, max_latency_ms=30_000)
    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.model.run(["probabilities"], {"images": images.astype(np.uint8)})[0]
