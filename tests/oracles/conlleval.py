"""Scores of chunks as the evaluation script of CoNLL-2000 and 2003 counts them, written from its published rules.

A line is a token with its true and its guessed tag; tags are O, or B- or I- and a type. Reading down the lines, for the
true tags and the guessed ones alike:

* a chunk starts at B, at I after O, and wherever the type of a tag that is not O differs from that of the tag before;
* a chunk ends before O and before B, and before a tag of another type;
* a sentence is closed by a blank line, which counts as a line with the tag O in both columns.

A guessed chunk is right if it starts and ends on the same lines as a true chunk of the same type.

Rules: Erik Tjong Kim Sang, https://www.cnts.ua.ac.be/conll2000/chunking/conlleval.txt (2000), in words.
"""

from collections import Counter


def _parts(tag):
    return (tag, "") if tag == "O" or "-" not in tag else tuple(tag.split("-", 1))


def _starts(before, now):
    (last, last_type), (mark, kind) = before, now
    if mark == "O":
        return False
    return mark == "B" or last == "O" or last_type != kind


def _ends(before, now):
    (last, last_type), (mark, kind) = before, now
    if last == "O":
        return False
    return mark in ("O", "B") or last_type != kind


def evaluate(sentences):
    """Counts and scores of sentences [(true tag, guessed tag), ...]: overall, by type, and accuracy."""
    right, true, guessed = Counter(), Counter(), Counter()
    tokens = same = 0
    outside = ("O", "")
    for sentence in sentences:
        last_true = last_guess = outside
        in_right = False
        for pair in [*sentence, ("O", "O")]:
            a, b = map(_parts, pair)
            if in_right:
                true_ends, guess_ends = _ends(last_true, a), _ends(last_guess, b)
                if true_ends and guess_ends:
                    right[last_true[1]] += 1
                    in_right = False
                elif true_ends != guess_ends or a[1] != b[1]:
                    in_right = False
            true_starts, guess_starts = _starts(last_true, a), _starts(last_guess, b)
            if true_starts and guess_starts and a[1] == b[1]:
                in_right = True
            true[a[1]] += true_starts
            guessed[b[1]] += guess_starts
            last_true, last_guess = a, b
        tokens += len(sentence)
        same += sum(a == b for a, b in sentence)
    kinds = {kind for kind in [*true, *guessed] if true[kind] or guessed[kind]}
    return {
        "accuracy": same / tokens,
        **_scores(right.total(), guessed.total(), true.total()),
        "types": {kind: _scores(right[kind], guessed[kind], true[kind]) for kind in kinds},
    }


def _scores(right, guessed, true):
    precision = right / guessed if guessed else 0.0
    recall = right / true if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "right": right, "found": guessed, "gold": true}
