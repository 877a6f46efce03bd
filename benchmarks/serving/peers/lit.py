"""A model behind LitServe, with its batches: python lit.py MODEL PORT."""

import sys

import litserve
import numpy as np
import onnxruntime


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])

    def decode_request(self, request: dict) -> np.ndarray:
        return np.array(request["images"], np.uint8)

    def batch(self, inputs: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
        return np.concatenate(inputs), [len(part) for part in inputs]

    def predict(self, batch: tuple[np.ndarray, list[int]]) -> tuple[list[np.ndarray], list[int]]:
        return self.model.run(["probabilities", "certainty"], {"images": batch[0]}), batch[1]

    def unbatch(self, output: tuple[list[np.ndarray], list[int]]) -> list[tuple[np.ndarray, ...]]:
        (probabilities, certainty), counts = output
        ends = np.cumsum(counts)[:-1]
        return list(zip(np.split(probabilities, ends), np.split(certainty, ends), strict=True))

    def encode_response(self, output: tuple[np.ndarray, ...]) -> dict[str, list]:
        return {"probabilities": output[0].tolist(), "certainty": output[1].tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(max_batch_size=16, batch_timeout=0.0), accelerator="cpu", timeout=30)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
