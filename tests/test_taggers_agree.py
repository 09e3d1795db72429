"""Training and answering are one tagger: the same weights give the same emissions, to 1e-5, and the same tags."""

import numpy as np
import pytest

from gatework import kernels
from gatework.cells import CELLS
from gatework.core.windows import cut_all, windows
from gatework.kernels import crf
from gatework.runtime import load
from gatework.runtime.shapes import weight_shapes
from gatework.runtime.tables import dense
from taggers import CLASSES, SENTENCES, SPANS, tag_architecture, tag_codec, write_tagger

torch = pytest.importorskip("torch")

ATOL = 1e-5
LONG = [word for sentence in SENTENCES * 7 for word in sentence]
BATCHES = (
    [["Ann"]],
    SENTENCES,
    [["Unheard", "of"], LONG[:12], LONG[:13], LONG, ["Smith"], LONG[3:60]],
)
"""Ragged: one token, exactly a window, one more, many windows."""

CASES = {
    "plain": ({"ngrams": 0, "affixes": 0}, {}),
    "n-grams and affixes": ({}, {}),
    "lexicon": ({"lexicon": True}, {}),
    "lexicon alone": ({"lexicon": True, "ngrams": 0, "affixes": 0}, {}),
    "characters cnn": ({"characters": "cnn"}, {}),
    "characters bilstm": ({"characters": "bilstm"}, {"kind": "bilstm"}),
    "everything": ({"lexicon": True, "characters": "cnn"}, {"layers": (SPANS, CLASSES), "encoder": {"layers": 2}}),
    "three layers of tags": ({}, {"layers": (CLASSES, SPANS, CLASSES)}),
    "softmax": ({}, {"decoder": "softmax", "layers": (SPANS, CLASSES)}),
    "residual": ({}, {"encoder": {"layers": 3, "residual": True}}),
    "one direction": ({}, {"encoder": {"bidirectional": False}}),
    **{
        f"{name} {ways}": (
            {"lexicon": True},
            {"encoder": {"cell": name, "bidirectional": ways == 2, "projection": 4 * cell.projects}},
        )
        for name, cell in CELLS.items()
        for ways in (1, 2)
    },
}


def built(tmp_path, case, storage="fp32"):
    """A loaded bundle of a case, and an `nn.Tagger` with the weights that are stored in it."""
    from gatework.nn import Tagger

    options, changes = CASES[case]
    changes = {"layers": (SPANS,), **changes}
    shape_of, _, codec = write_tagger(tmp_path / "m.gw", codec=tag_codec(**options), storage=storage, **changes)
    model = load(tmp_path / "m.gw")
    network = Tagger(shape_of, constraints=[layer.constraints for layer in changes["layers"]]).eval()
    network.load_weights({name: dense(model.bundle.weights, name) for name in network.to_weights()})
    return model, network, codec


def by_nn(network, codec, sentences):
    """Emissions (T, C) of each tag layer of each sentence, and their best tags."""
    from gatework.nn import to_tensors

    pieces = cut_all([codec.encode_tokens(one) for one in sentences], codec.window)
    rows = None if pieces.rows_BL is None else torch.from_numpy(pieces.rows_BL)
    lengths = torch.from_numpy(pieces.lengths_B)
    with torch.no_grad():
        emissions = network(to_tensors(codec.collate(pieces.encoded)), rows)
        tags = network.decode(emissions, lengths)

    def split(layers):
        return [[one[b, :length].numpy() for one in layers] for b, length in enumerate(lengths)]

    return split(emissions), split(tags)


def by_runtime(model, codec, sentence):
    """Emissions (T, C) of each tag layer, by every road there is."""
    part, tagger = codec.encode_tokens(sentence), model.network
    roads = [tagger._long(model.codec, part)]
    if len(sentence) <= codec.window:
        roads.append([one[:, 0] for one in tagger.emissions(codec.collate([part]))])
        roads += [[one[:, 0] for one in alone] for alone in [tagger.alone(part)] if alone is not None]
    return roads


@pytest.mark.parametrize("case", list(CASES))
def test_emissions_and_tags_agree(case, tmp_path):
    model, network, codec = built(tmp_path, case)
    spread = []
    for sentences in BATCHES:
        emissions, tags = by_nn(network, codec, sentences)
        for sentence, want in zip(sentences, emissions, strict=True):
            for road in by_runtime(model, codec, sentence):
                for got, one in zip(road, want, strict=True):
                    np.testing.assert_allclose(got, one, rtol=0, atol=ATOL * max(1.0, np.abs(one).max()))
            spread.append(want[0])
        answers = model.network.outputs(model.codec, [model.codec.encode(one) for one in sentences], {})
        for [paths], want in zip(answers, tags, strict=True):
            assert len(paths) == len(want)
            for path, best in zip(paths, want, strict=True):
                np.testing.assert_array_equal(path.tags_NT[0], best)
    assert np.ptp(np.concatenate(spread), axis=0).min() > 0.05, "tokens differ, so agreement means something"


@pytest.mark.parametrize("case", ["n-grams and affixes", "everything", "gru 1"])
def test_single_sentences_have_a_short_way(case, tmp_path):
    model, _, codec = built(tmp_path, case)
    short = kernels.level() != "numpy"
    assert (model.network.alone(codec.encode_tokens(SENTENCES[0])) is not None) == short
    assert model.network.alone(codec.encode_tokens(LONG)) is None
    strange = codec.encode_tokens(["Ann"])._replace(tokens=np.array([10**6], dtype=np.int32))
    assert model.network.alone(strange) is None


def test_names_and_shapes_are_those_of_nn():
    from gatework.nn import Tagger

    for options, changes in CASES.values():
        network = Tagger(tag_architecture(tag_codec(**options), **changes))
        named = {name: tuple(weight.shape) for name, weight in network.named_weights()}
        assert weight_shapes(network.architecture) == named


@pytest.mark.parametrize("storage", ["bf16", "int8"])
def test_smaller_storage_is_exactly_what_is_stored(tmp_path, storage):
    model, network, codec = built(tmp_path, "everything", storage)
    assert model.bundle.storage == storage
    for sentences in BATCHES:
        emissions, _ = by_nn(network, codec, sentences)
        for sentence, want in zip(sentences, emissions, strict=True):
            for road in by_runtime(model, codec, sentence):
                for got, one in zip(road, want, strict=True):
                    np.testing.assert_allclose(got, one, rtol=0, atol=ATOL * max(1.0, np.abs(one).max()))


def test_windows_of_long_sequences():
    """Every token comes once, from a window that shows a quarter of itself on either side where the sequence has it."""
    for most in (2, 3, 8, 16, 17):
        for length in range(1, 6 * most):
            found = windows(length, most)
            assert [one.first for one in found] == [0, *(one.last for one in found[:-1])]
            assert found[-1].last == found[-1].end == length
            for one in found:
                assert one.start <= one.first < one.last <= one.end or most < 4
                assert one.end - one.start == min(most, length)
                assert one.start in (0, one.first) or one.first - one.start >= most // 4
                assert one.end in (length, one.last) or one.end - one.last >= most // 4 - 1


def test_a_group_of_windows_never_shows(tmp_path, monkeypatch):
    import gatework.runtime.tagger as runtime_tagger

    model, _, _ = built(tmp_path, "everything")
    encoded = [model.codec.encode(one) for one in BATCHES[-1]]
    want = model.network.outputs(model.codec, encoded, {})
    for tokens in (1, 20, 60, 100_000):
        monkeypatch.setattr(runtime_tagger, "GROUP_TOKENS", tokens)
        got = model.network.outputs(model.codec, encoded, {})
        for [paths], [others] in zip(got, want, strict=True):
            for path, other in zip(paths, others, strict=True):
                np.testing.assert_array_equal(path.tags_NT, other.tags_NT)
                np.testing.assert_allclose(path.p_T, other.p_T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["everything", "softmax"])
def test_paths_have_their_exact_probabilities(case, tmp_path):
    """Against every legal path listed: n best, their probabilities, those of tags and of steps."""
    model, network, codec = built(tmp_path, case)
    sentence = ["New", "York", "is", "far"]
    [emissions], _ = by_nn(network, codec, [sentence])
    encoded = [model.codec.encode(sentence)]
    for count in (1, 5):
        [[paths]] = model.network.outputs(model.codec, encoded, {"top_k": count})
        for layer, (path, e_TC) in enumerate(zip(paths, emissions, strict=True)):
            scores = model.network._scores[layer]
            listed = _listed(e_TC, scores)
            for place in range(count):
                assert tuple(path.tags_NT[place]) == listed[place][1]
                assert path.log_p_N[place] == pytest.approx(np.log(listed[place][0]), abs=2e-5)
            best = listed[0][1]
            for t in range(4):
                p = sum(share for share, tags in listed if tags[t] == best[t])
                assert path.p_T[t] == pytest.approx(p, abs=1e-5)
                if t:
                    both = sum(share for share, tags in listed if tags[t - 1 : t + 1] == best[t - 1 : t + 1])
                    before = sum(share for share, tags in listed if tags[t - 1] == best[t - 1])
                    assert path.step_T[t] == pytest.approx(both / before, abs=1e-4)
            assert path.step_T[0] == path.p_T[0]


def _listed(e_TC, scores):
    """(probability, tags) of every path, best first."""
    import itertools

    every = np.array(list(itertools.product(range(e_TC.shape[1]), repeat=len(e_TC))))
    total = scores.start_K[every[:, 0]] + scores.end_K[every[:, -1]]
    total = total + e_TC[np.arange(len(e_TC)), every].sum(axis=1, dtype=np.float64)
    total = total + scores.transitions_KK[every[:, :-1], every[:, 1:]].sum(axis=1)
    share = np.exp(total - total.max())
    share /= share.sum()
    order = np.argsort(-share, kind="stable")[:1000]
    return [(share[index], tuple(every[index].tolist())) for index in order if share[index] > 0]


def test_no_path_is_ever_illegal(tmp_path):
    """Whatever the weights say: the scheme's mask is always on, for a softmax too."""
    for case in ("n-grams and affixes", "softmax"):
        model, _, _ = built(tmp_path, case)
        allowed = SPANS.constraints
        answers = model.network.outputs(model.codec, [model.codec.encode(one) for one in BATCHES[-1]], {"top_k": 7})
        for [[path, *_]] in answers:
            for tags in path.tags_NT:
                assert allowed.start_K[tags[0]]
                assert allowed.end_K[tags[-1]]
                assert allowed.transitions_KK[tags[:-1], tags[1:]].all()
            assert (np.diff(path.log_p_N) <= 1e-6).all()
            assert len({tuple(tags) for tags in path.tags_NT.tolist()}) == len(path.tags_NT)


def test_what_a_caller_forbids(tmp_path):
    """A mask gives the best path among those left, with probabilities given that."""
    model, network, codec = built(tmp_path, "n-grams and affixes")
    sentence = SENTENCES[0]
    [emissions], _ = by_nn(network, codec, [sentence])
    part = codec.encode_tokens(sentence)
    mask = np.ones((len(sentence), len(SPANS.labels)), dtype=bool)
    mask[2] = [label == "S-LOC" for label in SPANS.labels]
    [[free]] = model.network._paths(model.codec, [part], 1, None)
    [[held]] = model.network._paths(model.codec, [part], 3, [mask])
    assert free.tags_NT[0, 2] != SPANS.labels.index("S-LOC")
    assert (held.tags_NT[:, 2] == SPANS.labels.index("S-LOC")).all()
    assert held.p_T[2] == pytest.approx(1, abs=1e-6)
    e = np.where(mask, emissions[0], -np.inf)[:, None].astype(np.float32)
    lengths, scores = np.array([len(sentence)]), model.network._scores[0]
    nll = crf.nll(e, held.tags_NT[0].astype(np.int64)[:, None], lengths, scores)
    assert held.log_p_N[0] == pytest.approx(-nll[0], abs=1e-4)
    [[none]] = model.network._paths(model.codec, [part], 3, [np.zeros_like(mask)])
    assert none.log_p_N.tolist() == [-np.inf]
    assert not none.p_T.any()
    assert not none.step_T.any()
