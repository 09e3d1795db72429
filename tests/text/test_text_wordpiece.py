"""WordPiece against Hugging Face `tokenizers`, character by character and on made-up tokens."""

import random
import unicodedata

import pytest

from berts import VOCABULARY
from gatework.text.wordpiece import WordPiece

IDS = {piece: index for index, piece in enumerate(VOCABULARY)}
UNKNOWN = IDS["[UNK]"]


def own(**options):
    settings = {"unknown": UNKNOWN, "lowercase": True, "strip_accents": True, **options}
    return WordPiece(VOCABULARY, **settings)


def theirs(*, lowercase=True, strip_accents=True, chinese=True):
    tokenizers = pytest.importorskip("tokenizers", reason="the oracle of WordPiece is the package tokenizers")
    model = tokenizers.models.WordPiece(IDS, unk_token="[UNK]", max_input_chars_per_word=100)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return lambda token: tokenizer.encode(token, add_special_tokens=False).ids


def test_longest_piece_first():
    cut = own()
    assert cut("Acting") == [IDS["act"], IDS["##ing"]]
    assert cut("actors") == [IDS["act"], IDS["##or"], IDS["##s"]]
    assert cut("acting-film") == [IDS["act"], IDS["##ing"], IDS["-"], IDS["film"]]


def test_what_cannot_be_cut_is_unknown():
    cut = own()
    assert cut("acting!") == [IDS["act"], IDS["##ing"], UNKNOWN]
    assert cut("actx") == [UNKNOWN]
    assert cut("😀") == [UNKNOWN]
    assert cut("a" * 100) == [IDS["a"], *[IDS["##a"]] * 99]
    assert cut("a" * 101) == [UNKNOWN]


def test_nothing_is_left_of_control_characters_and_blanks():
    cut = own()
    assert cut("") == cut(" \t\u3000") == cut("\u200d\x07\ufffd\0") == []
    assert cut("fi\u200blm") == [IDS["film"]]


def test_case_accents_and_chinese_as_the_model_was_trained():
    assert own()("CAFÉ") == [IDS["cafe"]]
    assert own(strip_accents=False)("É") == [IDS["é"]]
    assert own(lowercase=False)("Film") == [UNKNOWN]
    assert own()("中文") == [IDS["中"], IDS["文"]]
    assert own(chinese=False)("中文") == [UNKNOWN]


def test_special_pieces_in_a_text_are_text():
    assert IDS["[SEP]"] not in own()("[SEP]")
    assert own(lowercase=False)("[SEP]") == [UNKNOWN, UNKNOWN, UNKNOWN]


def test_every_character_as_tokenizers_has_it():
    """Those that are what they were in Unicode 3.2; of younger ones, the two know different versions."""
    ours, oracle = own(), theirs()
    old = unicodedata.ucd_3_2_0
    compared = 0
    for code in range(0x110000):
        character = chr(code)
        category = old.category(character)
        if category in ("Cn", "Cs", "Co") or category != unicodedata.category(character):
            continue
        if category == "Lo" and code > 0x3400:
            continue  # thousands of one kind; the ends of the Chinese ranges are tried below
        token = f"a{character}b"
        assert ours(token) == oracle(token), hex(code)
        compared += 1
    assert compared > 10_000


@pytest.mark.parametrize("character", "㐀䶿一鿿豈﫿𠀀𪛟𪜀𫜿𫝀𫠟丽𪘀가힣あア")
def test_ends_of_the_chinese_ranges(character):
    token = f"a{character}b"
    assert own()(token) == theirs()(token)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False])
@pytest.mark.parametrize("chinese", [True, False])
def test_as_tokenizers_on_mixed_tokens(lowercase, strip_accents, chinese):
    options = {"lowercase": lowercase, "strip_accents": strip_accents, "chinese": chinese}
    ours, oracle = own(**options), theirs(**options)
    rng = random.Random(7)
    parts = [*"abcABC,.-é É中文ΣİßñﬁÅ　１（’\t\u0301\u200d\xa0", "acting", "😀", "film", "a" * 60, "é" * 60]
    for _ in range(3000):
        token = "".join(rng.choices(parts, k=rng.randint(0, 6)))
        assert ours(token) == oracle(token), repr(token)
