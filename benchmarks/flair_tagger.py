"""`gatework.patch_torch()` under somebody else's program: Flair's sequence tagger, trained with and without it.

A BiLSTM-CRF tagger of Flair (`SequenceTagger`: word vectors learned from scratch, one layer of 2 x 256, CRF; with
`--characters` also Flair's character LSTM) learns the entities of CoNLL 2003 through Flair's own `ModelTrainer`.
Nothing in Flair is changed and nothing is downloaded. Each way runs in a process of its own, in turn; steps see the
same batches and dropout, so losses can be compared one by one. Times are of the processor, which other work disturbs
less.

    pip install flair
    python benchmarks/flair_tagger.py --data $GATEWORK_DATA/ner_conll2003_en --rounds 3
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.conll.gz and dev.conll")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--characters", action="store_true", help="Flair's character LSTM beside the word vectors")
    parser.add_argument("--way", choices=("torch", "patched"), help="run this one and print its figures as JSON")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(train(options)))
        return
    runs: dict[str, list[dict[str, Any]]] = {"torch": [], "patched": []}
    for _ in range(options.rounds):
        for way, found in runs.items():
            command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--way", way]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    report(runs)


def report(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Print losses and times of both ways."""
    losses = {way: found[0]["losses"] for way, found in runs.items()}
    furthest = max(abs(a - b) / abs(a) for a, b in zip(losses["torch"], losses["patched"], strict=True))
    print(f"steps: {len(losses['torch'])}; largest relative difference of a step's loss: {furthest:.1e}")
    for name in ("seconds", "layers"):
        medians = {way: statistics.median(run[name] for run in found) for way, found in runs.items()}
        what = "training" if name == "seconds" else "of it, forward passes of recurrent layers"
        ratio = medians["torch"] / medians["patched"]
        print(f"{what}: torch {medians['torch']:.2f} s, patched {medians['patched']:.2f} s, {ratio:.2f} x")
    for way, found in runs.items():
        print(f"dev F1, {way}: {found[0]['f1']:.4f}")


def train(options: argparse.Namespace) -> dict[str, Any]:
    """One training; nothing but Flair's own code between the two lines that say gatework."""
    import flair
    import torch
    from flair.datasets import ColumnCorpus
    from flair.embeddings import CharacterEmbeddings, OneHotEmbeddings, StackedEmbeddings
    from flair.models import SequenceTagger
    from flair.trainers import ModelTrainer

    import gatework

    torch.set_num_threads(options.threads)
    gatework.set_threads(options.threads)
    logging.getLogger("flair").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        write(options.data / "train.conll.gz", Path(folder) / "train.txt", options.sentences)
        write(options.data / "dev.conll", Path(folder) / "dev.txt", options.sentences // 2)
        columns = {0: "text", 3: "ner"}
        corpus: Any = ColumnCorpus(folder, columns, column_delimiter="\t", train_file="train.txt", dev_file="dev.txt",
                                   test_file="dev.txt")  # fmt: skip
        flair.set_seed(1)
        embeddings = [OneHotEmbeddings.from_corpus(corpus, embedding_length=100, min_freq=2)]
        if options.characters:
            embeddings.append(CharacterEmbeddings(characters(corpus)))
        tags = corpus.make_label_dictionary("ner", add_unk=False)
        tagger: Any = SequenceTagger(StackedEmbeddings(embeddings), tags, "ner", hidden_size=256)
        losses = record_losses(tagger)
        layers = time_layers(tagger)
        flair.set_seed(2)
        start = time.process_time()
        with gatework.patch_torch() if options.way == "patched" else contextlib.nullcontext():
            ModelTrainer(tagger, corpus).train(
                Path(folder) / "run",
                max_epochs=options.epochs,
                mini_batch_size=options.batch,
                learning_rate=0.1,
                save_final_model=False,
                use_final_model_for_eval=True,
                embeddings_storage_mode="none",
            )
        seconds = time.process_time() - start
        score = tagger.evaluate(corpus.dev, "ner", mini_batch_size=options.batch).main_score
    return {"losses": losses, "seconds": seconds, "layers": sum(layers), "f1": score}


def characters(corpus: Any) -> Any:
    """Flair's dictionary of the characters of the training words; its own would be downloaded."""
    from flair.data import Dictionary

    found = Dictionary()
    for sentence in corpus.train:
        for token in sentence:
            for character in token.text:
                found.add_item(character)
    return found


def record_losses(tagger: Any) -> list[float]:
    """The loss of each step from now on."""
    losses: list[float] = []
    theirs = tagger.forward_loss

    def forward_loss(sentences: Any) -> Any:
        loss, count = theirs(sentences)
        if tagger.training:
            losses.append(loss.item() / count)
        return loss, count

    tagger.forward_loss = forward_loss
    return losses


def time_layers(tagger: Any) -> list[float]:
    """Processor seconds of each forward call of a recurrent layer from now on, starts subtracted."""
    import torch

    seconds: list[float] = []
    for module in tagger.modules():
        if isinstance(module, torch.nn.RNNBase):
            module.register_forward_pre_hook(lambda *_: seconds.append(-time.process_time()))
            module.register_forward_hook(lambda *_: seconds.append(time.process_time()))
    return seconds


def write(source: Path, target: Path, sentences: int) -> None:
    """The first sentences of a CoNLL file."""
    data = source.read_bytes()
    text = (gzip.decompress(data) if source.suffix == ".gz" else data).decode()
    kept = text.strip().split("\n\n")[:sentences]
    target.write_text("\n\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
