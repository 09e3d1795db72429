"""Dialogues: what a model reads of them, where a language model's turns end, seeds, and mistakes."""

import numpy as np
import pytest

import gatework as package
import language_models
import seq2seqs
from gatework.core.errors import ConfigError, DataError
from gatework.runtime.chatting import MOST
from gatework.tasks.seq2seq import Settings
from gatework.text.running import RunningCodec

WORDS = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "猫", "🙂", "\n"])
DIALOGUES = Settings(beams=3, max_ratio=1.0, context=3, most=8)


@pytest.fixture(scope="module")
def replier(tmp_path_factory):
    path = tmp_path_factory.mktemp("reply") / "m.gw"
    seq2seqs.write_model(path, WORDS, task="reply", settings=DIALOGUES)
    return package.load(path)


def language(folder, documents="line", text="hi\nho\n猫🙂\n"):
    language_models.write_model(folder / "lm.gw", documents=documents, text=text, scale=0.3)
    return package.load(folder / "lm.gw")


def test_a_reply_reads_the_latest_turns(replier):
    chat, turns = replier.chat(beams=2), []
    for message in ("red  cat", "猫 🙂", "blue", "dog green"):
        turns.append(" ".join(message.split()))
        (want,) = replier.predict_batch([turns[-3:]], beams=2)
        assert chat.say(message).text == want.text
        turns.append(want.text)
    chat.clear()
    assert chat.say("blue").text == replier.predict_batch([["blue"]], beams=2)[0].text


def test_of_a_long_dialogue_the_oldest_turns_are_left_out(replier):
    codec = replier.codec
    shown = codec.encode(["red", "cat cat cat cat", "dog dog dog"])
    assert codec.source.decode(shown.tokens[:-1]) == "cat cat cat cat\ndog dog dog"
    assert shown.left_out == 2
    shown = codec.encode(["cat cat cat cat", "dog " * 9])
    assert codec.source.decode(shown.tokens[:-1]) == " ".join(["dog"] * 8)
    assert shown.left_out == 6
    assert codec.encode(["red", "blue"]).left_out == 0


def test_draws_come_again_with_their_seed(replier):
    one, other = replier.chat(seed=7), replier.chat(seed=7)
    said = [[chat.say(word).text for word in ("red", "red", "red", "red")] for chat in (one, other)]
    assert said[0] == said[1]
    (drawn,) = replier.predict_batch([["red"]], temperature=0.8, top_p=0.9, seed=7)
    assert said[0][0] == drawn.text
    assert replier.chat(temperature=1.0).seed is not None
    assert replier.chat(beams=2).seed is None


def test_every_reply_satisfies_the_constraint(replier):
    chat = replier.chat(constraint={"must": ("dog",)}, seed=1, max_ratio=4.0)
    for word in ("red", "blue", "cat"):
        assert "dog" in chat.say(word).text.split()


def test_a_model_of_pairs_reads_the_message_alone(tmp_path):
    seq2seqs.write_model(tmp_path / "m.gw", WORDS, task="reply")
    model = package.load(tmp_path / "m.gw")
    chat = model.chat(beams=1)
    chat.say("red cat")
    assert chat.say("dog").text == model.predict("dog", beams=1).text


@pytest.mark.parametrize("documents", ["line", "blank"])
def test_a_language_model_reads_on(tmp_path, documents):
    model = language(tmp_path, documents)
    text = model.codec.text
    stop = {} if documents == "line" else {"stop": "\n"}
    ends = np.array([text.end]) if documents == "line" else text.encode("\n")
    chat, state = model.chat(temperature=1.0, max_tokens=6, seed=3), None
    for message in ("hi", "猫🙂", "ho"):
        ids = np.concatenate([text.encode(message), ends])
        (state,) = model.network.advance([ids], None if state is None else [state])
        found = chat.say(message)
        want = model.generate("", state=state, temperature=1.0, max_tokens=6, seed=found.seed, **stop)
        assert found.text == want.text
        assert documents == "line" or "\n" not in found.text
        state = want.state
        if state.last != ends[-1]:
            (state,) = model.network.advance([ends], [state])
    assert found.state.position > 6
    chat.clear()
    assert chat.say("ho").state.position <= 3 + 6


def test_the_state_of_a_dialogue_does_not_grow(tmp_path):
    chat = language(tmp_path).chat(max_tokens=40, seed=1)
    sizes = [len(chat.say("hi ho hi ho " * 30).state.to_bytes()) for _ in range(6)]
    assert sizes[-1] == sizes[-2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"beam": 2}, "'beam' is unknown"),
        ({"seed": -1}, "seed must be"),
        ({"constraint": {"must": ("x",)}}, "no tokens"),
    ],
)
def test_options_are_looked_at_before_the_first_turn(replier, options, says):
    with pytest.raises(ConfigError, match=says):
        replier.chat(**options)


def test_mistakes(replier, tmp_path):
    for message in ("", " \n", None, "a" * (MOST + 1)):
        with pytest.raises(DataError, match="a message"):
            replier.chat().say(message)
    seq2seqs.write_model(tmp_path / "t.gw", WORDS)
    with pytest.raises(ConfigError, match="the task translate holds no dialogues"):
        package.load(tmp_path / "t.gw").chat()
    with pytest.raises(ConfigError, match="no text with line ends"):
        language(tmp_path, "blank", text="hi ho").chat()
    with pytest.raises(ConfigError, match="beams do not know where a turn ends"):
        language(tmp_path, "blank").chat(beams=2)
    assert language(tmp_path).chat(beams=2, max_tokens=5).say("hi").seed is None
