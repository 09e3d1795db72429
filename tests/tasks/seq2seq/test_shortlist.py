"""What tokens are translated to: learnt from pairs, kept in a bundle, refused where it is not what it should be."""

import numpy as np
import pytest

from gatework.core.bundle import read_bundle
from gatework.core.errors import BundleError, ConfigError
from gatework.export import add_shortlist, restore
from gatework.runtime import load
from gatework.tasks.seq2seq.alignment import shortlist
from gatework.tasks.seq2seq.shortlist import NARROW, WIDE, Shortlist
from gatework.text.running import RunningCodec
from language_models import write_model as write_language_model
from seq2seqs import write_model

WORDS = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "rot", "blau", "katze", "hund"])


def pairs(rng, count=300):
    """Targets are sources in another order, each token 20 higher; 2 ends both."""
    for _ in range(count):
        source = rng.integers(3, 20, rng.integers(2, 7))
        yield np.append(source, 2), np.append(rng.permutation(source) + 20, 2)


def test_translations_are_learnt_from_pairs_whatever_their_order():
    made = shortlist(pairs(np.random.default_rng(2)), 20, 40, frequent=3, each=4)
    assert made.table_VK[3:20, 0].tolist() == list(range(23, 40))
    assert made.table_VK[:2].tolist() == [[0] * 4] * 2
    assert 2 in made.frequent_F
    assert len(made.frequent_F) == 3
    assert made.ids(np.array([5, 9, 2]), 1, 40, np.array([0, 7])).tolist() == sorted(
        {25, 29, 7, *made.frequent_F.tolist()}
    )


def test_without_pairs_there_is_nothing():
    made = shortlist([], 5, 6, frequent=3, each=2)
    assert made.frequent_F.size == 0
    assert not made.table_VK.any()


@pytest.mark.parametrize(("outputs", "name"), [(40, NARROW), (70_000, WIDE)])
def test_an_entry_is_read_back(outputs, name):
    made = Shortlist(np.array([3, 5, outputs - 1]), np.array([[0, 0], [7, outputs - 2], [9, 0]]))
    entries = made.to_entries(outputs)
    assert list(entries) == [name]
    again = Shortlist.from_entries(entries, 3, outputs, source="x.gw")
    assert again.frequent_F.tolist() == made.frequent_F.tolist()
    assert again.table_VK.tolist() == made.table_VK.tolist()
    assert Shortlist.from_entries({}, 3, outputs, source="x.gw") is None
    data = entries[name]
    for bad in (b"", data[:1], data[:-1], data[:-4], data + data[:4], b"\xff" * len(data), b"\0" * len(data)):
        with pytest.raises(BundleError, match=rf"x\.gw: {name}"):
            Shortlist.from_entries({name: bad}, 3, outputs, source="x.gw")
    with pytest.raises(BundleError, match=name):
        Shortlist.from_entries(entries, 4, outputs, source="x.gw")
    with pytest.raises(BundleError, match=name):
        Shortlist.from_entries({name: data}, 3, outputs - 1, source="x.gw")


def test_a_bundle_gets_a_list(tmp_path):
    write_model(tmp_path / "m.gw", WORDS)
    (tmp_path / "pairs.tsv").write_text("red cat\trot katze\nblue cat\tblau katze\nred dog\trot hund\nblue\tblau\n" * 9)
    info = add_shortlist(tmp_path / "m.gw", tmp_path / "l.gw", tmp_path / "pairs.tsv", each=2, frequent=1)
    assert info.nbytes == (tmp_path / "l.gw").stat().st_size
    model, plain = load(tmp_path / "l.gw"), load(tmp_path / "m.gw")
    table = model.codec.shortlist.table_VK
    for one, other in (("red", "rot"), ("blue", "blau"), ("cat", "katze"), ("dog", "hund")):
        assert table[WORDS.encode(one)[0], 0] == WORDS.encode(other)[0]
    assert model.predict("red cat").text == plain.predict("red cat").text
    likely = {"rot", "blau", "katze", "hund"}
    for one in (
        answer := model.predict("red cat", shortlist=True, count=2, replace_unknown=False),
        *answer.alternatives,
    ):
        assert set(one.text.split()) <= likely
    assert not set(plain.predict("red cat", replace_unknown=False).text.split()) <= likely
    restore(tmp_path / "l.gw", tmp_path / "again.gw", storage="bf16")
    assert bytes(read_bundle(tmp_path / "again.gw").entry(NARROW)) == bytes(
        read_bundle(tmp_path / "l.gw").entry(NARROW)
    )
    write_language_model(tmp_path / "lm.gw")
    with pytest.raises(ConfigError, match=r"lm\.gw: a shortlist is of sequence to sequence, not of the task lm"):
        add_shortlist(tmp_path / "lm.gw", tmp_path / "no.gw", tmp_path / "pairs.tsv")
    assert load([tmp_path / "m.gw", tmp_path / "l.gw"]).predict("red cat").text
