"""Every mistake gets one line on stderr and status 2: no traceback, nothing on stdout."""

import re
import subprocess
import sys

import pytest

from gatework.cli import app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predct"], r"command 'predct' is unknown\. .*Did you mean 'predict'\?"),
        (["--versoin"], r"option '--versoin' is unknown\. .*Did you mean '--version'\?"),
        (["predict"], r"predict: MODEL is missing\. See gatework predict --help"),
        (["predict", "m.gw", "x", "--tpk", "3"], r"option '--tpk' is unknown\. .*Did you mean '--top-k'\?"),
        (["predict", "m.gw", "x", "--top-k", "0"], r"predict: --top-k 0 is too small: it must be at least 1"),
        (["predict", "m.gw", "x", "--top-k", "many"], r"--top-k 'many' is not a whole number"),
        (["predict", "m.gw", "x", "--threshold", "2"], r"--threshold 2 is too large: it must be at most 1"),
        (["predict", "m.gw", "x", "--threshold", "nan"], r"--threshold nan is too small"),
        (["predict", "m.gw", "x", "--threshold"], r"--threshold.* requires an argument"),
        (["export", "m.gw"], r"export: --to is missing"),
        (["predict", "m.gw", "a", "b"], r"unexpected extra argument.*b"),
        (["predict", "missing.gw", "x"], r"missing\.gw"),
        (["info", "missing.gw"], r"missing\.gw"),
        (["info", "."], r"\."),
        (["evaluate", "missing.gw", "x.tsv"], r"missing\.gw"),
        (["export", "missing.gw", "--to", "bf16"], r"missing\.gw"),
        (["export", "missing.gw", "--to", "bf61"], r"'bf61'.*Did you mean 'bf16'\?"),
        (["init", "clasify"], r"'clasify' is unknown\. .*Did you mean 'classify'\?"),
        (["init", "-o", "no/where.toml"], r"no/where\.toml: cannot be written"),
        (["demo", "clasify"], r"demo 'clasify' is unknown\. .*Did you mean 'classify'\?"),
        (["demo", "-o", "no/where.gw"], r"no/where\.gw: cannot be written.*folder does not exist"),
        (["check", "missing.tsv"], r"missing\.tsv: no such file"),
        (["check", "."], r"a folder needs one file called train"),
        (["train"], r"train: nothing to train on"),
        (["train", "missing.tsv"], r"missing\.tsv: no such file"),
        (["train", "missing.toml"], r"missing\.toml: no such recipe"),
        (["train", "r.toml"], r"r\.toml:2: unknown key 'train\.epoch'\. Did you mean 'epochs'\?"),
        (["train", "d.tsv", "--set", "train.epoch=3"], r"--set train\.epoch=3: unknown key .*Did you mean 'epochs'\?"),
        (["train", "d.tsv", "--set", "train.epochs"], r"--set train\.epochs: expected key=value"),
        (["train", "d.tsv", "--set", "model.cell=lsmt"], r"'lsmt' is unknown\. .*Did you mean 'lstm'\?"),
        (["train", "d.tsv", "--set", "train.metric=acuracy"], r"acuracy.*Did you mean 'accuracy'\?"),
        (["train", "d.tsv", "--task", "clasify"], r"'clasify' is unknown\. .*Did you mean 'classify'\?"),
        (["train", "d.tsv", "--time-budget", "soon"], r"--time-budget 'soon' is not a duration"),
        (["train", "d.tsv", "--max-size", "small"], r"--max-size 'small' is not a size"),
        (["train", "d.tsv", "--seed", "-1"], r"--seed -1 is too small"),
        (["train", "d.tsv", "-o", "no/m.gw"], r"no/m\.gw: cannot be written.*folder does not exist"),
        (["train", "d.tsv", "-o", "."], r"\.: is a folder"),
        (["train", "d.tsv", "-o", "/proc/m.gw"], r"/proc/m\.gw: cannot be written"),
        (["train", "--resume", "no.run"], r"no\.run"),
        (["find-lr", "missing.tsv"], r"missing\.tsv: no such file"),
        (["tasks", "x"], r"tasks: .*unexpected extra argument"),
    ],
)
def test_one_line_and_status_2(gatework, tmp_path, monkeypatch, arguments, message):
    (tmp_path / "r.toml").write_text("[train]\nepoch = 3\n")
    (tmp_path / "d.tsv").write_text("".join(f"{'ab'[i % 2]}\ttext {i}\n" for i in range(40)))
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    done = gatework(*arguments)
    assert done.status == 2, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    last = done.err.rstrip("\n").split("\n")[-1]
    assert re.search(message, last), last
    assert last.startswith("gatework: ")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".run") == before, "nothing half-written"


def test_a_mistake_says_nothing_but_its_line(gatework):
    assert gatework("info", "missing.gw").err.count("\n") == 1


def test_interrupt_is_130(gatework, monkeypatch):
    monkeypatch.setattr(app, "group", _raising(KeyboardInterrupt()))
    done = gatework("tasks")
    assert (done.status, done.err) == (130, "gatework: interrupted.\n")


def test_full_disk_is_told(gatework, monkeypatch):
    monkeypatch.setattr(app, "group", _raising(OSError(28, "No space left on device", "m.gw")))
    done = gatework("tasks")
    assert (done.status, done.err) == (2, "gatework: m.gw: No space left on device.\n")


def test_a_bug_is_not_hidden(gatework, monkeypatch):
    monkeypatch.setattr(app, "group", _raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        gatework("tasks")


def _raising(error):
    def group():
        raise error

    return group


def test_a_bug_exits_with_1_and_a_traceback():
    code = (
        "import sys; from gatework.cli import app, main\n"
        "def group(): raise ZeroDivisionError('a bug')\n"
        "app.group = group; sys.exit(main(['tasks']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_warnings_are_notes(gatework, monkeypatch):
    import warnings

    def group():
        warnings.warn("slow\npath", RuntimeWarning, stacklevel=1)
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "group", group)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert gatework("tasks").err.startswith("gatework: note: slow path\n")
