"""The page from Python: opened in the browser, written to one file, shown in a notebook. What it needs is imported
where it is used, as `nextword` imports this file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nextword.inside.inside import Inside
    from nextword.page.server import Server
    from nextword.tasks.language_model import LanguageModel
    from nextword.text.ids import Prompt


def explain_page(lm: LanguageModel, prompt: Prompt = "", *, compare: str | None = None, lang: str | None = None,
                 port: int = 0, open_browser: bool = True) -> Server:
    """Serve the page of `nextword explain` to this machine, beside the program, until it ends or `.stop()` is called.

    prompt: the text, or token ids, to begin with; "" begins with an example. compare: a second text to set beside the
    first. lang: "de", "en", or None, the browser's. port: 0 takes any that is free. open_browser: opens the page; its
    `.address` can be opened by hand at any time, by who has its key. Needs `pip install "nextword[serve]"`.
    Returns the Server: `.address`, `.stop()`, `.wait()` until Ctrl-C; a context manager that stops it.
    Raises ImportError with the way out without the extra, ValueError or TypeError that names the argument, OSError for
    a port that is taken.

    >>> import nextword
    >>> with nextword.explain_page(nextword.load(), "Once upon a time", open_browser=False) as page:
    ...     page.address.startswith("http://127.0.0.1:")
    True
    """
    from nextword.page.calls import Page
    from nextword.page.server import Server, opened, require
    from nextword.page.view import View, view_of

    require()
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"explain_page: port must be 0 .. 65535, got {port!r}")
    empty = isinstance(prompt, str) and not prompt
    view = view_of("explain_page", lm, " " if empty else prompt, (), compare, lang)
    if empty:
        view = View(compare=compare, lang=lang)
    server = Server(Page(lm, view.start()), port, view.fragment())
    server.begin()
    if open_browser:
        opened(server.address)
    return server


def html(x: Inside, path: str | PathLike[str] | None, lang: str | None) -> str | None:
    """See `Inside.html`."""
    from nextword.page.single import file_of, write_view
    from nextword.page.view import view_of

    lm: Any = x.host
    view = view_of("html", lm, x.ids, x.interventions, None, lang)
    if path is None:
        return file_of(lm, view)
    write_view("html", lm, view, Path(path))
    return None


def widget(x: Inside, height: int, lang: str | None) -> Any:
    """See `Inside.widget`."""
    from nextword.page.view import view_of
    from nextword.page.widget import widget_of

    lm: Any = x.host
    return widget_of(lm, view_of("widget", lm, x.ids, x.interventions, None, lang), height)
