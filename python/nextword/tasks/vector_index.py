"""An index of text files: their passages, a vector for each, and the passages nearest in meaning to a question."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops
from nextword.arithmetic.arrays import Floats, Ints
from nextword.arithmetic.vectors import descending
from nextword.files import whole
from nextword.files.sentence_files import Dense
from nextword.machine import memory
from nextword.tasks.fingerprint import model_fingerprint
from nextword.tasks.passages import passages
from nextword.tasks.text_encoder import TextEncoder
from nextword.tasks.text_files import TextFiles

__all__ = ["Found", "VectorIndex"]

MARK, VERSION = "nextword.index", 1
DTYPES = ("float32", "int8")
TOKENS = 128  # of a passage, if the encoder takes as many
QUERY, PASSAGE = "query", ("passage", "document")  # names of the prompts that models for search have
BAND = 4096  # vectors that are worked on at once

Progress = Callable[[int, int], None]


class Found(NamedTuple):
    """A passage that was found. score: the cosine of its vector and the question's. It stands in the file's characters
    start .. end, from this line on (counted from 1)."""

    score: float
    file: str
    line: int
    start: int
    end: int
    text: str


class _File(NamedTuple):
    """What is known of a file: it is read again where size or time differ, and embedded anew where the digest does."""

    path: str
    size: int
    time: int
    digest: str


class VectorIndex:
    """Passages of text files and their vectors, of length 1. `build` makes one, `open` reads one.

    dtype: how the vectors are held: "float32", or "int8" in a bit more than a quarter, each with a scale.
    vectors: float32 [passages, width], or int8; scales: float32 [passages] of int8's, else empty.
    changes: how many files the last build found "new", "changed", "kept" and "gone"; skipped: what it left out and why.
    """

    def __init__(self, header: dict[str, Any], vectors: NDArray[Any], scales: Floats, spans: Ints, texts: bytes,
                 ends: Ints) -> None:
        self._header, self.vectors, self.scales = header, vectors, scales
        self._spans, self._texts, self._ends = spans, texts, ends  # spans: file, start, end, line of each passage
        self._files = [_File(*one) for one in header["files"]]
        self._packed: Any = None
        self._encoder: TextEncoder | None = None  # the last that has searched
        self.changes: dict[str, int] = {}
        self.skipped: dict[Path, str] = {}

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"VectorIndex({len(self):,} passages of {len(self._files):,} files, {self.width} x {self.dtype})"

    @property
    def files(self) -> list[str]:
        """The paths of the files, absolute."""
        return [one.path for one in self._files]

    @property
    def model(self) -> str | None:
        """Where `nextword.load` finds the encoder; None if it was put together by hand."""
        return None if self._header["model"] is None else str(self._header["model"])

    @property
    def dtype(self) -> str:
        """How the vectors are held."""
        return str(self._header["dtype"])

    @property
    def tokens(self) -> int:
        """Of a passage, at most."""
        return int(self._header["tokens"])

    @property
    def held(self) -> str | None:
        """The dtype that the encoder was loaded with; None: as it is stored."""
        return None if self._header["held"] is None else str(self._header["held"])

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.vectors.shape[1])

    @classmethod
    def build(cls, encoder: TextEncoder, paths: Sequence[str | os.PathLike[str]], *, dtype: str = "float32",
              tokens: int | None = None, old: "VectorIndex | None" = None,
              progress: Progress | None = None) -> "VectorIndex":
        """Read text files, and those below folders, cut them into passages and embed these.

        tokens: of a passage, at most; None: 128, or what the encoder takes. dtype: of the vectors.
        old: an index of before, whose passages are kept for files that have not changed; those of files that are not
            among the paths any more are dropped.
        progress: called with (files done, all).
        Files of a folder that are no UTF-8 text are left out (`skipped`), as are hidden ones.
        Raises OSError or ValueError for a named file that cannot be read, an unknown dtype, tokens out of range, or an
        old index of another encoder or other settings.
        """
        most = _room(encoder)
        size = min(TOKENS, most) if tokens is None else tokens
        if dtype not in DTYPES:
            raise ValueError(f"index: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        if type(size) is not int or not 1 <= size <= most:
            raise ValueError(f"index: tokens must be 1 .. {most} (what the encoder takes), got {size!r}")
        header = {"version": VERSION, "dtype": dtype, "tokens": size, "encoder": _mark(encoder),
                  "model": None if encoder.source is None else encoder.source.path,
                  "held": None if encoder.source is None else encoder.source.dtype,
                  "passage": _passage_prompt(encoder)}  # fmt: skip
        if old is not None:
            for one in ("encoder", "passage", "dtype", "tokens"):
                if old._header[one] != header[one]:
                    told = "" if one == "encoder" else f" ({old._header[one]}, now {header[one]})"
                    raise ValueError(f"index: the old one has another {one}{told}; give the same, or make it anew")
        return _Build(encoder, TextFiles(paths), header, old).run(progress)

    def search(self, encoder: TextEncoder, question: str, k: int = 10) -> list[Found]:
        """The `k` passages whose vectors point most in the direction of the question's, the nearest first; all are
        compared (exact search).

        encoder: the one that it was built with. Raises ValueError for another, or if k is below 1.
        """
        if type(k) is not int or k < 1:
            raise ValueError(f"search: k must be a number of passages, at least 1, got {k!r}")
        if encoder is not self._encoder and _mark(encoder) != self._header["encoder"]:
            raise ValueError("search: the index was built with another encoder, or one held in another dtype; load "
                             f"{self.model or 'that'} (dtype {self._header['held'] or 'as stored'}), or build it anew")
        self._encoder = encoder  # its numbers are read once
        vector = encoder.embed([question], QUERY if QUERY in encoder.prompts else None, normalize=True)
        if not len(self):
            return []
        scores = ops.matmul(vector, self._matrix(), None)[0]
        return [self._found(int(n), float(scores[n])) for n in descending(scores)[:k]]

    def passage(self, number: int) -> Found:
        """A passage by its number, that of its vector; its score is NaN. Raises IndexError if there is none."""
        if not 0 <= number < len(self):
            raise IndexError(f"index: passages are 0 .. {len(self) - 1}, got {number}")
        return self._found(number, float("nan"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, whole or not at all. Raises OSError that names it where that cannot be."""
        from safetensors.numpy import save

        tensors = {"vectors": self.vectors, "scales": self.scales, "spans": self._spans, "ends": self._ends,
                   "texts": np.frombuffer(self._texts, np.uint8)}  # fmt: skip
        whole.write("index", {Path(path): save(tensors, {MARK: json.dumps(self._header)})})

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "VectorIndex":
        """Read a file of `save`. Raises OSError or ValueError that names it where it is none."""
        from safetensors import SafetensorError, safe_open

        if not whole.present("index", Path(path)):
            raise FileNotFoundError(f"index: there is no file {path}")
        try:
            with safe_open(path, "np") as file:
                given = (file.metadata() or {}).get(MARK)
                if given is None:
                    raise ValueError(f"index: {path} is no index of nextword")
                header = json.loads(given)
                if header.get("version") != VERSION:
                    raise ValueError(f"index: {path} is of version {header.get('version')}, and this nextword reads "
                                     f"{VERSION}; build it anew")
                parts = {name: file.get_tensor(name) for name in ("vectors", "scales", "spans", "texts", "ends")}
            _check(header, parts)
            return cls(header, parts["vectors"], parts["scales"], parts["spans"], parts["texts"].tobytes(),
                       parts["ends"])
        except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeError) as error:
            raise ValueError(f"index: {path} is no index of nextword, or damaged ({error}); build it anew") from None

    def _matrix(self) -> Any:
        """The vectors as a matrix of the product."""
        if self._packed is None:
            memory.require("search", f"{len(self)} vectors", 9 * self.vectors.size, "index fewer files")
            self._packed = ops.pack_transposed(self.floats(0, len(self)), self.dtype)
        return self._packed

    def floats(self, begin: int, end: int) -> Floats:
        """Vectors as float32 [end - begin, width]."""
        some = self.vectors[begin:end]
        return some if self.dtype == "float32" else some * self.scales[begin:end, None]

    def _text(self, number: int) -> str:
        return self._texts[self._ends[number - 1] if number else 0 : self._ends[number]].decode()

    def _found(self, number: int, score: float) -> Found:
        file, start, end, line = self._spans[number].tolist()
        return Found(score, self._files[file].path, line, start, end, self._text(number))


class _Build:
    """An index on its way."""

    def __init__(self, encoder: TextEncoder, files: TextFiles, header: dict[str, Any], old: VectorIndex | None) -> None:
        self.encoder, self.files, self.header, self.old = encoder, files, header, old
        self.known = {} if old is None else {one.path: n for n, one in enumerate(old._files)}
        self.changes = dict.fromkeys(("new", "changed", "kept", "gone"), 0)
        self.taken: list[_File] = []
        self.vectors: list[NDArray[Any]] = []
        self.scales: list[Floats] = []
        self.spans: list[Ints] = []
        self.texts: list[bytes] = []

    def run(self, progress: Progress | None) -> VectorIndex:
        for done, path in enumerate(self.files.paths):
            self._take(path)
            if progress is not None:
                progress(done + 1, len(self.files.paths))
        self.changes["gone"] = len(set(self.known) - {one.path for one in self.taken})
        width, kind = self.encoder.width, np.float32 if self.header["dtype"] == "float32" else np.int8
        found = VectorIndex(
            self.header | {"files": self.taken},
            np.concatenate([np.empty((0, width), kind), *self.vectors]),
            np.concatenate([np.empty(0, np.float32), *self.scales]),
            np.concatenate([np.empty((0, 4), np.int64), *self.spans]),
            b"".join(self.texts), np.cumsum([len(one) for one in self.texts], dtype=np.int64))  # fmt: skip
        found.changes, found.skipped = self.changes, self.files.skipped
        return found

    def _take(self, path: Path) -> None:
        number = self.known.get(str(path), -1)
        before = self.old._files[number] if self.old is not None and number >= 0 else None
        try:
            state = path.stat()
        except OSError:  # it is gone since it was listed
            state = None
        old = self.old
        if old is not None and before and state and (before.size, before.time) == (state.st_size, state.st_mtime_ns):
            self._keep(before, old, number)
            return
        text = self.files.text(path)
        if text is None or state is None:
            return
        now = _File(str(path), state.st_size, state.st_mtime_ns, hashlib.blake2b(text.encode()).hexdigest())
        if old is not None and before and before.digest == now.digest:
            self._keep(now, old, number)
            return
        self.changes["new" if before is None else "changed"] += 1
        self._embed(now, text)

    def _keep(self, file: _File, old: VectorIndex, number: int) -> None:
        """The passages that the old index has of a file."""
        self.changes["kept"] += 1
        rows = np.flatnonzero(old._spans[:, 0] == number)
        self._add(file, old._spans[rows], old.vectors[rows], old.scales[rows] if len(old.scales) else old.scales,
                  [old._text(row).encode() for row in rows.tolist()])

    def _embed(self, file: _File, text: str) -> None:
        around = len(self.encoder.tokenizer.with_specials("", offsets=False).ids)

        def count(texts: Sequence[str]) -> list[int]:
            read = self.encoder.tokenizer.with_specials_batch(texts, offsets=False)
            return [len(one.ids) - around for one in read]

        found = passages(text, count, self.header["tokens"])
        spans = np.array([(0, one.start, one.end, one.line) for one in found], np.int64).reshape(-1, 4)
        texts = [text[one.start : one.end] for one in found]
        vectors, scales = self.encoder.embed(texts, self.header["passage"], normalize=True), np.empty(0, np.float32)
        if self.header["dtype"] == "int8":
            scales = np.maximum(np.abs(vectors).max(axis=1, initial=0), np.float32(1e-30)) / np.float32(127)
            vectors = np.rint(vectors / scales[:, None]).astype(np.int8)
        self._add(file, spans, vectors, scales, [one.encode() for one in texts])

    def _add(self, file: _File, spans: Ints, vectors: NDArray[Any], scales: Floats, texts: list[bytes]) -> None:
        spans = spans.copy()
        spans[:, 0] = len(self.taken)
        self.taken.append(file)
        self.spans.append(spans)
        self.vectors.append(vectors)
        self.scales.append(scales)
        self.texts += texts


def _mark(encoder: TextEncoder) -> str:
    """What its vectors depend on."""
    files = encoder.files
    steps = [(one.weight.tobytes(), one.activation, None if one.bias is None else one.bias.tobytes())
             for one in files.steps if isinstance(one, Dense)]  # fmt: skip
    text = f"{model_fingerprint(encoder.model)} {files.pooling} {files.lower} {steps}"
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _passage_prompt(encoder: TextEncoder) -> str | None:
    return next((one for one in PASSAGE if one in encoder.prompts), None)


def _room(encoder: TextEncoder) -> int:
    """The tokens that a passage may have beside the special ones and the prompt."""
    prompt = encoder.prompts.get(_passage_prompt(encoder) or "", "")
    return int(encoder.max_length) - len(encoder.tokenizer.with_specials(prompt, offsets=False).ids)


def _check(header: dict[str, Any], parts: dict[str, NDArray[Any]]) -> None:
    """Raises KeyError or ValueError unless the parts of a file fit together."""
    count = len(parts["vectors"])
    kind = {"float32": np.float32, "int8": np.int8}[header["dtype"]]
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "vectors": (kind, (count, *parts["vectors"].shape[1:2])), "spans": (np.int64, (count, 4)),
        "scales": (np.float32, (count if header["dtype"] == "int8" else 0,)), "ends": (np.int64, (count,)),
        "texts": (np.uint8, (int(parts["ends"][-1]) if count else 0,))}  # fmt: skip
    for name, (dtype, shape) in wanted.items():
        if parts[name].dtype != dtype or parts[name].shape != shape:
            raise KeyError(f"{name} must be {np.dtype(dtype)} {list(shape)}")
    files = parts["spans"][:, 0]
    if count and not (0 <= files.min() <= files.max() < len(header["files"]) and (np.diff(parts["ends"]) >= 0).all()
                      and parts["ends"][0] >= 0):
        raise KeyError("spans and ends must be in order")
