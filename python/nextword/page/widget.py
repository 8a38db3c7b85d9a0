"""The page in a notebook: a widget whose view is a frame without rights, and whose messages a `Desk` answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from nextword.machine.shown import is_integer, shown
from nextword.page.calls import Page
from nextword.page.desk import Desk
from nextword.page.single import frame, plain
from nextword.page.view import View

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel

MODULE = Path(__file__).with_name("widget.js")
HEIGHTS = 200, 5000  # pixels
THEMES = ("light", "dark")
_desks: WeakKeyDictionary[LanguageModel, Desk] = WeakKeyDictionary()  # all widgets of a model share its runs


def widget_of(lm: LanguageModel, view: View, height: int) -> Any:
    """A widget that shows a view. Raises ImportError with the way out without anywidget, ValueError for a height that
    no frame has."""
    if not is_integer(height) or not HEIGHTS[0] <= height <= HEIGHTS[1]:
        raise ValueError(f"widget: height must be {HEIGHTS[0]} .. {HEIGHTS[1]} pixels, got {shown(height)}")
    made = kind()
    if lm not in _desks:
        _desks[lm] = Desk(Page(lm))
    return made(_desks[lm], view, height, lm)


@cache
def kind() -> Any:
    """The class of the widgets."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError(f'widget: the notebook needs {error.name}; pip install "nextword[notebook]". Without it, '
                          "x.html(path) writes the page, and results show themselves") from None

    class Widget(anywidget.AnyWidget):  # type: ignore[misc]
        """The page in a notebook; see `Inside.widget`. height: of its frame, in pixels."""

        _esm = MODULE.read_text("utf-8")
        height = traitlets.Int().tag(sync=True)

        def __init__(self, desk: Desk, view: View, height: int, lm: LanguageModel) -> None:
            super().__init__(height=height)
            self._desk, self._shown, self._lm = desk, view, lm
            self.on_msg(self._heard)

        def _heard(self, _: Any, content: Any, buffers: Any) -> None:
            """A message of a frame; the first of a view asks for the page itself."""
            if not isinstance(content, dict) or content.get("page") is not True:
                self._desk.hear(content, self._shown.start(), self.send)
                return
            view, theme = content.get("view"), content.get("theme")
            if isinstance(view, str):
                fragment = self._shown.fragment()
                if theme in THEMES:
                    fragment += f"&{urlencode({'theme': theme})}"
                self.send({"view": view, "html": frame(fragment)})

        def _repr_mimebundle_(self, **more: Any) -> Any:
            """The widget, and tables without a script for where no widget can be, such as pages that show a notebook
            that nobody runs."""
            found = super()._repr_mimebundle_(**more)
            if found is None:
                return None
            run = Page(self._lm).run({"prompt": self._shown.prompt, "lens": {"top": 1}})
            data, about = found if isinstance(found, tuple) else (found, {})
            return {**data, "text/html": plain(run)}, about

        def __repr__(self) -> str:
            return f"Widget({self._shown.prompt[:40]!r})"

    return Widget
