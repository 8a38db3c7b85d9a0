"""Text to token ids and back: `Tokenizer` over the C++ core, and the files that vocabularies come in.

The files of a folder are put together in tokenizer_folder.py.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nextword import _core
from nextword.files.bundled import bundled
from nextword.text.added_tokens import AddedToken
from nextword.text.normalizer import Step, core_steps
from nextword.text.surrogates import joined
from nextword.text.tokenizer_files import learn, save
from nextword.text.tokenizer_folder import ACCEPTED, ENDOFTEXT, VOCABULARIES, Verdict, read_files, read_folder

_ENDOFPROMPT = "<|endofprompt|>"
_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")


class Encoding(NamedTuple):
    """A published encoding: its rank file, its splitting pattern and its special tokens."""

    file: str
    pattern: str
    specials: Mapping[str, int]


# The numbers that no token of the format has are reserved; 200018 has two names.
_HARMONY = {
    _ENDOFPROMPT: 200018,
    "<|startoftext|>": 199998,
    ENDOFTEXT: 199999,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
}
_RESERVED = {f"<|reserved_{id}|>": id for id in range(200000, 201088) if id == 200018 or id not in _HARMONY.values()}
ENCODINGS = {
    "gpt2": Encoding("r50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256}),
    "r50k_base": Encoding("r50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256}),
    "p50k_base": Encoding("p50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256}),
    "p50k_edit": Encoding(
        "p50k_base.tiktoken", "gpt2", {ENDOFTEXT: 50256, **dict(zip(_FIM, range(50281, 50284), strict=True))}
    ),
    "cl100k_base": Encoding(
        "cl100k_base.tiktoken",
        "cl100k",
        {ENDOFTEXT: 100257, **dict(zip(_FIM, range(100258, 100261), strict=True)), _ENDOFPROMPT: 100276},
    ),
    "o200k_base": Encoding("o200k_base.tiktoken", "o200k", {ENDOFTEXT: 199999, _ENDOFPROMPT: 200018}),
    "o200k_harmony": Encoding("o200k_base.tiktoken", "o200k", {**_HARMONY, **_RESERVED}),
}

class Tokenizer(_core.Bpe):
    """Byte-level BPE, id for id the same as tiktoken's, over a vocabulary from files.

    Make one with `load` (files of a model) or `from_encoding` (a published encoding). Names of special tokens in text
    are plain text unless `encode` is told otherwise. Immutable, and safe to use from several threads.

    >>> tok = demo()
    >>> tok.encode("Once upon a time")
    [2383, 375, 884, 259, 670]
    >>> tok.decode(tok.encode("naïve 😀"))
    'naïve 😀'
    """

    def __init__(
        self,
        source: _core.VocabularySource,
        pattern: str,
        *,
        prefix_space: bool | Literal["first"] = False,
        normalizer: Iterable[Sequence[str]] = (),
        beginning: Sequence[int] = (),
        ending: Sequence[int] = (),
        trimmed: int = 0,
    ) -> None:
        """What a reader of files makes a tokenizer of.

        source: the vocabulary, used up.
        pattern: how text is split: "gpt2", "cl100k", "llama3", "qwen2", "smollm" or "o200k".
        prefix_space: whether text gets a blank before it, at the begin and after each added token.
        normalizer: what is done to text first: steps as nextword.text.normalizer.Normalizer takes them.
        beginning, ending: the ids that begin and end every text, unless a call says add_special_tokens=False.

        Raises ValueError where the vocabulary contradicts itself or a step is unknown, IndexError for an id that is not
        in the vocabulary.
        """
        self._steps = tuple(tuple(step) for step in normalizer)
        steps = core_steps(self._steps)
        super().__init__(
            source, pattern, bool(prefix_space), steps, beginning, ending, prefix_space == "first", trimmed
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """The tokenizer of a model's folder, or of one file.

        path: a folder with vocab.json and merges.txt, encoder.json and vocab.bpe, or tokenizer.json, read together with
        each other and with added_tokens.json, special_tokens_map.json and tokenizer_config.json; one file of the first
        three kinds, alone; a rank file named after its encoding, such as cl100k_base.tiktoken; or a bundled model's
        name, such as nextword:demo.

        Raises FileNotFoundError if there is no vocabulary, ValueError with file and line or field if one is malformed,
        if two disagree, or for a part that changes ids and that this library does not have (docs/tokenizer.md).
        """
        path = Path(bundled(path) or path)
        if path.is_dir():
            return cls._of(read_folder(path))
        if not path.is_file():
            raise FileNotFoundError(
                f"Tokenizer.load: {path} does not exist; expected a folder or file with {ACCEPTED}"
            )
        if path.suffix == ".model":
            return cls._of(read_files([path]))
        if path.suffix == ".tiktoken":
            if path.stem not in ENCODINGS:
                raise ValueError(
                    f"Tokenizer.load: a rank file must be named after its encoding, got {path.name}; known are "
                    f"{', '.join(ENCODINGS)}; or call Tokenizer.from_encoding(name, path=...)"
                )
            return cls.from_encoding(path.stem, path=path)
        for names in VOCABULARIES:
            if path.name in names:
                files = [path.with_name(name) for name in names]
                for file in files:
                    if not file.is_file():
                        raise FileNotFoundError(
                            f"Tokenizer.load: {path.name} needs {file.name} beside it in {path.parent}"
                        )
                return cls._of(read_files(files))
        raise ValueError(
            f"Tokenizer.load: cannot tell what {path.name} is; expected {ACCEPTED}, or <encoding>.tiktoken"
        )

    @classmethod
    def from_encoding(cls, name: str, path: str | os.PathLike[str] | None = None) -> Tokenizer:
        """A published encoding: gpt2, r50k_base, p50k_base, p50k_edit, cl100k_base, o200k_base or
        o200k_harmony.

        path: the encoding's rank file or a folder that holds it; by default the folder that the environment variable
        NEXTWORD_ENCODINGS names. Rank files are not part of this package.

        Raises ValueError for an unknown name or a malformed file, FileNotFoundError if the file is not there.
        """
        if name not in ENCODINGS:
            raise ValueError(f"Tokenizer.from_encoding: name must be one of {', '.join(ENCODINGS)}, got {name!r}")
        encoding = ENCODINGS[name]
        place = path if path is not None else os.environ.get("NEXTWORD_ENCODINGS")
        way_out = (
            f"download https://openaipublic.blob.core.windows.net/encodings/{encoding.file} and give its place as "
            "path= or its folder as NEXTWORD_ENCODINGS"
        )
        if not place:
            raise FileNotFoundError(f"Tokenizer.from_encoding: {name} needs the file {encoding.file}; {way_out}")
        file = Path(place)
        if file.is_dir():
            file = file / encoding.file
        if not file.is_file():
            raise FileNotFoundError(f"Tokenizer.from_encoding: {name}: {file} does not exist; {way_out}")
        source = _core.read_ranks(os.fspath(file))
        source.added_tokens = [AddedToken(name, id) for name, id in encoding.specials.items()]
        return cls(source, encoding.pattern)

    @classmethod
    def train(
        cls,
        source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        vocab_size: int,
        *,
        special_tokens: Sequence[str | AddedToken] = (ENDOFTEXT,),
        min_frequency: int = 2,
        pattern: str = "gpt2",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Tokenizer:
        """Learn a vocabulary from text: byte-pair encoding (Sennrich et al. 2016) over bytes, as GPT-2's was.

        source: a path (pathlib.Path, of a file in UTF-8 or a folder of *.txt files), or any number of texts and paths.
        vocab_size: how many tokens at most: special_tokens first, then the 256 bytes, then the merges.
        special_tokens: names, or an AddedToken for one with flags; ids are given in this order.
        min_frequency: pairs that occur less often are not merged.
        pattern: how text is split first: "gpt2", "cl100k" or "o200k".
        progress: called with ("read", bytes so far, 0), then ("merge", merges so far, merges wanted).

        Each merge is of the pair that occurs most often by then; of equally frequent ones, of that with the smaller
        left id, then the smaller right id. Nothing else matters, such as threads or the order of texts. The result is
        that of Hugging Face's BpeTrainer with ByteLevel splitting.

        Raises ValueError for a vocab_size below 256 and the special tokens, or text that is not UTF-8.

        >>> tokenizer = Tokenizer.train(["low lower lowest", "slow"], 259, special_tokens=[])
        >>> [tokenizer.token_bytes(id) for id in range(256, 259)]
        [b'lo', b'low', b' low']
        """
        return cls(learn(source, vocab_size, special_tokens, min_frequency, pattern, progress), pattern)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json to a folder, made if need be, and with the gpt2 pattern vocab.json and merges.txt.

        Tokenizer.load and Hugging Face's tokenizers read them back.
        """
        save(self, self.added_tokens, self.normalizer, folder)

    @classmethod
    def _of(cls, verdict: Verdict) -> Tokenizer:
        return cls(verdict.source, **verdict.settings._asdict())

    def __reduce__(self) -> tuple[Any, ...]:
        """By its content: what is made of it elsewhere needs no file."""
        prefix_space = "first" if self.prefix_first else self.prefix_space
        settings: dict[str, Any] = {"pattern": self.pattern, "prefix_space": prefix_space, "normalizer": self._steps}
        settings |= {"beginning": self.beginning, "ending": self.ending, "trimmed": self.trimmed}
        return _again, (type(self), self._source(), settings)

    def __copy__(self) -> Tokenizer:
        """Itself: it never changes."""
        return self

    def __deepcopy__(self, memo: Any) -> Tokenizer:
        """Itself: it never changes."""
        return self

    def pieces(self, text: str) -> list[bytes]:
        """The pieces that `text` is cut into, by added tokens and the splitting pattern; each is encoded on its own.

        >>> demo().pieces("Don't stop")
        [b'Don', b"'t", b' stop']
        """
        return self._pieces(text, ())

    @property
    def added_tokens(self) -> list[AddedToken]:
        """The tokens that are found in text as they stand, by id; the special ones among them only where allowed.

        >>> demo().added_tokens
        [AddedToken(content='<|endoftext|>', id=0, special=True, lstrip=False, rstrip=False, single_word=False, \
normalized=False)]
        """
        return sorted((AddedToken(*fields) for fields in self._added_tokens()), key=lambda token: token.id)

    @property
    def normalizer(self) -> tuple[Step, ...]:
        """What is done to text before it is split, as nextword.text.normalizer.Normalizer takes it; mostly nothing."""
        return self._steps

    @property
    def eos_id(self) -> int | None:
        """The id of <|endoftext|>, or None where the vocabulary has no such token."""
        return self.special_tokens.get(ENDOFTEXT)

    def id_of(self, token: str | bytes) -> int:
        """The id of one token, given as its text or its bytes. Raises KeyError if there is no such token.

        >>> demo().id_of(" time"), demo().id_of(b"On")
        (670, 2383)
        """
        if not isinstance(token, str | bytes):
            raise TypeError(f"id_of: token must be str or bytes, got {type(token).__name__}")
        found = self.find(token)
        if found is None:
            raise KeyError(f"id_of: {token!r} is no token of this vocabulary")
        return found

    def find(self, token: str | bytes) -> int | None:
        """The id of one token as id_of gives it, or None if there is no such token."""
        if isinstance(token, str):
            try:
                token = joined(token).encode()
            except UnicodeEncodeError:  # a lone surrogate is in no text
                return None
        return self._find(token)

    def encode_with_offsets(
        self, text: str, *, allowed_special: str | Iterable[str] = (), add_special_tokens: bool = True
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of `text`, and for each the half-open range of bytes of text.encode() that it stands for.

        >>> demo().encode_with_offsets("Once")
        ([2383, 375], [(0, 2), (2, 4)])
        """
        return self._encode_with_offsets(text, allowed_special, add_special_tokens)

    def decoder(self) -> Decoder:
        """A decoder for ids that come one by one."""
        return Decoder(self)


def _again(kind: type[Tokenizer], source: _core.VocabularySource, settings: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a pickle; a class of one's own need not take what Tokenizer takes."""
    made = kind.__new__(kind)
    Tokenizer.__init__(made, source, **settings)
    return made


class Decoder:
    """Turns a stream of ids into text, holding back the bytes of a character until it is whole.

    >>> decoder = demo().decoder()
    >>> [decoder.push(id) for id in demo().encode("ï")]
    ['', 'ï']
    >>> decoder.flush()
    ''
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """The text that `id` completes, maybe empty. Bytes that can start no character become U+FFFD at once."""
        return self._utf8.decode(self._tokenizer.token_bytes(id))

    def flush(self) -> str:
        """What is left: U+FFFD if the stream ended within a character, else "". The decoder then starts anew."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest
