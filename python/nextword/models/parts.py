"""Layers as a tree: where what a model holds stands in it, and a copy in which some of it is another.

The tree's branches are lists and the attributes of objects; modules, such as a layer's ops, are none.
"""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, TypeVar

Path = tuple[str | int, ...]  # attributes and places in lists, from the root on
Part = TypeVar("Part")


def places_of(part: Any, names: Mapping[int, str]) -> dict[str, Path]:
    """Where each object stands, by its name; one that stands in several places, at the first. names: by `id`."""
    places = {id(found): path for path, found in reversed([*_walk(part, names, ())])}
    return {name: places[key] for key, name in names.items()}


def parts_of(part: Any, kind: type[Part]) -> Iterator[Part]:
    """The objects of a class, in their order in the tree; one that stands in several places, as often."""
    if isinstance(part, kind):
        yield part
    else:
        for _, one in _branches(part):
            yield from parts_of(one, kind)


def part_at(part: Any, path: Path) -> Any:
    """What stands there."""
    for step in path:
        part = part[step] if isinstance(step, int) else getattr(part, step)
    return part


def replaced(part: Any, new: Mapping[int, Any]) -> Any:
    """A copy that has other objects in the place of some, by their `id`. What holds none of these is shared."""
    if id(part) in new:
        return new[id(part)]
    if isinstance(part, list):
        found = [replaced(one, new) for one in part]
        return part if all(a is b for a, b in zip(found, part, strict=True)) else found
    changed = {str(name): other for name, one in _branches(part) if (other := replaced(one, new)) is not one}
    if not changed:
        return part
    found = object.__new__(type(part))  # what `copy` does would import, which nothing may while the interpreter ends
    vars(found).update(vars(part) | changed)
    return found


def _walk(part: Any, names: Mapping[int, str], path: Path) -> Iterator[tuple[Path, Any]]:
    if id(part) in names:
        yield path, part
        return
    for step, one in _branches(part):
        yield from _walk(one, names, (*path, step))


def _branches(part: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(part, list):
        yield from enumerate(part)
    elif hasattr(part, "__dict__") and not isinstance(part, ModuleType | type):
        yield from vars(part).items()
