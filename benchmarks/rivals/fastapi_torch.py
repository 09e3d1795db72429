"""A bundle's classifier in plain PyTorch behind the plainest FastAPI handler, as the peer of `benchmarks.serving`.

    python -m benchmarks.rivals.fastapi_torch sms-spam.gw --port 8000

The same network with the same weights (token and n-gram vectors, one packed bidirectional LSTM, mean and max, linear
heads), read out of the bundle in float32; text becomes ids by the bundle's own tokeniser, so that what differs is the
network's library and the server.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch import Tensor, nn


class Network(nn.Module):
    """Ids of one text to logits."""

    def __init__(self, dense: Any, units: int) -> None:
        super().__init__()

        def table(name: str) -> nn.EmbeddingBag:
            return nn.EmbeddingBag.from_pretrained(dense(name), mode="sum")

        self.embedding = nn.Embedding.from_pretrained(dense("embedding.weight"))
        self.local, self.wide = table("local.weight"), table("ngrams.weight")
        width = dense("encoder.0.forward.w_GI").shape[1]
        self.lstm = nn.LSTM(width, units, batch_first=True, bidirectional=True)
        with torch.no_grad():
            for way, end in (("forward", ""), ("backward", "_reverse")):
                for ours, theirs in (("w_GI", "weight_ih"), ("r_GH", "weight_hh"), ("b_G", "bias_ih")):
                    getattr(self.lstm, f"{theirs}_l0{end}").copy_(dense(f"encoder.0.{way}.{ours}"))
                getattr(self.lstm, f"bias_hh_l0{end}").zero_()
        self.register_buffer("head", dense("head.weight"))
        self.register_buffer("bias", dense("head.bias"))

    def forward(self, tokens: Tensor, local: Tensor, rows: Tensor) -> Tensor:
        x = torch.cat([self.embedding(tokens), self.local(local)], 1)
        y = self.lstm(x[None])[0][0]
        logits = torch.cat([y.mean(0), y.amax(0)]) @ self.head.T + self.bias
        return logits + self.wide(rows[None])[0] / max(len(rows), 1) ** 0.5


class Ask(BaseModel):
    """A request."""

    text: str


def make_app(bundle: str) -> FastAPI:
    """The application. Exits where the bundle has another architecture, or answers otherwise than the runtime."""
    from gatework.core.quantize import SCALE
    from gatework.runtime import load

    model = load(bundle)
    weights, shape = model.bundle.weights, model.bundle.architecture

    def dense(name: str) -> Tensor:
        values = np.array(weights[name], dtype=np.float32)
        if name + SCALE in weights.slots:
            scale = np.array(weights[name + SCALE])
            if scale.dtype != np.float32:  # bfloat16 as its bits
                scale = (scale.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
            values = values * scale[:, None]
        return torch.from_numpy(values)

    if shape.pooling != ("mean", "max") or shape.encoder.layers != 1 or not shape.ngram_rows:
        sys.exit(f"{bundle}: not the network this peer is written for")
    network = Network(dense, shape.encoder.units).eval()

    @torch.inference_mode()
    def answer(text: str) -> dict[str, Any]:
        one = model.codec.encode(text)
        tensors = (
            torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in (one.tokens, one.local, one.ngram_rows)
        )
        p = torch.softmax(network(*tensors) / model.codec.settings.temperature, 0)
        best = int(p.argmax())
        return {"label": model.labels[best], "score": float(p[best])}

    for text in ("win a free prize now", "see you at home tonight"):
        got, want = answer(text), model.predict(text)
        score = want.scores[got["label"]]
        if abs(got["score"] - score) > 1e-3:
            sys.exit(f"{bundle}: PyTorch says {got}, the runtime {want}")

    app = FastAPI()

    @app.post("/predict")
    def predict(ask: Ask) -> dict[str, Any]:
        return answer(ask.text)

    return app


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    uvicorn.run(make_app(args.bundle), port=args.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
