"""The reference at `/docs`: it shows what `/openapi.json` describes, and every call can be tried on it."""

import json
from urllib.parse import quote

import pytest

from services import need_extra, running

need_extra()

TOKEN = "a-long-token"


@pytest.fixture
def read(visit):
    """Opens the reference; gives a call's place on it, opened."""

    def read(service, **options):
        page = visit(service, path="docs", **{"wait": "details.call"} | options)

        def call(name):
            place = page.locator(f'[id="{name}"]')
            place.locator("summary").click()
            return place

        return page, call

    return read


def calls(service):
    paths = service.get("/openapi.json").json["paths"]
    return {f"{method.upper()} {path}": call for path, of in paths.items() for method, call in of.items()}


def answer(page, place, status):
    """What a call that is sent gets, as it is shown."""
    place.locator("button.main").click()
    line = place.locator(".status").element_handle()
    page.wait_for_function("([line, status]) => /, .* ms/.test(line.textContent)", arg=[line, status])
    assert line.inner_text().startswith(status)
    return place.locator(".answer").inner_text()


def test_every_call_is_there_in_two_languages(everything, read):
    page, call = read(everything)
    wanted = calls(everything)
    assert set(page.locator("details.call").evaluate_all("all => all.map((one) => one.id)")) == set(wanted)
    told = page.locator(".told").all_inner_texts()
    assert sorted(told) == sorted(call["summary"].replace("`", "") for call in wanted.values())
    assert page.inner_text(".told code") == "stream"
    page.click("#language")
    assert page.title() == "Gatework：接口说明"
    chinese = page.locator(".told").all_inner_texts()
    assert len(chinese) == len(wanted)
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in told) for told in chinese)
    place = page.locator("details.call").first
    place.locator("summary").click()
    assert "令牌" in place.locator(".statuses").inner_text()
    page.click("#language")
    for action in ("predict", "generate", "fill"):
        call(f"POST /v1/models/{{name}}/{action}")
    bodies = "\n".join(page.locator("details[open] pre:not(.answer)").all_inner_texts())
    assert '"count"?: integer ≥ 1 ≤ 32,  // Answers, best first, or draws.' in bodies
    assert '"split"?: "always" | "auto" | "never",  // ' in bodies
    assert "null" not in bodies.replace('"5-7": null', "")
    page.click("#language")
    bodies = "\n".join(page.locator("details[open] pre:not(.answer)").all_inner_texts())
    comments = [line.partition("//")[2] for line in bodies.split("\n") if "//" in line]
    assert len(comments) > 40
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in one) for one in comments)


def test_a_call_is_explained_and_tried(everything, read):
    page, call = read(everything)
    place = call("POST /v1/models/{name}/predict")
    assert place.locator("input").input_value() == "classify"
    assert '"text": string' in place.locator("pre").first.inner_text()
    assert "The body is too large" in place.locator(".statuses").inner_text()
    place.locator("input").fill("classify")
    place.locator("textarea").fill('{"text": "伟大 🎬"}')
    shown = json.loads(answer(page, place, "200 OK"))
    assert shown == everything.post("/v1/models/classify/predict", {"text": "伟大 🎬"}).json
    reopened = page.url
    assert "predict" in reopened
    page.goto("about:blank")
    page.goto(reopened)
    page.wait_for_selector("details.call[open] textarea")


def test_events_come_as_they_are_written(everything, read):
    page, call = read(everything)
    place = call("POST /v1/models/{name}/generate")
    assert place.locator("input").input_value() == "lm"
    shown = answer(page, place, "200 OK")
    assert shown.startswith("data: ")
    assert "event: done" in shown


def test_mistakes_are_shown_as_they_come(everything, read):
    page, call = read(everything, may_fail=(404, 400))
    place = call("GET /v1/models/{name}")
    place.locator("input").fill("none/such?")
    assert "none/such?" in json.loads(answer(page, place, "404"))["error"]
    place = call("POST /v2/models/{name}/infer")
    place.locator("textarea").fill("{")
    assert "JSON" in json.loads(answer(page, place, "400"))["error"]


def test_states_go_out_and_in_as_files(everything, read, tmp_path):
    page, call = read(everything, may_fail=(404,))
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["the cat"]}]}
    body["parameters"] = {"sequence_id": "one", "sequence_start": True}
    assert everything.post("/v2/models/lm/infer", body).status == 200
    state = everything.get("/v2/models/lm/sequences/one/state").body
    (kept := tmp_path / "state").write_bytes(state)
    place = call("GET /v2/models/{name}/sequences/{identity}/state")
    place.locator("input").nth(0).fill("lm")
    place.locator("input").nth(1).fill("one")
    assert answer(page, place, "200 OK") == f"{len(state)} bytes"
    place = call("PUT /v2/models/{name}/sequences/{identity}/state")
    assert place.locator("h3").first.inner_text() == "Body"
    assert place.locator("input").nth(0).input_value() == "lm"
    place.locator("input").nth(1).fill("two")
    place.locator("input[type=file]").set_input_files(kept)
    answer(page, place, "200 OK")
    assert everything.get("/v2/models/lm/sequences/two/state").body == state
    for name in ("one", "two"):
        assert everything.ask("DELETE", f"/v2/models/lm/sequences/{name}/state").status == 200


def test_small_screens_have_it_too(everything, read):
    page, call = read(everything, viewport={"width": 360, "height": 640})
    call("PUT /v2/models/{name}/sequences/{identity}/state")
    call("POST /v2/models/{name}/versions/{version}/infer")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_token_opens_it(small, read):
    with running([small["classify"]], tokens=(TOKEN,)) as service:
        page, call = read(service, wait="#error:not([hidden])", may_fail=(401,))
        page.fill("#token", "密码")
        page.keyboard.press("Tab")
        page.wait_for_selector("#error:has-text('no token')")
        page.fill("#token", TOKEN)
        page.keyboard.press("Tab")
        page.wait_for_selector("details.call")
        shown = json.loads(answer(page, place := call("GET /v1/models"), "200 OK"))
        page.fill("#token", "another")
        page.keyboard.press("Tab")
        page.evaluate("document.getElementById('token-row').hidden = true")
        assert "error" in json.loads(answer(page, place, "401"))
        assert page.is_visible("#token")
    assert [model["name"] for model in shown["models"]] == ["classify"]


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain"])
def test_large_answers_are_cut(everything, read, kind):
    page, call = read(everything)
    text = json.dumps([1] * 1_000_000)
    page.route("**/v1/models", lambda route: route.fulfill(body=text, content_type=kind))
    shown = answer(page, call("GET /v1/models"), "200")
    assert len(shown) == 100_002
    assert shown.endswith(" …")


def test_an_address_opens_its_call(everything, visit):
    name = "POST /v1/models/{name}/explain"
    page = visit(everything, quote(name, safe=""), path="docs", wait="details.call[open] .trial")
    assert abs(page.locator(f'[id="{name}"]').bounding_box()["y"]) < 2
    page.evaluate("name => { location.hash = name; }", "GET /v2")
    page.wait_for_selector('[id="GET /v2"][open] .trial')
    visit(everything, "100%", path="docs", wait="details.call")


def test_a_call_is_sent_by_keys_and_stopped(everything, read):
    page, call = read(everything)
    place = call("POST /v1/models/{name}/generate")
    page.evaluate("""() => {
        window.fetch = (_, { signal }) => new Promise((_, refuse) => { signal.onabort = () => refuse(signal.reason); });
    }""")
    place.locator("textarea").press("Control+Enter")
    assert place.locator(".status").inner_text() == "…"
    place.get_by_role("button", name="Stop").click()
    page.wait_for_selector(".status:has-text('stopped')")
    assert not place.get_by_role("button", name="Stop").is_visible()


@pytest.mark.parametrize("name", ["..", ".", "../../health", "a/./b"])
def test_names_that_addresses_lose_are_refused(everything, read, name):
    page, call = read(everything)
    place = call("GET /v1/models/{name}")
    place.locator("input").fill(name)
    place.locator("button.main").click()
    page.wait_for_selector(".status:has-text('cannot have a part')")
    place.locator("text=Copy as curl").click()
    assert "cannot have a part" in place.locator(".status").inner_text()


def test_copies_are_made_over_plain_http_too(everything, read):
    page, call = read(everything)
    page.evaluate("""() => {
        Object.defineProperty(navigator, "clipboard", { value: undefined });
        document.addEventListener("copy", () => { window.copied = document.activeElement.value; });
    }""")
    place = call("POST /v1/models/{name}/generate")
    place.locator("text=Copy as curl").click()
    page.wait_for_selector("text=Copied")
    assert page.evaluate("copied").startswith(f"curl -N '{everything.url}/v1/models/lm/generate' -H 'content-type")
    assert page.evaluate("document.activeElement.textContent") == "Copied"
