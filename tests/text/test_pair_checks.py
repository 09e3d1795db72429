"""What `gatework check` finds in files of pairs."""

import json

from gatework.core.recipe import DataSection
from gatework.text.pair_checks import check_pairs


def problems(tmp_path, parts, *, dialogue=False, listed=False, **data):
    paths = {}
    for role, text in parts.items():
        paths[role] = tmp_path / f"{role}.tsv"
        paths[role].write_text(text, encoding="utf-8")
    report = check_pairs(paths, DataSection(**data), dialogue=dialogue, listed=listed)
    return report, {(one.kind, one.severity, one.line) for one in report.problems}


def rows(count, source="the house is number", target="das Haus hat die Nummer"):
    return "".join(f"{source} {place}\t{target} {place}\n" for place in range(count))


def test_sound_files(tmp_path):
    report, found = problems(tmp_path, {"train": rows(20), "dev": rows(5, "a dog", "ein Hund")})
    assert not found
    assert report.ok
    assert [one.examples for one in report.files] == [20, 5]
    assert any("in Latin script" in note for note in report.files[0].notes)


def test_empty_sides_are_errors_outside_training(tmp_path):
    report, found = problems(tmp_path, {"train": rows(5) + "word\t\n", "dev": "a\tb\n\tc\n"})
    assert ("empty", "warning", 6) in found
    assert ("empty", "error", 2) in found
    assert not report.ok


def test_lengths_that_do_not_go_together(tmp_path):
    long = "this is a source\t" + "und das ist ein Ziel, das viel zu lang ist " * 5 + "\n"
    _, found = problems(tmp_path, {"train": rows(20) + long})
    assert found == {("length", "warning", 21)}


def test_repeats_and_leakage(tmp_path):
    train = (
        rows(10) + "the house is number 3\tdas Haus hat die Nummer 3\n" + "the house is number 4\tein anderes Haus 4\n"
    )
    _, found = problems(tmp_path, {"train": train, "test": "the house is number 5\tHaus Nummer 5 ist das\n"})
    assert found == {("duplicate", "warning", 11), ("several", "warning", 12), ("leakage", "warning", 1)}


def test_what_dev_holds_of_test(tmp_path):
    parts = {"train": rows(10), "dev": "a tree\tein Baum\na leaf\tein Blatt\n", "test": "a leaf\tBlatt\n"}
    report, found = problems(tmp_path, parts)
    assert found == {("leakage", "warning", 1)}
    assert report.problems[0].message.endswith("dev.tsv too.")


def test_several_targets_where_they_are_right(tmp_path):
    _, found = problems(tmp_path, {"train": rows(10) + "the house is number 4\tein anderes Haus 4\n"}, listed=True)
    assert not found


def test_another_script(tmp_path):
    _, found = problems(tmp_path, {"train": rows(20) + "the house is number 99\t房子是九十九号房子在这里\n"})
    assert found == {("script", "warning", 21)}


def test_sides_the_wrong_way_round(tmp_path):
    train, dev = rows(20, target="房子是号房子在这里"), rows(5, "房子是号房子在这里", "the house is number")
    report, found = problems(tmp_path, {"train": train, "dev": dev})
    assert found == {("script", "warning", 0)}
    assert "those of" in report.problems[0].message
    assert not problems(tmp_path, {"train": train, "dev": train.replace("number", "numero")})[1]


def test_dialogues_that_training_holds_too(tmp_path):
    """Whole ones: turns, such as greetings, come again and again. Lengths of turns say nothing."""

    def line(*turns):
        return json.dumps({"turns": turns}) + "\n"

    one, other = ("hello", "hi", "how are you", "well, and you"), ("hello", "hi", "a long walk it was " * 9, "yes")
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text(line(*one) + line("good day", "good day to you", "bye") + line("yes?", "no"), encoding="utf-8")
    test.write_text(line(*other) + line(*one) + line(*one[:3]), encoding="utf-8")
    report = check_pairs({"train": train, "test": test}, DataSection(), dialogue=True, listed=False)
    assert [(one.kind, one.line) for one in report.problems if one.kind in ("leakage", "length")] == [("leakage", 2)]


def test_files_that_cannot_be_read(tmp_path):
    report, found = problems(tmp_path, {"train": "one column\n"})
    assert found == {("unreadable", "error", 1)}
    assert "one column only" in report.problems[0].message


def test_two_files_of_different_length(tmp_path):
    (tmp_path / "train.de").write_text("eins\n", encoding="utf-8")
    report, found = problems(tmp_path, {"train": "one\ntwo\n"}, train_target=str(tmp_path / "train.de"))
    assert found == {("unreadable", "error", 2)}
    assert "2 lines, but 1 in" in report.problems[0].message
