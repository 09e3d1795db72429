"""A BERT in float64, written out from its papers: weights by the names of Hugging Face, one row at a time.

Sources: Vaswani et al., arXiv:1706.03762; Devlin et al., arXiv:1810.04805; Hendrycks and Gimpel, arXiv:1606.08415.
"""

from __future__ import annotations

import math

import numpy as np

_BERT = {
    "layer": "encoder.layer",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "output norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "outer norm": "output.LayerNorm",
}
_DISTILBERT = {
    "layer": "transformer.layer",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "output": "attention.out_lin",
    "output norm": "sa_layer_norm",
    "inner": "ffn.lin1",
    "outer": "ffn.lin2",
    "outer norm": "output_layer_norm",
}


def gelu(x: float) -> float:
    return x * 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


def gelu_tanh(x: float) -> float:
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def relu(x: float) -> float:
    return max(x, 0.0)


ACTIVATIONS = {"gelu": gelu, "gelu_new": gelu_tanh, "relu": relu}


def hidden_layers(config: dict, weights: dict, ids: list[int]) -> list[np.ndarray]:
    """All hidden layers of one row of pieces, each (pieces, width), the first what the first layer reads."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    names = _DISTILBERT if config["model_type"] == "distilbert" else _BERT
    heads = config["n_heads"] if config["model_type"] == "distilbert" else config["num_attention_heads"]
    count = config["n_layers"] if config["model_type"] == "distilbert" else config["num_hidden_layers"]
    activation = ACTIVATIONS[config.get("hidden_act", config.get("activation"))]
    epsilon = config.get("layer_norm_eps", 1e-12)

    def dense(name, x):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean()
        return w[f"{name}.weight"] * centred / math.sqrt((centred**2).mean() + epsilon) + w[f"{name}.bias"]

    x = []
    first = config["pad_token_id"] + 1 if config["model_type"] == "roberta" else 0
    for place, piece in enumerate(ids, start=first):
        vector = w["embeddings.word_embeddings.weight"][piece] + w["embeddings.position_embeddings.weight"][place]
        if "embeddings.token_type_embeddings.weight" in w:
            vector = vector + w["embeddings.token_type_embeddings.weight"][0]
        vector = norm("embeddings.LayerNorm", vector)
        x.append(dense("embeddings_project", vector) if "embeddings_project.weight" in w else vector)
    found = [np.array(x)]
    for layer in range(count):
        stem = f"{names['layer']}.{layer}."
        q, k, v = ([dense(stem + names[part], one) for one in x] for part in ("query", "key", "value"))
        size = len(x[0]) // heads
        after = []
        for place in range(len(x)):
            gathered = []
            for head in range(heads):
                own = slice(head * size, (head + 1) * size)
                scores = np.array([q[place][own] @ other[own] / math.sqrt(size) for other in k])
                shares = np.exp(scores - scores.max())
                shares /= shares.sum()
                gathered.append(sum(share * other[own] for share, other in zip(shares, v, strict=True)))
            a = norm(stem + names["output norm"], x[place] + dense(stem + names["output"], np.concatenate(gathered)))
            inner = np.array([activation(one) for one in dense(stem + names["inner"], a)])
            after.append(norm(stem + names["outer norm"], a + dense(stem + names["outer"], inner)))
        x = after
        found.append(np.array(x))
    return found
