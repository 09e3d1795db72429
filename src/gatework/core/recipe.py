"""The recipe: every option of a training run, its default, and its check. The only definition of either.

The options reference in `docs/` is generated from these models, and the Python API takes the same names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Column = str | int
"""A column by name, or by position counted from 0; -1 is the last."""

Chance = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
Unit = Literal["auto", "word", "char", "bpe", "unigram", "zh-char", "zh-word", "glyph", "treebank"]


class Section(BaseModel):
    """One table of a recipe. Unknown keys are errors; values are not changed after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataSection(Section):
    """Where the examples are and how to read them."""

    train: str = ""
    """Training file. Relative to the recipe; may begin with `$GATEWORK_DATA`."""
    dev: str | float = 0.1
    """Development file, or the fraction of `train` held back to choose the best epoch and to calibrate."""
    test: str | None = None
    """Test file, read once, after training, for the reported score."""
    unlabelled: tuple[str, ...] = ()
    """Plain-text files, one text a line, for `train.pretrain_epochs`."""
    format: Literal["auto", "csv", "tsv", "jsonl", "fasttext", "conll", "conllu"] = "auto"
    """File format; `auto` looks at the name and the first lines, and says what it found. Tagging reads `conll`,
    `conllu` and `jsonl`, classification the others."""
    header: Literal["auto"] | bool = "auto"
    """Whether the first line of a CSV or TSV names the columns; for `conll` files it does not unless this is true."""
    text: Column | Literal["auto"] = "auto"
    """Column (or JSON key) of the text, or of the token, by name or by position from 0; -1 is the last. `auto` for
    tokens: the first column, or FORM."""
    label: Column | Literal["auto"] = "auto"
    """Column (or JSON key) of the label, or of the tag. `auto` for tags: the last column, or UPOS."""
    also: tuple[Column, ...] = ()
    """Tagging: columns of further tags, learnt from the same encoder."""
    scheme: Literal["auto", "iob1", "bio", "bioes", "bmes", "bilou", "none"] = "auto"
    """Tagging: how tags mark spans; `none` for tags that mark none, such as parts of speech. `auto` tells it from all
    tags of the training file."""
    repair: bool = True
    """Tagging: a tag that its scheme does not allow where it stands is read as `conlleval` reads it (it begins a span),
    and counted; `false` makes it an error."""
    unknown: str = ""
    """Tagging: what is written for a tag that is not known (partial annotation), such as `?`; empty cells count too
    then. Left empty, every token needs a tag."""
    segment: bool = False
    """Tagging: the tokens of the file are words to be found: the model reads characters, and learns where words end
    and the tag of each."""
    label_separator: str = ""
    """What separates the labels of one example; setting it makes the task multi-label. fastText files need none."""
    template: str = ""
    """Language models: makes a document of a record of a CSV, TSV or JSON lines file, such as `"{0}\\n{2}"` or
    `"{title}\\n{poem}"`: columns by position from 0, by name, or by JSON key. Left empty, files are plain text."""
    documents: Literal["auto", "line", "blank", "file"] = "auto"
    """Language models: what is a document of plain text, whose end is a token: a line, what stands between blank
    lines, or the whole file, which has no end. `auto`: the file where it holds blank lines, else a line."""
    carry: Literal["auto"] | bool = "auto"
    """Language models: whether a document is read on from the one before it, or each from nothing. `auto`: on for plain
    text, off with a template."""
    source: Column | Literal["auto"] = "auto"
    """Sequence to sequence: column (or JSON key) of the source; of `reply`, the key of the list of turns. `auto`: a
    column of a known name, else the first."""
    target: Column | Literal["auto"] = "auto"
    """Sequence to sequence: column (or JSON key) of the target. `auto`: a column of a known name, else the second."""
    train_target: str | None = None
    """Sequence to sequence: the plain-text file of the targets where `train` holds the sources alone, line by line."""
    dev_target: str | None = None
    """The same for `dev`."""
    test_target: str | None = None
    """The same for `test`."""
    context: Positive = 2
    """Replies: turns of the dialogue before a turn that are its source."""
    encoding: str = "utf-8"
    """Character encoding of the files."""
    language: Literal["auto", "en", "zh"] = "auto"
    """Decides the default unit; `auto` counts scripts in the training text."""

    @field_validator("dev")
    @classmethod
    def _fraction(cls, value: str | float) -> str | float:
        if isinstance(value, float) and not 0.0 < value < 1.0:
            raise ValueError(f"a fraction must lie between 0 and 1, got {value}; give a path to use a file")
        return value


class InputSection(Section):
    """How text becomes tokens."""

    unit: Unit = "auto"
    """Tokens: `word`, `char`, `bpe` and `unigram` subwords trained here, `zh-char` (Chinese characters, other runs
    whole), `zh-word` (segmented; extra `zh`), `glyph` (single characters), `treebank`
    (English words as treebanks cut them). `auto`: `zh-char` for Chinese, else `word`;
    for tagging the unit that fits the tokens of the training file."""
    target_unit: Unit = "auto"
    """Sequence to sequence: tokens of the target; `auto`: as `unit`. Where `unit` is open too, `transduce` writes words
    if targets are sequences of few symbols (phonemes), else characters."""
    shared: bool = True
    """Sequence to sequence: one vocabulary and one table of vectors for both sides."""
    lowercase: bool = True
    """Fold case."""
    fold_width: bool = True
    """Fold full-width letters, digits and punctuation to half width."""
    fold_digits: bool = False
    """Read every digit as 0, in tokens; character composition, affixes and shape still see it."""
    affixes: Annotated[int, Field(ge=0, le=6)] = 0
    """Longest prefix and suffix of a token, in characters, used as features of the token; 0 for none."""
    shape: bool = False
    """Use a token's shape (`Xxxx`, `dd-dd`, `XX`) as a feature."""
    min_count: Positive = 2
    """Tokens seen less often in training are unknown."""
    max_vocabulary: Positive = 50_000
    """Most tokens kept, by frequency."""
    byte_fallback: bool = False
    """Language models of `char`: read characters outside the vocabulary as their UTF-8 bytes, so that nothing is
    unknown. Always so for `bpe` and `unigram`."""
    subwords: Positive = 8_000
    """Size of a `bpe` or `unigram` model."""
    window: Annotated[int, Field(ge=8)] = 256
    """Tokens the encoder sees at once; longer texts are read in windows and pooled together."""
    max_tokens: Positive = 1024
    """Tokens of a training text that are used; the rest of a longer one is left out of training (and counted in the
    log). Answers always read the whole text."""
    ngrams: Annotated[int, Field(ge=0, le=5)] = 3
    """Longest n-gram of tokens used as a side feature; 0 turns side features off."""
    ngram_min_count: Positive = 2
    """n-grams in fewer training texts are left out."""
    ngram_rows: Positive = 200_000
    """Most n-grams kept."""
    characters: Literal["none", "cnn", "bilstm"] = "none"
    """Compose word vectors from characters too."""
    vectors: str | None = None
    """Word vectors to start from: word2vec text or binary, GloVe, fastText `.vec`; plain or gzip."""
    lexicon: str = ""
    """Tagging: words that enter at every token they cover (soft-lexicon): a file with a word a line, perhaps with a
    count or a vector; or `train` for words derived from the training part: its spans, and sequences that hang
    together."""
    lexicon_rows: Positive = 20_000
    """Most words of the lexicon kept: those that training holds most often."""
    freeze_vectors: bool = False
    """Keep imported vectors as they are."""
    word_dropout: Chance = 0.2
    """Chance that a token is replaced by the unknown token in training."""
    feature_dropout: Chance = 0.0
    """Chance that an n-gram, affix, shape or lexicon word is left out at a token in training: what says too much of the
    training text is trusted less."""


class ModelSection(Section):
    """The network."""

    embedding: Positive = 128
    """Width of a token vector."""
    ngram_embedding: Annotated[int, Field(ge=0)] = 16
    """Width of the vectors of `input.ngrams` longer than one token, which join the token vectors; 0 for none."""
    ngram_start: Literal["naive-bayes", "zero"] = "zero"
    """Where the logits of n-grams start: at the log-probabilities of naive Bayes, or at zero."""
    cell: str = "lstm"
    """A recurrent cell: see `gatework tasks`."""
    units: Positive = 128
    """Units of each layer and direction."""
    layers: Positive = 1
    """Recurrent layers."""
    bidirectional: bool = True
    """Read the text in both directions."""
    residual: bool = False
    """Add a layer's input to its output where the widths agree."""
    projection: Annotated[int, Field(ge=0)] = 0
    """Recurrent projection width of cells that have one; 0 for none."""
    pooling: tuple[Literal["last", "mean", "max", "attention"], ...] = ("mean", "max")
    """How the outputs over time become one vector; several are concatenated."""
    attention: Positive = 64
    """Width of additive self-attention, where `pooling` has it."""
    character_embedding: Positive = 24
    """Width of a character vector."""
    character_units: Positive = 48
    """CNN filters, or BiLSTM units of each direction, for `input.characters`."""
    lexicon_embedding: Positive = 25
    """Width of a lexicon word's vector, where `input.lexicon` names one; four of them join each token's vector."""
    decoder: Literal["crf", "softmax"] = "crf"
    """Tagging: a linear-chain CRF over the whole sentence, or each token's likeliest tag."""
    bert: str | None = None
    """A Hugging Face encoder whose hidden layers join the token vectors: its folder, or `package:NAME` for the one
    inside an installed Python package. BERT, ELECTRA and DistilBERT with WordPiece; nothing is downloaded."""
    bert_layers: tuple[int, ...] = ()
    """Hidden layers that are read, -1 the last; of several, a mix is learnt. Not set: all but layer 0."""
    bert_pieces: Literal["first", "mean"] = "first"
    """A token's vector: that of its first piece, or the mean of its pieces."""
    bert_trained: bool = False
    """Fine-tune the BERT too (`train.bert_learning_rate`). Frozen, its layers are computed once and kept on disk."""
    language_model: str | None = None
    """A bundle of the task `lm`, of characters: its states at each token join the token vectors (contextual string
    embeddings). It is not trained further; its states are computed once and kept on disk."""
    language_model_projection: Annotated[int, Field(ge=0)] = 256
    """Width that these states are brought to before they join; 0 joins them as they are."""
    language_model_dropout: Chance = 0.3
    """Dropout on these states before that: one mask a sequence."""
    attention_kind: Literal["none", "dot", "general", "additive"] = "additive"
    """Sequence to sequence: how the writer looks at the source (Luong et al. 2015; Bahdanau et al. 2015, `attention`
    wide); `none`: it sees the summary of the source alone (Sutskever et al. 2014)."""
    input_feeding: bool = False
    """Sequence to sequence: the writer's first layer also reads what the output table last read. Slower to train."""
    coverage: bool = False
    """Sequence to sequence: additive attention also reads how much of each place was looked at. Slower to train."""
    copy_source: bool = False
    """Sequence to sequence: tokens can be copied from the source (pointer-generator, See et al. 2017)."""
    writer_units: Annotated[int, Field(ge=0)] = 0
    """Sequence to sequence: units of each layer of the writer; 0 for `units`."""
    writer_layers: Annotated[int, Field(ge=0)] = 0
    """Sequence to sequence: layers of the writer; 0 for `layers`."""
    encoder: Literal["recurrent", "transformer"] = "recurrent"
    """Sequence to sequence: what reads the source; `transformer`: pre-layer-norm, sinusoidal positions, `units` wide,
    which is `embedding` (Vaswani et al. 2017; Xiong et al. 2020)."""
    writer: Literal["recurrent", "transformer"] = "recurrent"
    """Sequence to sequence: what writes the target; a `transformer` may look at what a recurrent encoder read (Chen et
    al. 2018), and has no use for `attention_kind`, `input_feeding` and `coverage`."""
    heads: Positive = 4
    """Attention heads of a transformer."""
    feed_forward: Annotated[int, Field(ge=0)] = 0
    """Width between the two products of a transformer's layer; 0 for four times `units`."""
    dropout: Chance = 0.5
    """Dropout on every layer's outputs and on the pooled vector before the head."""
    output_dropout: Chance | None = None
    """Language models and sequence to sequence: dropout on what the head reads. Not set: as `dropout`, and of a
    transformer that writes none."""
    locked_dropout: bool = False
    """Language models: `dropout` and `output_dropout` keep one mask for all steps of a sequence."""
    embedding_dropout: Chance = 0.3
    """Variational dropout on token vectors: one mask a sequence."""
    vocabulary_dropout: Chance = 0.0
    """Language models: chance that a token has a zero vector wherever it stands in a batch (embedding dropout of
    Gal and Ghahramani 2016)."""
    variational_dropout: Chance = 0.0
    """Variational dropout on the recurrent input h: one mask a sequence (Gal and Ghahramani 2016)."""
    weight_drop: Chance = 0.0
    """DropConnect on the recurrent weights (Merity et al. 2018)."""
    zoneout: Chance = 0.0
    """Chance that a unit keeps its previous state (Krueger et al. 2017)."""
    forget_bias: float = 1.0
    """Initial forget-gate bias."""
    directions: Literal["forward", "backward", "both"] = "forward"
    """Language models: predict the next token, the one before, or both with layers of their own on one embedding."""
    tied: bool = True
    """Language models and sequence to sequence: the embedding is the output table too (Press and Wolf 2017)."""
    softmax: Literal["full", "adaptive", "sampled"] = "full"
    """Language models: over all tokens; in clusters by frequency (`cutoffs`); or, in training alone, over the wanted
    token and `negatives` drawn ones."""
    cutoffs: tuple[Positive, ...] = ()
    """Where the clusters of `softmax = "adaptive"` begin, as ranks of tokens by frequency: `[2000, 10000]`."""
    negatives: Positive = 1024
    """Tokens drawn for a step by `softmax = "sampled"`."""


class TrainSection(Section):
    """The training loop."""

    epochs: Annotated[int, Field(ge=0)] = 0
    """Passes over the training data, at most. 0 chooses by the amount of text: 12 where it is little, 3 where it is
    much (`epochs_for`)."""
    batch_tokens: Positive = 4096
    """Tokens in a batch, padding counted."""
    max_batch: Positive = 128
    """Most sequences in a batch."""
    streams: Positive = 32
    """Language models, in place of `max_batch`: parts of the text read side by side."""
    bptt: Positive = 64
    """Language models, in place of `batch_tokens`: tokens of each stream in a step; gradients end there, the state goes
    on."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Optimiser of the dense weights; n-gram rows use its lazy (sparse) form."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-3
    """Highest learning rate of the dense weights."""
    sparse_learning_rate: Annotated[float, Field(gt=0.0)] = 2e-2
    """Highest learning rate of the n-grams' logits (classification); their vectors take `learning_rate`."""
    bert_learning_rate: Annotated[float, Field(gt=0.0)] = 5e-5
    """Highest learning rate of a BERT that is fine-tuned (`model.bert_trained`)."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Decoupled for `adamw`, L2 for the others."""
    momentum: Chance = 0.9
    """Momentum of `sgd`."""
    schedule: Literal["cosine", "linear", "constant", "plateau"] = "cosine"
    """How the learning rate falls after the warm-up; `plateau` halves it when dev stops improving."""
    warmup: Chance = 0.1
    """Fraction of all steps over which the learning rate rises."""
    clip_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """Largest norm of the dense gradient."""
    accumulate: Positive = 1
    """Batches whose gradients are added before a step."""
    averaging: Literal["none", "ema", "mean", "triggered"] = "none"
    """Averaged weights for evaluation and export: exponential, the mean over the second half of training, or the mean
    from when dev has not improved for `average_after` epochs (with `sgd`, NT-ASGD of Merity et al. 2018)."""
    average_after: Positive = 5
    """Epochs without a better dev score after which `triggered` begins."""
    average_decay: Chance = 0.999
    """Decay of `ema`."""
    label_smoothing: Chance = 0.0
    """Probability mass spread over all labels (of language models: tokens) in the loss."""
    activation_penalty: Annotated[float, Field(ge=0.0)] = 0.0
    """Language models: weight of the mean square of what the head reads (Merity et al. 2018: 2)."""
    temporal_penalty: Annotated[float, Field(ge=0.0)] = 0.0
    """Language models: weight of the mean square of its change from step to step (Merity et al. 2018: 1)."""
    uncopied_weight: Chance = 0.5
    """With `model.copy_source`: part of the loss in which the writer has to say every token without copying. Without it
    what is easy to copy is not learnt, and the model learns the rest by heart."""
    scheduled_sampling: Chance = 0.0
    """Sequence to sequence: chance, by the last epoch, that the writer reads the token it finds likeliest itself in
    place of the given one; it rises from epoch to epoch (Bengio et al. 2015; in two passes, Mihaylova and Martins
    2019)."""
    teacher: str | None = None
    """Sequence to sequence: a bundle to learn from (distillation, Kim and Rush 2016), by the two options below."""
    teacher_weight: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Part of the loss that is the cross-entropy with the teacher's probabilities of every token. The vocabulary is the
    teacher's."""
    teacher_targets: Literal["none", "replace", "add"] = "none"
    """What the teacher answers to the training sources: in place of their targets, or beside them. Answered once, kept
    in the run folder."""
    start: str | None = None
    """Sequence to sequence: a bundle whose vocabulary and weights training begins with. Without `epochs` it is tuned by
    `risk_epochs` alone."""
    risk_epochs: Annotated[int, Field(ge=0)] = 0
    """Sequence to sequence: passes that bring down the expected risk of what is answered (minimum risk, Shen et al.
    2016), after those of `epochs`. With a time budget, `epochs` may take half of it."""
    risk: Literal["auto", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "per"] = "auto"
    """What is wrong with an answer: 1 - smoothed BLEU of the sentence, 1 - chrF, 1 - ROUGE, or edits a token; `auto` as
    `metric`."""
    risk_candidates: Literal["beams", "samples"] = "beams"
    """Where the answers come from whose risk is weighed: the search, or draws."""
    risk_count: Annotated[int, Field(ge=2, le=256)] = 6
    """Answers to a source; beams of the search."""
    risk_sharpness: Annotated[float, Field(gt=0.0)] = 1.0
    """Answers are weighed by their probabilities to this power."""
    risk_likelihood: Annotated[float, Field(ge=0.0)] = 0.3
    """Weight of the loss of the given targets beside the expected risk."""
    risk_learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    """Highest learning rate of these passes."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each class by the inverse of its frequency."""
    focal_gamma: Annotated[float, Field(ge=0.0)] = 0.0
    """Focal loss exponent (Lin et al. 2017); 0 is cross-entropy."""
    pretrain_epochs: Annotated[int, Field(ge=0)] = 0
    """Passes of language-model pre-training of embedding and encoder over training and unlabelled text."""
    patience: Positive = 4
    """Epochs without a better dev score, after the warm-up, before training stops."""
    metric: str = "accuracy"
    """Dev metric that chooses the best epoch."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` runs the forward pass under autocast, on processors with instructions for bfloat16 (AVX-512 BF16); on
    others it is `fp32`."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of everything random."""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 takes what the machine has."""
    checkpoint_seconds: Annotated[float, Field(gt=0.0)] = 30.0
    """Time between checkpoints inside an epoch; there is one at the end of each epoch too."""
    time_budget: Annotated[float, Field(ge=0.0)] = 0.0
    """Seconds after which training stops with the best model so far; 0 for no limit."""


class DecodeSection(Section):
    """How logits become answers. A prediction may override these."""

    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Several labels a text: each is given from this probability on, where `tune_threshold` does not choose. Without
    effect on one label a text; `gatework predict --threshold` marks such an answer `uncertain` below its own value."""
    tune_threshold: bool = True
    """Multi-label and binary: choose the thresholds that maximise F1 on dev data."""
    calibrate: bool = True
    """Fit a temperature on dev data (Guo et al. 2017); of a tagger a line through the log-odds of spans."""
    beams: Positive = 5
    """Sequence to sequence: width of the search; 1 takes the likeliest token each time."""
    length_penalty: Annotated[float, Field(ge=0.0)] = 1.0
    """Sequence to sequence: log-probabilities are divided by the length to this power; 0 prefers short answers."""
    max_ratio: Annotated[float, Field(gt=0.0)] = 2.0
    """Sequence to sequence: most tokens of a target over those of its source; ten more are always allowed."""


class ExportSection(Section):
    """The bundle."""

    weights: Literal["int8", "bf16", "fp32"] = "int8"
    """How weights are stored; arithmetic is float32 either way."""
    bert: Literal["inside", "reference"] = "inside"
    """Where the BERT of a model lies: in the bundle, or in its folder, whose SHA-256 the bundle holds."""
    language_model: Literal["inside", "reference"] = "inside"
    """Where the language model of `model.language_model` lies: in the bundle, or in its own, whose SHA-256 the bundle
    holds."""
    max_size: Annotated[int, Field(ge=0)] = 0
    """Largest bundle in bytes; vocabulary, width, n-gram rows and storage are chosen to fit. 0 for no limit."""


def epochs_for(tokens: int) -> int:
    """Passes that suit a training text of `tokens` tokens: 12 up to 50,000, then with their cube root down to 3."""
    return min(12, max(3, round(12 * math.cbrt(50_000 / max(1, tokens)))))


class Recipe(Section):
    """Everything that decides a training run."""

    task: str = "classify"
    """What to learn: see `gatework tasks`."""
    data: DataSection = DataSection()
    input: InputSection = InputSection()
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    decode: DecodeSection = DecodeSection()
    export: ExportSection = ExportSection()

    def replace(self, **sections: dict[str, Any]) -> Recipe:
        """A copy with some options of some sections set: `recipe.replace(model={"units": 64})`."""
        changed = {name: getattr(self, name).model_copy(update=values) for name, values in sections.items()}
        return self.model_copy(update=changed)

    def filled(self, defaults: Mapping[str, Mapping[str, Any]]) -> Recipe:
        """A copy with `defaults`, by section, for the options that nobody has set."""
        unsaid = {
            name: {key: value for key, value in values.items() if key not in getattr(self, name).model_fields_set}
            for name, values in defaults.items()
        }
        return self.replace(**{name: values for name, values in unsaid.items() if values})
