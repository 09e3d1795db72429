"""The loop of the runners over recipes."""

import json
import shlex
import sys
from pathlib import Path

from benchmarks import trained
from benchmarks.language_sets import SETS

GATEWORK = """
import json, pathlib, sys
arguments = sys.argv[1:]
if "lm-tang" in arguments[1]:
    sys.exit(3)
pathlib.Path(arguments[arguments.index("-o") + 1]).write_text(" ".join(arguments))
print("{}")
"""
"""A command line that writes what it was asked for, and fails for one set."""


def test_trains_what_is_missing_and_goes_on_after_a_failure(tmp_path, capsys):
    (tmp_path / "fake.py").write_text(GATEWORK)
    (folder := tmp_path / "models").mkdir()
    (folder / "lm-ptb-gru.gw").write_text("was there")
    words = ["--out", str(out := tmp_path / "out.jsonl"), "--option=--quiet"]
    words += ["--gatework", shlex.join([sys.executable, str(tmp_path / "fake.py")])]
    given = trained.arguments(None, "unused.jsonl").parse_args(words)
    chosen = [SETS[name] for name in ("lm-ptb", "lm-tang", "lm-shakespeare")]

    def figures(gatework: list[str], one: object, bundle: Path) -> dict[str, object]:
        return {"bytes": 1_500_000, "told": bundle.read_text()}

    failed = trained.over(
        chosen, folder, given, figures, lambda one, result: "0.5", ending="-gru", options=["--set", "model.cell=gru"]
    )
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert failed == ["lm-tang"]
    assert [(one["system"], one["set"]) for one in records] == [
        ("gatework-gru", "lm-ptb"), ("gatework-gru", "lm-shakespeare")
    ]  # fmt: skip
    assert records[0]["told"] == "was there"
    assert records[1]["told"].endswith("--json --quiet --set model.cell=gru")
    assert "lm-shakespeare-gru: 0.5 in 1.50 MB" in capsys.readouterr().err
    assert (trained.verdict(failed), trained.verdict([])) == (1, 0)
    assert capsys.readouterr().err == "failed: lm-tang\n"
