"""A model behind FastAPI and nothing else: no limits, no ids, no log, no metrics, no memory.

python bare_fastapi.py MODEL PORT
"""

import io
import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request

model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
app = FastAPI()


@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/predict")
async def predict(request: Request) -> dict[str, list]:
    images = np.load(io.BytesIO(await request.body()))
    probabilities, certainty = model.run(["probabilities", "certainty"], {"images": images})
    return {"probabilities": probabilities.tolist(), "certainty": certainty.tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False)
