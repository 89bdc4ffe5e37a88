"""A typical hand-written server: FastAPI on uvicorn, with uvloop and httptools."""

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
    arrays = model.run({tensor.name: np.reshape(tensor.data, tensor.shape) for tensor in request.inputs})
    return {
        "model_name": name,
        "outputs": [
            {
                "name": spec.name,
                "datatype": spec.datatype,
                "shape": list(array.shape),
                "data": array.ravel().tolist(),
            }
            for spec, array in zip(outputs, arrays)
        ],
    }


if __name__ == "__main__":
    _, outputs = model.load()
    uvicorn.run(app, host="127.0.0.1", port=model.PORT, log_level="warning", access_log=False)
