"""The error of a text where a model has no vocabulary, and why it has none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


class NoVocabularyError(ValueError):
    """What is asked for needs a vocabulary, and the model has none.

    needs: who needs it, as the message begins. way_out: how it ends. reason: the error that kept it from being read.
    """

    def __init__(self, needs: str, way_out: str, reason: str = "") -> None:
        super().__init__(f"{needs} a vocabulary, which this model does not have{reason and f' ({reason})'}; {way_out}")
        self.needs, self.way_out, self.reason = needs, way_out, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.needs, self.way_out, self.reason)


def tells_why(method: Method) -> Method:
    """A method of what has a field no_tokenizer: its NoVocabularyError holds that as the reason."""

    @functools.wraps(method)
    def told(self: Any, *arguments: Any, **settings: Any) -> Any:
        try:
            return method(self, *arguments, **settings)
        except NoVocabularyError as error:
            raise NoVocabularyError(error.needs, error.way_out, self.no_tokenizer) from None

    return cast(Method, told)
