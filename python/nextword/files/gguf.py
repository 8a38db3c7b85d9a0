"""The header of a GGUF file: what it says of itself, and where its tensors lie. Every claim is held against the file
before anything is made as large as it says. What the names mean is in gguf_names.py and gguf_config.py."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nextword.arithmetic.blocks import KINDS
from nextword.files import whole
from nextword.machine.shown import listed, quoted

__all__ = ["GGUF", "Entry"]

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # the same but for the order of bytes, which may be the other in 3
HEADER_LIMIT = 1 << 27  # bytes that are read at all; those of a vocabulary of 200,000 tokens take a tenth
MOST_NAMES = 1 << 16  # of tensors, and of metadata; the largest models have a few thousand
TEXT_LIMIT = 1 << 24  # bytes of one text; the longest there is, a chat template, takes a thousandth

# The format's numbers of kinds. Those of KINDS are read; the others are named in an error.
KIND_NUMBERS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K",
                11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
                19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
                27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}  # fmt: skip
# Values by the format's numbers: how `struct` reads them.
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
MOST_DIMENSIONS = 4


class Entry(NamedTuple):
    """One tensor as the header describes it; begin and end count bytes from the file's start.

    shape: as NumPy has it, the numbers of a row last (the file has them first).
    """

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


class GGUF:
    """A GGUF file, its header read and mapped into memory.

    metadata: by name a number, a text, True or False; a list of texts; or an array of numbers. tensors: by name.
    data: uint8 [bytes], the file as it is mapped. after_metadata: where the metadata end.

    Raises FileNotFoundError if it is not there, ValueError that names the file for anything else that is wrong: another
    kind of file, an older version, the other order of bytes, sizes that it does not have, kinds that are not read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not whole.present("weights", path):
            raise FileNotFoundError(f"weights: there is no file {path}")
        with path.open("rb") as file:
            try:
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise ValueError(f"weights: {path} is empty; fetch the file again") from None
        reader = _Header(path, self.map)
        tensors = reader.begin()
        self.metadata = reader.metadata()
        self.after_metadata = reader.at
        self.tensors = reader.tensors(tensors, self.metadata.get("general.alignment", 32))
        self.data = np.frombuffer(self.map, np.uint8)

    def vocabulary(self) -> bytes:
        """A file of the metadata alone, the vocabulary among it, without tensors."""
        return self.map[:8] + bytes(8) + self.map[16 : self.after_metadata]

    def forget(self, name: str) -> None:
        """Give the pages of a tensor back to the system. A later read maps them again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            entry = self.tensors[name]
            begin = entry.begin // mmap.PAGESIZE * mmap.PAGESIZE
            if begin < entry.end:
                self.map.madvise(mmap.MADV_DONTNEED, begin, entry.end - begin)


class _Header:
    """Reads a header from front to back; `at` is the next byte."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.size = path, data, len(data)
        self.at, self.limit = 0, min(len(data), HEADER_LIMIT)

    def begin(self) -> int:
        """The magic word, the version and the counts; returns how many tensors there are."""
        again = "fetch or convert the model again"
        if self.data[:4] != MAGIC:
            raise ValueError(f"weights: {self.path} is no GGUF file: it begins with {self.data[:4]!r}; {again}")
        self.at = 4
        version = self.number("I", "the version")
        if version not in VERSIONS:
            other = int.from_bytes(int(version).to_bytes(4, "little"), "big")
            why = f"is big-endian, version {other}" if other in VERSIONS else f"has version {version}"
            raise ValueError(f"weights: {self.path} {why}; little-endian files of version 2 or 3 are read: convert the "
                             "model with a newer converter, or take another file of it")
        tensors = int(self.number("Q", "the number of tensors"))
        self.count = int(self.number("Q", "the number of metadata"))
        for count, what in ((tensors, "tensors"), (self.count, "metadata")):
            if count > MOST_NAMES:
                raise self.damaged(f"it claims {count:,} {what}; {MOST_NAMES:,} are read")
        return tensors

    def metadata(self) -> dict[str, Any]:
        """All names and values."""
        found: dict[str, Any] = {}
        for _ in range(self.count):
            name = self.text("a name")
            if name in found:
                raise self.damaged(f"it has the metadata {quoted(name)} twice")
            found[name] = self.value(int(self.number("I", f"the type of {quoted(name)}")), quoted(name))
        return found

    def value(self, kind: int, name: str) -> Any:
        """A value of a type."""
        if kind == TEXT:
            return self.text(name)
        if kind in NUMBERS:
            return self.number(NUMBERS[kind], name)
        if kind != ARRAY:
            raise self.damaged(f"{name} has the type {kind}, which the format does not have")
        of, count = int(self.number("I", name)), int(self.number("Q", name))
        if of == ARRAY:
            raise self.damaged(f"{name} is an array of arrays, which no model needs")
        if of == TEXT:
            self.need(8 * count, f"{name}, which claims {count:,} texts,")
            return self.texts(count, name)
        if of not in NUMBERS:
            raise self.damaged(f"{name} is an array of the type {of}, which the format does not have")
        code = np.dtype("<" + NUMBERS[of])
        self.need(code.itemsize * count, f"{name}, which claims {count:,} numbers,")
        raw = self.data[self.at : self.at + code.itemsize * count]
        self.at += len(raw)
        if NUMBERS[of] == "?" and raw.strip(b"\0\1"):
            raise self.damaged(f"{name} has a truth value that is neither 0 nor 1")
        return np.frombuffer(raw, code)

    def texts(self, count: int, name: str) -> list[str]:
        """Texts one after the other, as many as a vocabulary has."""
        found: list[str] = []
        size, data, at, limit = struct.Struct("<Q").unpack_from, self.data, self.at, self.limit
        try:
            for _ in range(count):
                (length,) = size(data, at)
                end = at + 8 + length
                if length > TEXT_LIMIT or end > limit:
                    break
                found.append(data[at + 8 : end].decode())
                at = end
        except (struct.error, UnicodeDecodeError):
            pass
        self.at = at
        return found if len(found) == count else [self.text(name)]  # which says what is wrong

    def text(self, what: str) -> str:
        """A text."""
        length = int(self.number("Q", what))
        if length > TEXT_LIMIT:
            raise self.damaged(f"{what} claims a text of {length:,} bytes; {TEXT_LIMIT:,} are read")
        self.need(length, f"{what}, a text of {length:,} bytes,")
        raw = self.data[self.at : self.at + length]
        self.at += length
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.damaged(f"{what} holds a text that is no UTF-8") from None

    def number(self, code: str, what: str) -> int | float | bool:
        """A number; what is a truth value must be 0 or 1."""
        size = struct.calcsize("<" + code)
        self.need(size, what)
        raw = self.data[self.at : self.at + size]
        self.at += size
        if code == "?" and raw not in (b"\0", b"\1"):
            raise self.damaged(f"{what} has a truth value that is neither 0 nor 1")
        found: int | float | bool = struct.unpack("<" + code, raw)[0]
        return found

    def tensors(self, count: int, alignment: Any) -> dict[str, Entry]:
        """Where each tensor lies, which is behind the header, within the file, and where no other does."""
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self.damaged(f"'general.alignment' must be a power of two up to 2^20, and is {str(alignment)[:60]}")
        told: dict[str, tuple[str, tuple[int, ...], int]] = {}
        unread: dict[str, str] = {}
        for _ in range(count):
            name = self.text("the name of a tensor")
            if name in told:
                raise self.damaged(f"it has the tensor {quoted(name)} twice")
            dimensions = int(self.number("I", f"tensor {quoted(name)}"))
            if not 1 <= dimensions <= MOST_DIMENSIONS:
                raise self.damaged(f"tensor {quoted(name)} has {dimensions} dimensions; expected 1 to 4")
            sizes = [int(self.number("Q", f"tensor {quoted(name)}")) for _ in range(dimensions)]
            number = int(self.number("I", f"tensor {quoted(name)}"))
            if number not in KIND_NUMBERS:
                raise self.damaged(f"tensor {quoted(name)} has the kind {number}, which is unknown")
            if KIND_NUMBERS[number] not in KINDS:
                unread[name] = KIND_NUMBERS[number]
            offset = int(self.number("Q", f"tensor {quoted(name)}"))
            told[name] = KIND_NUMBERS[number], tuple(reversed(sizes)), offset
        if unread:
            raise ValueError(f"weights: {self.path} holds {listed(unread, 1)} as {next(iter(unread.values()))}; "
                             f"read are {', '.join(KINDS)}: take a file of the model in one of them, such as Q4_K_M "
                             "or Q8_0")
        start = -(-self.at // alignment) * alignment
        found = {name: self.placed(name, *one, start, alignment) for name, one in told.items()}
        before, end = "", start
        for name, entry in sorted(found.items(), key=lambda one: one[1].begin):
            if entry.begin < end:
                raise self.damaged(f"the tensors {quoted(before)} and {quoted(name)} overlap")
            before, end = name, entry.end
        return found

    def placed(self, name: str, kind: str, shape: tuple[int, ...], offset: int, start: int, alignment: int) -> Entry:
        """The tensor's place."""
        numbers, size = KINDS[kind]
        count = 1
        for n in shape:
            count *= n
        if not count or shape[-1] % numbers:
            raise self.damaged(f"tensor {quoted(name)} of shape {list(shape)} has no whole blocks of {kind} in a row")
        end = start + offset + count // numbers * size
        if offset % alignment:
            raise self.damaged(f"tensor {quoted(name)} begins at {offset:,}, no multiple of the alignment {alignment}")
        if end > self.size:
            raise self.damaged(f"tensor {quoted(name)} of shape {list(shape)} ends at byte {end:,}, and the file has "
                               f"{self.size:,}")
        return Entry(kind, shape, start + offset, end)

    def need(self, size: int, what: str) -> None:
        """Raises ValueError unless so many bytes are left."""
        if size <= self.limit - self.at:
            return
        if self.limit < self.size:
            raise ValueError(f"weights: {self.path} has a header of more than {HEADER_LIMIT:,} bytes; expected that of "
                             "one model")
        raise self.damaged(f"it ends within {what} at byte {self.at:,}")

    def damaged(self, why: str) -> ValueError:
        return ValueError(f"weights: {self.path} is truncated or damaged: {why}")
