"""The page: its files, and in a browser every kind of model, mistakes, tokens, two languages."""

import pytest

import language_models
import seq2seqs
from gatework.explain import explain
from gatework.runtime import load
from gatework.tasks.seq2seq import Settings
from gatework.text.running import RunningCodec
from services import need_extra, running

need_extra()

from gatework.server.page import OWN, PLACES, SHARED  # noqa: E402

TOKEN = "a-long-token"


def test_the_page_and_all_it_names_are_there(everything):
    page = everything.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert everything.get("/docs").headers["content-type"] == "text/html; charset=utf-8"
    for name in {*OWN, *SHARED} - set(PLACES):
        got = everything.get(f"/page/{name}")
        assert got.status == 200
        again = everything.get(f"/page/{name}", headers={"if-none-match": got.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    assert everything.get("/page/other.js").status == 404
    assert everything.get("/page/../service.py").status == 404


@pytest.mark.parametrize(("kind", "text"), [("classify", "a great film"), ("tag", "Ann Lee"), ("lm", "the cat")])
def test_why_is_what_the_library_says(everything, small, kind, text):
    got = everything.post(f"/v1/models/{kind}/explain", {"text": text, "limit": 2}).json
    want = explain(load(small[kind]), text, limit=2)
    assert got["model"] == kind
    assert got["gates"]["tokens"] == want["gates"]["tokens"]
    assert got["tokens"] == want["tokens"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "text"),
        ({"text": " "}, "nothing to read"),
        ({"text": "a", "label": "nice"}, "label 'nice' is unknown"),
        ({"text": "a", "label": 3}, "label must be a string"),
        ({"text": "a", "limit": 100_000}, "limit must be a whole number"),
        ({"text": "a", "limit": True}, "limit must be a whole number"),
    ],
)
def test_mistakes_about_why(everything, body, message):
    got = everything.post("/v1/models/classify/explain", body)
    assert got.status == 422
    assert message in got.json["error"]


def test_a_classifier_answers_as_one_types(everything, visit):
    page = visit(everything, "classify")
    assert "kB" in page.inner_text("#about")
    page.fill("#text", "a great film 🎬")
    page.wait_for_selector("#answer .first")
    assert "%" in page.inner_text("#answer")
    assert "ms" in page.inner_text("#status")
    page.click("#why summary")
    page.wait_for_selector("#explanation canvas")
    assert page.inner_text("#explanation .tokens") == "a great film 🎬"
    colours = "e => [e, e.firstElementChild].map(one => getComputedStyle(one).color)"
    faint, legend = page.eval_on_selector("#explanation .tokens + .note", colours)
    assert legend != faint, "words on a colour are read"
    page.select_option("#explanation .controls label:nth-child(2) select", "f")
    page.focus("#explanation canvas")
    page.keyboard.press("ArrowRight")
    assert "unit" in page.inner_text("#explanation [aria-live]")


def test_a_tagger_colours_spans(everything, small, visit):
    page = visit(everything, "tag")
    text = "Mr Smith met Ann Lee in New York ."
    page.fill("#text", text)
    page.wait_for_selector("#answer .spans:has-text('Smith')")
    spans = load(small["tag"]).predict(text).spans
    assert page.locator("#answer mark").count() == len(spans)


def test_a_language_model_writes_and_fills(everything, visit):
    page = visit(everything, "lm")
    page.fill("#text", "the ")
    page.fill("input[name=max_tokens]", "40")
    page.fill("input[name=must]", "cat")
    page.click("#actions button")
    page.wait_for_selector("#status:has-text('tokens')")
    assert "cat" in page.inner_text("#answer .written")
    page.fill("#text", "the ___ sat")
    page.click("text=Fill the gaps")
    page.wait_for_selector("#answer li")


def test_words_stand_apart_from_the_prompt(visit, tmp_path):
    language_models.write_model(path := tmp_path / "words.gw", unit="word", seed=3)
    with running([path]) as service:
        page = visit(service, "words")
        page.fill("#text", "the cat")
        page.fill("input[name=max_tokens]", "5")
        page.fill("input[name=must]", "mat")
        page.click("#actions button")
        page.wait_for_selector("#status:has-text('tokens')")
        written = page.inner_text("#answer .written").split()
    assert written[:2] == ["the", "cat"]
    assert "mat" in written


def test_a_language_models_mistake_is_told(everything, visit):
    page = visit(everything, "lm", may_fail=(422,))
    page.fill("#text", "the ")
    page.fill("input[name=temperature]", "-1")
    page.click("#actions button")
    page.wait_for_selector("#error:not([hidden])")
    assert "temperature" in page.inner_text("#error")


def test_a_translator_shows_where_it_looked(everything, visit):
    page = visit(everything, "translate")
    page.fill("#text", "red cat")
    page.fill("input[name=count]", "2")
    page.wait_for_selector("#answer li")
    page.click("#why summary")
    page.wait_for_selector("#explanation canvas")
    assert "looked" in page.inner_text("#explanation h3 >> nth=0")


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    """A service of the tasks that write from sources, and its bundles; `deaf` reads one message, no dialogue."""
    folder = tmp_path_factory.mktemp("writers")
    words = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "runs"])
    tasks = {"summarize": 0, "transduce": 0, "reply": 3}
    paths = {name: folder / f"{name}.gw" for name in (*tasks, "deaf")}
    for name, path in paths.items():
        settings = Settings(beams=3, max_ratio=1.0, context=tasks.get(name, 0))
        seq2seqs.write_model(path, words, task=name if name in tasks else "reply", settings=settings)
    with running(paths.values()) as service:
        yield service, paths


@pytest.mark.parametrize("name", ["summarize", "transduce"])
def test_what_is_written_from_a_source_comes_as_one_types(writers, visit, name):
    service, paths = writers
    page = visit(service, name)
    page.fill("#text", "red cat runs")
    page.wait_for_selector("#answer .written")
    assert page.inner_text("#answer .written") == load(paths[name]).predict("red cat runs").text.strip()
    assert name in page.inner_text("#about")
    page.click("#why summary")
    page.wait_for_selector("#explanation canvas")


def turns(page, count):
    """The bubbles of a dialogue, once there are so many and none is awaited."""
    page.wait_for_function("count => document.querySelectorAll('.turn:not(.waits)').length === count", arg=count)
    return [text.partition(": ")[2] for text in page.locator(".turn").all_text_contents()]


@pytest.mark.parametrize("name", ["reply", "deaf"])
def test_a_dialogue_goes_on_turn_by_turn(writers, visit, name):
    service, paths = writers
    page, model = visit(service, name), load(paths[name])
    assert page.inner_text("#answer") == "Say something."
    options = {"temperature": 0.8, "seed": 3}
    page.fill("input[name=seed]", "3")
    page.fill("#text", " red cat ")
    page.keyboard.press("Enter")
    first = model.predict("red cat", **options).text
    assert turns(page, 2) == ["red cat", first or "(nothing)"]
    assert page.input_value("#text") == ""
    page.fill("#text", "blue")
    page.keyboard.press("Shift+Enter")
    assert page.input_value("#text") == "blue\n"
    page.click("text=Send")
    heard = ["red cat", first, "blue"] if name == "reply" else "blue"
    second = model.predict_batch([heard], **options)[0].text
    assert turns(page, 4) == ["red cat", first or "(nothing)", "blue", second or "(nothing)"]
    page.click("#why summary")
    page.wait_for_selector("#explanation canvas")
    page.fill("input[name=seed]", "8")
    page.click("text=Another reply")
    other = model.predict_batch([heard], **options | {"seed": 8})[0].text
    page.wait_for_function("text => document.querySelector('.turn:last-child').textContent.endsWith(text)", arg=other)
    assert len(turns(page, 4)) == 4
    assert '"blue"' in page.text_content("#curl")
    page.click("text=New dialogue")
    assert page.inner_text("#answer") == "Say something."


def test_a_turn_that_fails_is_taken_back(writers, visit):
    page = visit(writers[0], "reply", may_fail=(422,))
    page.fill("input[name=temperature]", "-1")
    page.fill("#text", "red")
    page.keyboard.press("Enter")
    page.wait_for_selector("#error:not([hidden])")
    assert "temperature" in page.inner_text("#error")
    assert page.input_value("#text") == "red"
    assert page.locator(".turn").count() == 0
    page.fill("input[name=temperature]", "")
    page.click("#language")
    page.click("text=发送")
    assert turns(page, 2)[0] == "red"
    page.select_option("#model", "summarize")
    assert page.locator(".turn").count() == 0


def test_kinds_of_spans_are_told_not_tags(everything, visit):
    page = visit(everything, "tag")
    labels = everything.get("/v1/models/tag").json["labels"]
    assert any(label.startswith("B-") for label in labels)
    kinds = {label[2:] for label in labels if label != "O"}
    assert set(page.inner_text("#about").rpartition(" · ")[2].split(", ")) == kinds


def test_both_languages_and_small_screens(everything, visit):
    page = visit(everything, "classify", viewport={"width": 360, "height": 640})
    page.click("#language")
    assert page.inner_text("#text-label") == "文本"
    page.fill("#text", "伟大 " * 40)
    page.wait_for_selector("#answer .first")
    page.click("#why summary")
    page.wait_for_selector("#explanation canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click("#language")
    assert page.inner_text("#text-label") == "Text"


def test_a_token_is_asked_for(small, visit, monkeypatch, capsys):
    with running([small["classify"]], tokens=(TOKEN,)) as service:
        page = visit(service, wait="#error:not([hidden])", may_fail=(401,))
        assert "token" in page.inner_text("#error")
        page.fill("#token", TOKEN)
        page.keyboard.press("Tab")
        page.wait_for_selector("#model option", state="attached")
        page.fill("#text", "a great film")
        page.wait_for_selector("#answer .first")
        curl, python = page.text_content("#curl"), page.text_content("#python")
        assert ' -H "authorization: Bearer $GATEWORK_TOKEN" ' in curl
        assert TOKEN not in curl + python
        monkeypatch.setenv("GATEWORK_TOKEN", TOKEN)
        exec(python, {})
        assert "scores" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["", "docs"])
def test_what_other_pages_keep_is_left_alone(everything, visit, path):
    wait = "details.call" if path else "#model option"
    page = visit(everything, path=path, wait=wait)
    page.evaluate("for (const name of ['language', 'gatework-language']) localStorage.setItem(name, 'de')")
    page.reload()
    page.wait_for_selector(wait, state="attached")
    assert page.inner_text("#language") == "中文"
    page.add_init_script("""for (const name of ["localStorage", "sessionStorage"]) {
        Object.defineProperty(window, name, { get() { throw new DOMException("blocked", "SecurityError"); } });
    }""")
    page.reload()
    page.wait_for_selector(wait, state="attached")
    page.click("#language")
    assert page.inner_text("#language") == "English"


def test_an_address_that_is_malformed(everything, visit):
    assert visit(everything, "100%").is_hidden("#error")


HELD = """() => {
    const ask = window.fetch;
    window.fetch = (url, options) => {
        if (!url.endsWith("/generate")) return ask(url, options);
        const body = new ReadableStream({ start(stream) {
            window.write = (text) => stream.enqueue(new TextEncoder().encode(`data: ${JSON.stringify({ text })}\n\n`));
            options.signal.onabort = () => stream.error(options.signal.reason);
        } });
        return Promise.resolve(new Response(body));
    };
}"""
"""A stream that writes what a test has it write."""


def test_what_is_done_while_a_model_writes_leaves_it_be(everything, visit):
    page = visit(everything, "lm")
    page.fill("#text", "the ")
    page.click("text=Write")
    page.wait_for_selector("#status:has-text('tokens')")
    page.evaluate(HELD)
    page.click("text=Write")
    page.evaluate("write('cat')")
    page.wait_for_selector("#answer .written:has-text('the cat')")
    assert page.inner_text("#status") == ""
    page.fill("#text", "a dog")
    page.click("#language")
    page.evaluate("write(' sat')")
    page.wait_for_selector("#answer .written:has-text('the cat sat')")
    page.click("text=停止")
    page.wait_for_selector("text=续写")
    assert page.inner_text("#status") == "已停止"
    page.click("#why summary")
    page.wait_for_selector("#explanation canvas")
    assert page.inner_text("#explanation .tokens").startswith("the cat sat")


def test_a_service_that_went_away_is_told(small, visit):
    with running([small["classify"]]) as service:
        page = visit(service, may_fail=("net::ERR_CONNECTION_REFUSED",))
    page.fill("#text", "a great film")
    page.wait_for_selector("#error:not([hidden])")
    assert "does not answer" in page.inner_text("#error")
