"""Sentences of running text: marks, abbreviations, numbers, quotes, lines, scripts."""

import pytest

from gatework.text.sentences import gaps, sentences


def cut(text):
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", []),
        (" \n\t ", []),
        ("One sentence", ["One sentence"]),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("  Two  spaces.   Kept?  ", ["Two  spaces.", "Kept?"]),
        ("Mr. Smith met Dr. Jones. They talked.", ["Mr. Smith met Dr. Jones.", "They talked."]),
        ("J. S. Bach wrote it. So did I. We sang.", ["J. S. Bach wrote it.", "So did I.", "We sang."]),
        ("It costs 3.50 dollars. Or 4.", ["It costs 3.50 dollars.", "Or 4."]),
        ("See no. 5 of vol. 2. I said no. Then I left.", ["See no. 5 of vol. 2. I said no.", "Then I left."]),
        ("Am 3. Mai kam er. Das war 1990. Danach nicht.", ["Am 3. Mai kam er.", "Das war 1990.", "Danach nicht."]),
        ("Es gibt z.B. Brot, d.h. Essen. Ärger auch.", ["Es gibt z.B. Brot, d.h. Essen.", "Ärger auch."]),
        ("„Geh!“ „Nein.“ Er blieb.", ["„Geh!“", "„Nein.“", "Er blieb."]),
        ('He said "stop." Then he went.', ['He said "stop."', "Then he went."]),
        ("Wait... what? Yes... No.", ["Wait... what?", "Yes...", "No."]),
        ("visit example.com now. Then go!", ["visit example.com now.", "Then go!"]),
        ("你好。你叫什么名字？我叫小明！", ["你好。", "你叫什么名字？", "我叫小明！"]),
        ("他说：“走吧。”我们走了。", ["他说：“走吧。”", "我们走了。"]),
        ("一行\n另一行。完", ["一行", "另一行。", "完"]),
        ("A line\r\n\r\nanother one. Two", ["A line", "another one.", "Two"]),
        ("。！ ?", ["。！", "?"]),
    ],
)
def test_sentences(text, want):
    assert cut(text) == want


@pytest.mark.parametrize("text", ["", " a. B\n\nc。d! ", "x", "。。。", " \n "])
def test_gaps_and_sentences_are_the_whole_text(text):
    spans = sentences(text)
    between = gaps(text, spans)
    assert len(between) == len(spans) + 1
    whole = between[0] + "".join(text[a:b] + gap for (a, b), gap in zip(spans, between[1:], strict=True))
    assert whole == text


def test_a_long_text_is_cut_in_linear_time():
    text = "A cat. " * 60_000 + "." * 100_000 + "x" * 100_000
    assert len(sentences(text)) == 60_001
