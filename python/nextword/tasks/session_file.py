"""Files of sessions: the format, written whole or not at all, and checked before anything of it is believed.

A session's file is a safetensors file, so that other tools can open it:

    ids        int64   [tokens]                 the text
    keys.N     [held, heads * width]            keys of the first `held` tokens in layer N, as the cache stores them
    values.N   [held, heads * width]            their values
    scales.N   float32 [held, heads, 2]         of an int8 cache: the scales of keys and of values
    metadata   format "nextword session", version "2",
               kv_dtype: "float32", "bfloat16" (uint16 here) or "int8"; "float32" where it is missing,
               model: what the model looks like, for messages,
               fingerprint: of all of its weights and its configuration, vocabulary: of its vocabulary, "" where it
               has none (fingerprint.py),
               checksum: BLAKE2b of the whole file with the checksum's own 64 digits as zeros

held <= tokens; what is not held is encoded again. Keys and values depend on the instruction set in their last bits.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nextword.files import whole
from nextword.models.cache import PANEL, KVCache
from nextword.models.model import Model
from nextword.tasks.fingerprint import model_fingerprint, vocabulary_fingerprint
from nextword.text.tokenizer import Tokenizer

FORMAT, VERSION = "nextword session", "2"
ZEROS = "0" * 64
HEADER_LIMIT = 1 << 20  # bytes; a model of 3,000 layers needs half of it
BLOCK = 1 << 20


def write_session(path: Path, model: Model, tokenizer: Tokenizer | None, ids: Sequence[int], cache: KVCache,
                  held: int) -> None:
    """Write the ids and the first `held` tokens of slot 0. The file that was there stays until the new one is whole.

    Raises OSError that names the file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[Any]] = {"ids": np.array(ids, np.int64)}
    for layer, (keys, values, scales) in enumerate(cache.layers()):
        heads, width = keys.shape[1], keys.shape[3]
        k = keys[0].swapaxes(2, 3).reshape(heads, cache.capacity, width)[:, :held]                # [heads, held, width]
        v = values[0].swapaxes(1, 2).reshape(heads, cache.capacity, -1)[:, :held, :width]      # [heads, held, width]
        for name, x in (("keys", k), ("values", v)):
            tensors[f"{name}.{layer}"] = np.ascontiguousarray(x.swapaxes(0, 1)).reshape(held, heads * width)
        if cache.dtype == "int8":
            tensors[f"scales.{layer}"] = np.ascontiguousarray(scales[0, :, :, :held].transpose(2, 0, 1))
    about = {"format": FORMAT, "version": VERSION, "model": model.sizes, "fingerprint": model_fingerprint(model),
             "vocabulary": vocabulary_fingerprint(tokenizer) if tokenizer else "", "kv_dtype": cache.dtype,
             "checksum": ZEROS}

    def fill(part: Path) -> None:
        try:
            save_file(tensors, part, about)
        except SafetensorError as error:
            raise OSError(str(error)) from None
        with part.open("r+b") as file:
            header = read_header(file)
            found = checksum(file, header, ZEROS)
            file.seek(8 + header.index(ZEROS.encode()))
            file.write(found.encode())

    whole.write("save", {path: fill})


def read_session(path: Path, model: Model, tokenizer: Tokenizer | None) -> tuple[list[int], KVCache]:
    """The ids of a session's file, and a cache whose slot 0 holds the first of them.

    Raises OSError for a file that cannot be read, ValueError for one that is damaged, of another version, another model
    or vocabulary, or no session's at all; each names the file and the way out.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():  # is_file does not wait as opening a pipe would
            path.stat()
            raise ValueError(f"resume: {path} is no file; pass the path that Session.save was given")
        with path.open("rb") as file:
            check_file(file, path, model, tokenizer)
        with safe_open(path, framework="numpy") as tensors:
            return take(tensors, path, model)
    except OSError as error:
        raise type(error)(f"resume: {path} cannot be read ({error.strerror or error}); "
                          "pass the path that Session.save was given") from None
    except (SafetensorError, MismatchError) as error:
        raise ValueError(f"resume: {path} is damaged or was not written by Session.save ({error}); "
                         "take another copy of it or begin the session anew") from None


class MismatchError(Exception):
    """A file whose parts contradict each other or the model."""


def read_header(file: BinaryIO) -> bytes:
    """The JSON of a safetensors file, which then stands at its data. Raises MismatchError if its length is wrong."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise MismatchError(f"its header claims {length} bytes, the file has {size}")
    if length > HEADER_LIMIT:
        raise MismatchError(f"its header claims {length} bytes, more than any session needs")
    return file.read(length)


def checksum(file: BinaryIO, header: bytes, digits: str) -> str:
    """BLAKE2b of the file, whose header has been read, with `digits` in the header taken as zeros."""
    digest = hashlib.blake2b(len(header).to_bytes(8, "little"), digest_size=32)
    digest.update(header.replace(digits.encode(), ZEROS.encode()))
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def check_file(file: BinaryIO, path: Path, model: Model, tokenizer: Tokenizer | None) -> None:
    """Raise unless the file is whole and a session of this model. Reads it in blocks and trusts no length in it."""
    header = read_header(file)
    try:
        about = json.loads(header)["__metadata__"]
        kind, version, digits = (str(about.get(name)) for name in ("format", "version", "checksum"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MismatchError("its header is not a session's") from None
    if kind != FORMAT:
        raise MismatchError("it is a safetensors file of another kind")
    if version != VERSION:
        raise ValueError(f"resume: {path} has version {version[:20]!r} of the format, this nextword reads {VERSION!r}; "
                         "use the nextword that wrote it, or begin the session anew")
    if not re.fullmatch("[0-9a-f]{64}", digits) or header.count(digits.encode()) != 1:
        raise MismatchError("its checksum is unreadable")
    if checksum(file, header, digits) != digits:
        raise MismatchError("its checksum is not that of its content")
    if about.get("fingerprint") != model_fingerprint(model):
        saved = str(about.get("model"))[:200]
        here = "has other weights or another configuration" if saved == model.sizes else f"has {model.sizes}"
        raise ValueError(f"resume: {path} is a session of another model ({saved}), this one {here}; "
                         "load the model that it was saved with")
    spelled = about.get("vocabulary")
    if tokenizer is not None and spelled and spelled != vocabulary_fingerprint(tokenizer):
        raise ValueError(f"resume: {path} is a session of another vocabulary, by which its ids are another text; "
                         "load the model with the vocabulary files that it was saved with")
    held_as = str(about.get("kv_dtype", "float32"))
    if held_as != model.kv_dtype:
        raise ValueError(f"resume: {path} holds keys and values as {held_as[:20]}, this model takes {model.kv_dtype}; "
                         f"load it with kv_dtype={held_as[:20]!r}, or begin the session anew")


def take(tensors: Any, path: Path, model: Model) -> tuple[list[int], KVCache]:
    """Ids and cache from an opened safetensors file, one tensor in memory at a time."""
    size, cols = model.vocabulary, model.kv_heads * model.head_width

    def get(name: str, dtype: str, *shape: int | None) -> NDArray[Any]:
        if name not in names:
            raise MismatchError(f"{name} is missing")
        view = tensors.get_slice(name)
        found = view.get_shape()
        if view.get_dtype() != dtype or len(found) != len(shape) or any(
            want not in (None, got) for want, got in zip(shape, found, strict=True)
        ):
            raise MismatchError(f"{name} is {view.get_dtype()} {found}")
        array: NDArray[Any] = tensors.get_tensor(name)
        return array

    names = set(tensors.keys())
    ids = get("ids", "I64", None)
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        raise MismatchError(f"an id is outside of 0 .. {size - 1}")
    stored = {"float32": "F32", "bfloat16": "U16", "int8": "I8"}[model.kv_dtype]
    held = len(get("keys.0", stored, None, cols))
    if held > max(0, len(ids) - 1):
        raise MismatchError(f"keys.0 has {held} tokens for {len(ids)} ids")
    if held > model.limit:
        raise ValueError(f"resume: {path} must fit into the context window of {model.limit} tokens, got {held}; "
                         "load the model with the context that it was saved with")
    cache = model.cache(1, held)
    for layer, (keys, values, scales) in enumerate(cache.layers()):
        _, heads, panels, width, _ = keys.shape
        k, v = (get(f"{name}.{layer}", stored, held, cols) for name in ("keys", "values"))
        whole = np.zeros((2, cache.capacity, heads, values.shape[2] * PANEL), k.dtype)  # both, by token
        whole[:, :held, :, :width] = k.reshape(held, heads, width), v.reshape(held, heads, width)
        keys[0] = whole[0, :, :, :width].reshape(panels, PANEL, heads, width).transpose(2, 0, 3, 1)
        values[0] = whole[1].reshape(cache.capacity, heads, -1, PANEL).transpose(1, 2, 0, 3)
        if cache.dtype == "int8":
            scales[0, :, :, :held] = get(f"scales.{layer}", "F32", held, heads, 2).transpose(1, 2, 0)
    cache.lengths[0] = held
    return ids.tolist(), cache
