"""Arrays as the page gets them: a cut of an activation as float32, or as bytes for a picture, pooled to fit."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.page.answers import HeadsHeader, TensorHeader
from nextword.page.errors import Refused
from nextword.page.runs import Run

SIDE = 4096  # rows and columns of a picture, at most
FLOATS = 2**22  # numbers of an answer in float32, at most


class Binary(NamedTuple):
    """An array's bytes, little-endian, and what they are, for the header `X-Tensor`."""

    header: Any
    data: bytes


def tensor(run: Run, *, name: str, head: int | None = None, rows: str | None = None, cols: str | None = None,
           form: str = "f32", most: int | None = None) -> Binary:
    """A cut of an activation; see `answers.TensorHeader`."""
    if form not in ("f32", "u8"):
        raise Refused("bad_argument", f"tensor: as must be f32 or u8, got {form[:20]!r}", argument="as")
    x = run.activation(name)
    if head is not None:
        if x.ndim != 3 or not -len(x) <= head < len(x):
            heads = len(x) if x.ndim == 3 else 0
            raise Refused("bad_argument", f"tensor: head must be below {heads}, got {head}", argument="head")
        x = x[head]
    x = x[..., cut("rows", rows, x.shape[-2]), :][..., cut("cols", cols, x.shape[-1])]
    of, pool = list(x.shape), [1, 1]
    if most is not None:
        if not 1 <= most <= SIDE:
            raise Refused("bad_argument", f"tensor: max must be 1 .. {SIDE}, got {most}", argument="max")
        x, pool = pooled(x, most)
    if x.size > FLOATS:
        raise Refused("memory", f"tensor: {x.size} numbers are too many for one answer; ask for rows, a head or max",
                      most=FLOATS)
    told, data = (as_bytes(x) if form == "u8" else as_floats(x))
    header: TensorHeader = {"name": name, "shape": list(x.shape), "of": of, "pool": pool, **told}  # type: ignore[typeddict-item]
    return Binary(header, data)


def cut(argument: str, given: str | None, size: int) -> slice:
    """The slice of "a:b"; all of None.

    >>> cut("rows", "-1:", 7), cut("rows", "2:4", 7)
    (slice(6, 7, None), slice(2, 4, None))
    """
    if given is None:
        return slice(0, size)
    found = re.fullmatch(r"(-?\d{1,9})?:(-?\d{1,9})?", given)
    if not found:
        raise Refused("bad_argument", f"tensor: {argument} must be a:b, got {given[:20]!r}", argument=argument)
    low, high, _ = slice(*(int(x) if x else None for x in found.groups())).indices(size)
    if low >= high:
        raise Refused("bad_argument", f"tensor: {argument} must hold at least one of {size}, got {given[:20]!r}",
                      argument=argument)
    return slice(low, high)


def pooled(x: Floats, most: int) -> tuple[Floats, list[int]]:
    """The last two axes of at most so many numbers each, of each rectangle the number furthest from 0; infinite ones
    where there is none else. And the rectangle."""
    step = [-(-x.shape[-2] // most), -(-x.shape[-1] // most)]
    if step == [1, 1]:
        return x, step
    rows, cols = -(-x.shape[-2] // step[0]), -(-x.shape[-1] // step[1])
    wide = np.full((*x.shape[:-2], rows * step[0], cols * step[1]), np.nan, np.float32)
    wide[..., : x.shape[-2], : x.shape[-1]] = x
    tiles = wide.reshape(*x.shape[:-2], rows, step[0], cols, step[1]).swapaxes(-3, -2)
    tiles = tiles.reshape(*x.shape[:-2], rows, cols, -1)
    size = np.where(np.isfinite(tiles), np.abs(tiles), np.float32(-1))
    best = np.take_along_axis(tiles, size.argmax(-1)[..., None], -1)[..., 0]
    return np.ascontiguousarray(best), step


def as_floats(x: Floats) -> tuple[dict[str, Any], bytes]:
    """The numbers themselves."""
    return {**_range(x), "scale": "linear", "step": 0.0, "dtype": "f32"}, np.ascontiguousarray(x, "<f4").tobytes()


def as_bytes(x: Floats) -> tuple[dict[str, Any], bytes]:
    """A byte for a number: of numbers from 0 on the square root of the share in the largest, of signed ones the share
    in `bound`. What is not finite counts as the end of the scale."""
    told = _range(x)
    bound = told["bound"] or 1.0
    clean = np.nan_to_num(x, nan=0.0, posinf=bound, neginf=-bound)
    if told["min"] >= 0:
        share = np.sqrt(np.clip(clean / np.float32(bound), 0, 1))
        return ({**told, "scale": "sqrt", "step": bound * (1 - (254 / 255) ** 2) / 2, "dtype": "u8"},
                np.rint(share * 255).astype(np.uint8).tobytes())
    share = np.clip(clean / np.float32(bound), -1, 1)
    return ({**told, "scale": "linear", "step": bound / 254, "dtype": "u8"},
            (np.rint(share * 127) + 128).astype(np.uint8).tobytes())


def _range(x: Floats) -> dict[str, float]:
    finite = x[np.isfinite(x)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return {"min": low, "max": high, "bound": max(abs(low), abs(high))}


def heads(run: Run, size: int) -> Binary:
    """Small pictures of all heads, and the last query's row of each; see `answers.HeadsHeader`."""
    if not 1 <= size <= 64:
        raise Refused("bad_argument", f"heads: size must be 1 .. 64, got {size}", argument="size")
    model, tokens = run.host.model, len(run.ids)
    small: list[bytes] = []
    last: list[Floats] = []
    side = min(size, -(-tokens // -(-tokens // size)))
    for layer in range(model.layers):
        weights = run.activation(f"h.{layer}.attn.weights")
        picture, _ = pooled(weights, size)
        small.append(np.rint(np.sqrt(np.clip(picture, 0, 1)) * 255).astype(np.uint8).tobytes())
        last.append(weights[:, -1])
    thumbnails = b"".join(small)
    padded = thumbnails + bytes(-len(thumbnails) % 4)
    rows = np.ascontiguousarray(np.stack(last), "<f4")
    header: HeadsHeader = {"layers": model.layers, "heads": rows.shape[1], "size": side, "tokens": tokens,
                           "last": len(padded)}
    return Binary(header, padded + rows.tobytes())
