"""`gatework chat`: through a pipe and in a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

import gatework as package
import language_models
from gatework.tasks.seq2seq import Settings
from gatework.text.running import RunningCodec
from seq2seqs import write_model

WORDS = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "猫", "🙂", "\n"])
RUN = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())", "chat"]


@pytest.fixture(scope="module")
def replier(tmp_path_factory):
    path = tmp_path_factory.mktemp("chat") / "m.gw"
    write_model(path, WORDS, task="reply", settings=Settings(beams=3, max_ratio=1.0, context=3))
    return path


def test_a_line_a_reply(gatework, replier):
    chat = package.load(replier).chat(seed=4, temperature=0.7)
    want = [chat.say("red cat").text, chat.say("猫 🙂").text]
    chat.clear()
    want += ["", chat.say("dog").text]
    done = gatework(
        "chat", replier, "--set", "seed=4", "--set", "temperature=0.7", stdin="red cat\n猫 🙂\n\ndog".encode()
    )
    assert (done.status, done.lines, done.err) == (0, want, "")


def test_json_and_the_seed_that_was_drawn(gatework, replier):
    done = gatework("chat", replier, "--json", stdin="猫\n\n".encode())
    seed = int(done.err.split("--set seed=")[1])
    first, second = map(json.loads, done.lines)
    assert first["message"] == "猫"
    assert first["text"] == package.load(replier).chat(seed=seed).say("猫").text
    assert second == {"message": "", "text": ""}


def test_a_language_model_talks_too(gatework, tmp_path):
    language_models.write_model(tmp_path / "lm.gw")
    words = ["--set", "seed=2", "--set", "max_tokens=12"]
    done = gatework("chat", tmp_path / "lm.gw", *words, stdin="the cat\n一只猫 🙂\n".encode())
    chat = package.load(tmp_path / "lm.gw").chat(seed=2, max_tokens=12)
    want = [" ".join(chat.say(message).text.split()) for message in ("the cat", "一只猫 🙂")]
    assert done.lines == want


def test_mistakes(gatework, replier, tmp_path):
    write_model(tmp_path / "t.gw", WORDS)
    for words, stdin, says in (
        ([tmp_path / "t.gw"], b"hi\n", "the task translate holds no dialogues"),
        ([replier, "--set", "beam=2"], b"hi\n", "'beam' is unknown"),
        ([replier], b"red\n\xff\n", "standard input:2: not UTF-8"),
        ([replier], b"red\n" + b"a" * 100_000, "standard input:2: a message has 100,000 characters"),
    ):
        done = gatework("chat", *words, stdin=stdin)
        assert (done.status, says in done.err) == (2, True), done.err


def _terminal(bundle, *steps):
    """Exit status and screen of a chat in a terminal; each step is what to wait for, and what is typed then."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [*RUN, str(bundle), "--set", "beams=1"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    screen, ends = b"", time.monotonic() + 60
    for wanted, typed in steps:
        while wanted not in screen and select.select([leader], [], [], max(0.0, ends - time.monotonic()))[0]:
            screen += os.read(leader, 4096)
        screen = screen[screen.index(wanted) + len(wanted) :]
        if isinstance(typed, bytes):
            os.write(leader, typed)
        else:
            child.send_signal(typed)
    try:
        return child.wait(60)
    finally:
        child.kill()
        child.wait()
        os.close(leader)


def test_in_a_terminal(replier):
    reply = package.load(replier).chat(beams=1).say("猫 🙂").text.encode()
    ends = (b"A new dialogue", b"")  # the prompt after it: a Ctrl-D typed between two prompts is no end of a line
    steps = [(b"> ", "猫 🙂\n".encode()), (reply, b"\n"), ends, (b"> ", b"\n"), ends, (b"> ", b"\x04")]
    assert _terminal(replier, *steps) == 0
    assert _terminal(replier, (b"> ", signal.SIGINT)) == 130
