"""Who shows an Inside as a page. The room `page` stands below this one, so `nextword` enters here what it offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SHOWN_BY: dict[str, Callable[..., Any]] = {}
"""What shows it -> a function of an Inside and what its method takes."""
