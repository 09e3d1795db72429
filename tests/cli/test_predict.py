"""`gatework predict`: one line in, one answer out."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from cli.reviews import TINY_SETTINGS
from gatework.cli import main

RUN = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())", "predict"]
ODD = "a\u2028b\u0085c\x0cd"


def test_a_text(gatework, model):
    done = gatework("predict", model, "a great lovely film")
    assert done.status == 0
    [line] = done.lines
    label, score = line.split("\t")
    assert label == "pos"
    assert 0.5 < float(score) <= 1
    assert gatework("predict", model, "awful boring").lines[0].startswith("neg\t")
    assert gatework("predict", model, "这 电影 很棒 好").lines[0].startswith("pos\t")


def test_answers_are_those_of_the_library(gatework, model):
    import gatework as package

    texts = ["great", "awful", "", "the town", "好 电影 很棒"]
    want = [(one.label, f"{one.score:.4f}") for one in package.load(model).predict_batch(texts)]
    done = gatework("predict", model, stdin="\n".join(texts).encode() + b"\n")
    assert [tuple(line.split("\t")) for line in done.lines] == want


LINES = [
    (b"", 0),
    (b"\n", 1),
    (b"a\n", 1),
    (b"a", 1),
    (b"\n\n\n", 3),
    (b"great\n\nawful\n", 3),
    (b"great\r\n\r\nawful\r\n", 3),
    (ODD.encode() + b"\n" + ODD.encode() + b"\n", 2),
    ("很好\n😀 👨‍👩‍👧\n".encode(), 2),
    (b"\x00\n\x01\n", 2),
    (b"\t\n \n", 2),
    (b"x\n" * 2500, 2500),
]


@pytest.mark.parametrize(("data", "count"), LINES)
@pytest.mark.parametrize("door", ["stdin", "-", "file", "gzip"])
def test_no_line_is_dropped_or_merged(gatework, model, tmp_path, data, count, door):
    if door in ("file", "gzip"):
        path = tmp_path / ("texts.txt" if door == "file" else "texts.txt.gz")
        path.write_bytes(data if door == "file" else gzip.compress(data))
        done = gatework("predict", model, path)
    else:
        done = gatework("predict", model, *(["-"] if door == "-" else []), stdin=data)
    assert (done.status, done.err) == (0, "")
    assert len(done.lines) == count
    assert all(len(line.split("\t")) == 2 for line in done.lines)


def test_windows_line_ends_change_no_answer(gatework, model):
    texts = b"great film\nawful\n\n"
    assert (
        gatework("predict", model, stdin=texts).out
        == gatework("predict", model, stdin=texts.replace(b"\n", b"\r\n")).out
    )


def test_order_is_kept_however_long_the_texts(gatework, model):
    texts = [("great " if index % 2 else "awful ") * (1 + 37 * index % 91) for index in range(120)]
    labels = [line.split("\t")[0] for line in gatework("predict", model, stdin="\n".join(texts).encode()).lines]
    assert labels == ["pos" if index % 2 else "neg" for index in range(120)]


def test_empty_lines_get_the_commonest_label(gatework, model):
    label, score = gatework("predict", model, stdin=b"\n").lines[0].split("\t")
    assert label == "pos"
    assert float(score) == pytest.approx(2 / 3, abs=1e-3)
    assert json.loads(gatework("predict", model, "--json", stdin=b"\n").out)["empty"] is True


def test_json_is_one_object_a_line(gatework, model):
    done = gatework("predict", model, "--json", stdin=b"great\nawful\n")
    values = [json.loads(line) for line in done.lines]
    assert [value["label"] for value in values] == ["pos", "neg"]
    for value in values:
        assert set(value["scores"]) == {"pos", "neg"}
        assert sum(value["scores"].values()) == pytest.approx(1, abs=1e-6)
        assert value["empty"] is False


def test_top_k(gatework, model):
    [line] = gatework("predict", model, "great", "--top-k", "2").lines
    first, p, second, q = line.split("\t")
    assert (first, second) == ("pos", "neg")
    assert float(p) + float(q) == pytest.approx(1, abs=2e-4)
    assert len(gatework("predict", model, "great", "--top-k", "9").lines[0].split("\t")) == 4
    [line] = gatework("predict", model, "great", "--top-k", "1", "--json").lines
    assert list(json.loads(line)["scores"]) == ["pos"]


def test_threshold_marks_what_is_uncertain(gatework, model):
    sure = gatework("predict", model, "great lovely", "--threshold", "0")
    unsure = gatework("predict", model, "great lovely", "--threshold", "1")
    assert len(sure.lines[0].split("\t")) == 2
    assert unsure.lines[0].split("\t")[2] == "uncertain"
    assert unsure.lines[0].split("\t")[:2] == sure.lines[0].split("\t")
    assert json.loads(gatework("predict", model, "great", "--threshold", "1", "--json").out)["uncertain"] is True


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """A model that gives none, one or two labels."""
    folder = tmp_path_factory.mktemp("several")
    lines = []
    for index in range(300):
        chosen = [name for bit, name in enumerate(("food", "staff")) if index >> bit & 1]
        words = [{"food": "tasty soup", "staff": "kind waiter"}[name] for name in chosen]
        lines.append(
            f"{' '.join(f'__label__{name}' for name in chosen or ['other'])} we were here {' '.join(words)} {index}\n"
        )
    (folder / "train.txt").write_text("".join(lines))
    settings = [*TINY_SETTINGS, "--set", "train.epochs=40", "--set", "train.patience=40", "--set", "train.metric=nll"]
    assert main(["train", str(folder / "train.txt"), "-o", str(folder / "m.gw"), *settings]) == 0
    return folder / "m.gw"


TEXTS = b"we were here tasty soup kind waiter\nwe were here tasty soup\nwe were here\n"


def test_several_labels(gatework, several):
    both, one, none = gatework("predict", several, stdin=TEXTS).lines
    assert {*both.split("\t")[::2]} == {"food", "staff"}
    assert one.split("\t")[::2] == ["food"]
    assert none.split("\t")[::2] == ["other"]
    low = gatework("predict", several, "we were here tasty soup", "--threshold", "0").lines[0].split("\t")
    assert {*low[::2]} == {"food", "staff", "other"}
    label, score = gatework("predict", several, "we were here tasty soup", "--threshold", "1").lines[0].split("\t")
    assert label == ""
    assert 0.5 < float(score) < 1
    value = json.loads(gatework("predict", several, "we were here tasty soup", "--json").out)
    assert value["labels"] == ["food"]
    assert "uncertain" not in value


def test_a_text_that_names_a_file(gatework, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "great").write_text("awful\nawful\n")
    assert [line[:3] for line in gatework("predict", model, "great").lines] == ["neg", "neg"]
    assert [line[:3] for line in gatework("predict", model, "great", "--text").lines] == ["pos"]
    assert len(gatework("predict", model, "-", "--text").lines) == 1


@pytest.mark.parametrize("text", ["", "x" * 100_000, "a\nb", "great.", "../great", "a\x0bb", "😀"])
def test_odd_texts_are_one_text(gatework, model, text):
    done = gatework("predict", model, text)
    assert (done.status, len(done.lines)) == (0, 1)


def test_a_missing_file_is_not_taken_for_a_text(gatework, model, tmp_path):
    done = gatework("predict", model, tmp_path / "texts.txt")
    assert done.status == 2
    assert "texts.txt: no such file" in done.err
    assert gatework("predict", model, "texts.txt", "--text").status == 0


def test_a_folder_is_told(gatework, model, tmp_path):
    assert "is a folder" in gatework("predict", model, tmp_path).err


def test_wrong_encoding_names_the_line(gatework, model, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("很好\n很好\n".encode() + "很好\n".encode("gb18030"))
    done = gatework("predict", model, path)
    assert done.status == 2
    assert f"{path}:3: not UTF-8" in done.err
    assert "Traceback" not in done.err


def test_chinese_survives_any_locale(model):
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    done = subprocess.run(
        [*RUN, str(model), "-"], input="很棒 好\n".encode(), capture_output=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"pos\t")


def test_a_closed_pipe_is_quiet(model, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"great film\n" * 20_000)
    with subprocess.Popen([*RUN, str(model), str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout.readline().startswith(b"pos\t")
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 0


def test_a_pipe_is_answered_while_it_is_open(model):
    with subprocess.Popen([*RUN, str(model), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        for text, label in [(b"great\n", b"pos"), (b"awful\n", b"neg")]:
            running.stdin.write(text)
            running.stdin.flush()
            assert running.stdout.readline().startswith(label)
        running.stdin.close()
        assert running.wait(timeout=60) == 0


def test_nothing_heavy_is_imported(model):
    code = (
        f"import sys; from gatework.cli import main; main(['predict', {str(model)!r}, 'great'])\n"
        "heavy = {'torch', 'pydantic', 'rich', 'sklearn', 'tokenizers', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"
