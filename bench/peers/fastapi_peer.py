"""FastAPI on uvicorn (uvloop, httptools), the usual hand-written server: a validated body, one run, a dict."""

from typing import Any

import model
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Tensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    data: list[float]


class Request(BaseModel):
    id: str | None = None
    inputs: list[Tensor]


app = FastAPI()


@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request) -> dict[str, Any]:
    probabilities, labels = model.run(np.reshape(request.inputs[0].data, request.inputs[0].shape))
    return {
        "model_name": name,
        "outputs": [
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": list(probabilities.shape),
                "data": probabilities.ravel().tolist(),
            },
            {"name": "predicted_class", "datatype": "BYTES", "shape": list(labels.shape), "data": labels.tolist()},
        ],
    }


if __name__ == "__main__":
    model.load()
    uvicorn.run(app, host="127.0.0.1", port=model.PORT, log_level="warning", access_log=False)
