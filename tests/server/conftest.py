"""Small bundles of every kind, a service of all of them, and a browser to look at it with."""

import shutil

import pytest

from services import running, write_bundles

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Paths of bundles by kind. Shared: leave them as they are."""
    return write_bundles(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def everything(small):
    """A service of a model of every kind. Shared: load and unload nothing."""
    with running(small.values(), rpc=True) as service:
        yield service


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Opens the page of a service; what its console and its requests did wrong is an error at the end."""
    faults, contexts = [], []

    def visit(service, model="", *, path="", wait="#model option", may_fail=(), **options):
        context = browser.new_context(locale="en-GB", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: request.url.startswith((service.url, "data:")) or faults.append(request.url))

        def heard(message):
            known = any(str(fault) in message.text for fault in may_fail)
            if message.type in ("error", "warning") and not known:
                faults.append(message.text)

        page.on("console", heard)
        page.goto(f"{service.url}/{path}#{model}")
        page.wait_for_selector(wait, state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not faults
