"""One page of the demo model, and a server of it on a real socket."""

import threading

import pytest

import nextword
from page.browser import LANGUAGES, PROMPT, browsing, opened, page_numbers, serving, texts, visit


@pytest.fixture(scope="session")
def lm():
    return nextword.load()


@pytest.fixture
def page(lm):
    from nextword.page.calls import Page

    return Page(lm)


@pytest.fixture(scope="module")
def server(lm):
    """A Server that answers; `.client(...)` makes an httpx client that has its key."""
    for name in ("starlette", "uvicorn", "httpx"):
        pytest.importorskip(name, reason=f'needs {name}: pip install "nextword[test]"')
    import httpx

    from nextword.page.calls import Page
    from nextword.page.server import Server

    one, ready = Server(Page(lm)), threading.Event()
    thread = threading.Thread(target=lambda: one.run(ready.set))
    thread.start()
    assert ready.wait(30)

    def client(**headers):
        own = {"X-Nextword-Key": one.key, **headers}
        return httpx.Client(base_url=f"http://127.0.0.1:{one.port}", headers=own, timeout=60, trust_env=False)

    one.client = client
    yield one
    one.stop()
    thread.join(30)
    assert not thread.is_alive()


# In a real browser


@pytest.fixture(scope="module")
def browser():
    """One browser for the tests of a file: while it is open, no other event loop may run on this thread."""
    with browsing() as found:
        yield found


@pytest.fixture(scope="session")
def address():
    """The page of the bundled model, served by the command."""
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
def sorter_address():
    """The page of the bundled model that sorts letters."""
    with serving("--model", "nextword:nano-sort") as found:
        yield found


@pytest.fixture(autouse=True)
def _closed(request):
    """What a test opens in the browser is closed after it; the pages that tests share stay."""
    yield
    if "browser" in request.fixturenames:
        browser, shared = request.getfixturevalue("browser"), {page.context for page in _shared.values()}
        for context in browser.contexts:
            if context not in shared:
                context.close()


_shared = {}  # a page of each language


@pytest.fixture
def open_page(browser, address):
    """Opens a page at a view; when the test is over, none has asked anybody else for anything."""
    pages = []

    def open_(at=None, **view):
        pages.append(opened(browser, at or address, **view))
        return pages[-1]

    yield open_
    foreign = [url for page in pages for url in page.foreign]
    for page in pages:
        page.context.close()
    assert foreign == []


@pytest.fixture(scope="module")
def _pages(browser, address):
    """A page of each language, which tests share."""
    _shared.update({lang: opened(browser, address, lang=lang, prompt=PROMPT) for lang in LANGUAGES})
    yield _shared
    for page in _shared.values():
        page.context.close()
    assert [url for page in _shared.values() for url in page.foreign] == []


@pytest.fixture(params=LANGUAGES)
def lang(request):
    """Each language of the page."""
    return request.param


@pytest.fixture
def page_of(_pages, lang):
    """Visits a view in the shared page of the language, and gives the page."""
    def at(**view):
        visit(_pages[lang], lang=lang, **view)
        return _pages[lang]

    return at


@pytest.fixture
def t(lang):
    """The page's text of a key, in the language of the test."""
    return texts(lang)


@pytest.fixture(scope="session")
def exercise_numbers(lm):
    """The numbers of the exercises, from the library as it computes on this machine."""
    return page_numbers().numbers(lm)
