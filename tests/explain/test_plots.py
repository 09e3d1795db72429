"""Plots: that they are drawn, whole, with the right glyphs, and one clear warning where there are none."""

import warnings

import numpy as np
import pytest

from gatework.core.errors import ConfigError, OutputError
from gatework.explain import confusion_png, reliability_png
from gatework.explain import figure as figures
from gatework.tasks.classify import metrics

pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture
def scores(rng):
    def scores(labels, count=200):
        targets = rng.integers(len(labels), size=count)
        logits = rng.normal(size=(count, len(labels)))
        logits[np.arange(count), targets] += 2
        return metrics(logits, targets, labels)

    return scores


def _image(path):
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.parametrize("count", [2, 6, 40])
def test_confusion_matrix(tmp_path, scores, count):
    path = confusion_png(scores([f"label {i}" for i in range(count)]), tmp_path / "c.png", title="on test")
    assert path.read_bytes().startswith(PNG)
    assert _image(path).std() > 0.02, "something is drawn"


def test_confusion_shows_the_matrix(tmp_path):
    """The picture of a perfect matrix differs from that of a mixed one where the cells are."""
    one = {"confusion": [[9, 0], [0, 9]], "per_class": {"a": {}, "b": {}}}
    other = {"confusion": [[0, 9], [9, 0]], "per_class": {"a": {}, "b": {}}}
    pictures = [_image(confusion_png(values, tmp_path / "c.png")) for values in (one, other)]
    assert pictures[0].shape == pictures[1].shape
    assert (np.abs(pictures[0] - pictures[1]).max(axis=2) > 0.5).mean() > 0.2


def test_labels_with_dollars_and_line_breaks(tmp_path, scores):
    assert confusion_png(scores(["$x^", "a\nb", "_" * 80]), tmp_path / "c.png", title="$5").exists()


def test_reliability(tmp_path, scores):
    path = reliability_png(scores(["a", "b", "c"]), tmp_path / "r.png")
    assert path.read_bytes().startswith(PNG)
    assert _image(path).std() > 0.02


def test_no_matrix_is_an_error(tmp_path, rng):
    truth = rng.random((20, 3)) < 0.5
    seserifl = metrics(rng.normal(size=(20, 3)), truth.astype(float), list("abc"))
    with pytest.raises(ConfigError, match="no confusion matrix"):
        confusion_png(seserifl, tmp_path / "c.png")
    assert reliability_png(seserifl, tmp_path / "r.png").exists()


def test_a_place_that_cannot_be_written(tmp_path, scores):
    with pytest.raises(OutputError, match="does not exist"):
        confusion_png(scores(["a", "b"]), tmp_path / "none" / "c.png")
    with pytest.raises(OutputError, match=r"c\.jpg: pictures are PNG"):
        confusion_png(scores(["a", "b"]), tmp_path / "c.jpg")


def test_no_chinese_font_is_one_clear_warning(tmp_path, scores, monkeypatch):
    latin = frozenset(range(32, 0x250))
    monkeypatch.setattr(figures, "_installed_fonts", lambda: [("DejaVu Sans", latin), ("Other", latin)])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        confusion_png(scores(["体育", "财经"]), tmp_path / "c.png")
    messages = [str(one.message) for one in seen]
    assert len(messages) == 1
    assert "no installed font has '体经育财'" in messages[0]
    assert "fonts-noto-cjk" in messages[0]
    assert (tmp_path / "c.png").exists()


def test_a_font_installed_after_matplotlib_wrote_its_list_is_found(tmp_path, monkeypatch):
    from matplotlib import font_manager

    (damaged := tmp_path / "damaged.ttf").write_bytes(b"no font")
    known = list(font_manager.fontManager.ttflist)
    serif = next(entry.fname for entry in known if entry.fname.endswith("DejaVuSerif.ttf"))
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [one for one in known if one.name == "DejaVu Sans Mono"])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(damaged), serif])
    assert figures.font_families(["a"])[1] == "DejaVu Sans Mono"
    assert figures.font_families(["\u01c4"]) == ["DejaVu Sans", "DejaVu Serif"]  # Mono lacks the mark
    assert not figures._new_fonts()


def test_a_chinese_font_is_chosen_where_one_is_needed(monkeypatch):
    latin, chinese = frozenset(range(32, 0x250)), frozenset(range(0x4E00, 0x9FFF))
    fonts = [("DejaVu Sans", latin), ("Aardvark Hei", chinese), ("Noto Sans CJK SC", chinese | latin)]
    monkeypatch.setattr(figures, "_installed_fonts", lambda: fonts)
    assert figures.font_families(["体育", "sport"]) == ["DejaVu Sans", "Noto Sans CJK SC"]
    assert figures.font_families(["sport", "a b"]) == ["DejaVu Sans"]


def test_fonts_that_draw_boxes_for_everything_do_not_count():
    assert not any(name.startswith("Last Resort") for name, _ in figures._installed_fonts())
    assert any(name == "DejaVu Sans" for name, _ in figures._installed_fonts())
