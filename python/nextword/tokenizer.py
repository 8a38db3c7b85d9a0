"""Text to token ids and back: `Tokenizer` over the C++ core, and the files that vocabularies come in.

The file formats themselves are parsed in C++ (csrc/bpe_files.cpp); here stands which files make a tokenizer.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nextword import _core
from nextword.added_tokens import AddedToken
from nextword.normalizer import Normalizer, Step
from nextword.tokenizer_files import REGEX, learn, save

ENDOFTEXT = "<|endoftext|>"
_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")


class Encoding(NamedTuple):
    """A published encoding: its rank file, its splitting pattern and its special tokens."""

    file: str
    pattern: str
    specials: Mapping[str, int]


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
        {ENDOFTEXT: 100257, **dict(zip(_FIM, range(100258, 100261), strict=True)), "<|endofprompt|>": 100276},
    ),
    "o200k_base": Encoding("o200k_base.tiktoken", "o200k", {ENDOFTEXT: 199999, "<|endofprompt|>": 200018}),
}

# Files that make a tokenizer, in the order in which a folder is searched.
_FOLDER_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"), ("tokenizer.json",))
_ACCEPTED = "vocab.json with merges.txt, encoder.json with vocab.bpe, or tokenizer.json"

# Spellings of one splitting pattern that different files use; all match the same pieces.
_GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d"
_PATTERNS = {
    rf"{_GPT2_WORDS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+": "gpt2",
    rf"{_GPT2_WORDS}| ?[\p{{L}}]+| ?[\p{{N}}]+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+": "gpt2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": "gpt2",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s": "cl100k",
    **{regex: pattern for pattern, regex in REGEX.items()},
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
        prefix_space: bool = False,
        normalizer: Iterable[Sequence[str]] = (),
        beginning: Sequence[int] = (),
        ending: Sequence[int] = (),
    ) -> None:
        """What a reader of files makes a tokenizer of.

        source: the vocabulary, used up. pattern: how text is split: "gpt2", "cl100k", "llama3" or "o200k".
        prefix_space: whether text gets a blank before it, at the begin and after each added token.
        normalizer: what is done to text first: steps as nextword.normalizer.Normalizer takes them.
        beginning, ending: the ids that begin and end every text, unless a call says add_special_tokens=False.

        Raises ValueError where the vocabulary contradicts itself or a step is unknown, IndexError for an id that is not
        in the vocabulary.
        """
        self._normalizer = Normalizer(normalizer)
        normalize = self._normalizer.aligned if self._normalizer.steps else None
        super().__init__(source, pattern, prefix_space, normalize, beginning, ending)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """The tokenizer of a model's folder, or of one file.

        path: a folder with vocab.json and merges.txt, encoder.json and vocab.bpe, or tokenizer.json (the first that is
        there); one of those files; or a rank file named after its encoding, such as cl100k_base.tiktoken.

        Raises FileNotFoundError if there is no vocabulary, ValueError with file and line if it is malformed, or if its
        splitting pattern or normaliser is one that this library does not have.
        """
        path = Path(path)
        if path.is_dir():
            for names in _FOLDER_FILES:
                if all((path / name).is_file() for name in names):
                    return cls._from_files([path / name for name in names])
            raise FileNotFoundError(f"Tokenizer.load: no vocabulary in the folder {path}; expected {_ACCEPTED}")
        if not path.is_file():
            raise FileNotFoundError(
                f"Tokenizer.load: {path} does not exist; expected a folder or file with {_ACCEPTED}"
            )
        if path.suffix == ".tiktoken":
            if path.stem not in ENCODINGS:
                raise ValueError(
                    f"Tokenizer.load: a rank file must be named after its encoding, got {path.name}; known are "
                    f"{', '.join(ENCODINGS)}; or call Tokenizer.from_encoding(name, path=...)"
                )
            return cls.from_encoding(path.stem, path=path)
        for names in _FOLDER_FILES:
            if path.name in names:
                files = [path.with_name(name) for name in names]
                for file in files:
                    if not file.is_file():
                        raise FileNotFoundError(
                            f"Tokenizer.load: {path.name} needs {file.name} beside it in {path.parent}"
                        )
                return cls._from_files(files)
        raise ValueError(
            f"Tokenizer.load: cannot tell what {path.name} is; expected {_ACCEPTED}, or <encoding>.tiktoken"
        )

    @classmethod
    def from_encoding(cls, name: str, path: str | os.PathLike[str] | None = None) -> Tokenizer:
        """A published encoding: gpt2, r50k_base, p50k_base, p50k_edit, cl100k_base or o200k_base.

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
        special_tokens: Sequence[str] = (ENDOFTEXT,),
        min_frequency: int = 2,
        pattern: str = "gpt2",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Tokenizer:
        """Learn a vocabulary from text: byte-pair encoding (Sennrich et al. 2016) over bytes, as GPT-2's was.

        source: a path (pathlib.Path, of a file in UTF-8 or a folder of *.txt files), or any number of texts and paths.
        vocab_size: how many tokens at most: special_tokens first, then the 256 bytes, then the merges.
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
        save(self, folder)

    @classmethod
    def _from_files(cls, files: list[Path]) -> Tokenizer:
        if len(files) == 2:
            return cls(_core.read_vocab_and_merges(os.fspath(files[0]), os.fspath(files[1])), "gpt2")
        source = _core.read_tokenizer_json(os.fspath(files[0]))
        try:
            settings = json.loads(source.settings)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"Tokenizer.load: {files[0].name}: not JSON: {error}") from None
        pattern = _check_settings(files[0].name, settings)
        source.whole_pieces = bool(settings.get("model.ignore_merges"))
        source.added_tokens = _added_tokens(files[0].name, settings.get("added_tokens") or [])
        return cls(source, pattern)

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
        """What is done to text before it is split, as nextword.normalizer.Normalizer takes it; mostly nothing."""
        return self._normalizer.steps

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
        return self._find(token.encode() if isinstance(token, str) else token)

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


def _added_tokens(file: str, added: Any) -> list[AddedToken]:
    """The added tokens of tokenizer.json. Raises ValueError where they are not given with content, id and flags."""
    flags = ("special", "lstrip", "rstrip", "single_word", "normalized")
    try:
        rows = [(token["content"], token["id"], {key: token[key] for key in flags if key in token}) for token in added]
    except (TypeError, KeyError):
        rows = [("", -1, {})]
    for content, id, given in rows:
        good = isinstance(content, str) and isinstance(id, int) and 0 <= id < 1 << 32
        if not good or not all(isinstance(flag, bool) for flag in given.values()):
            raise ValueError(f"Tokenizer.load: {file}: added_tokens must be a list of objects with content, id, flags")
    return [AddedToken(content, id, **given) for content, id, given in rows]


def _check_settings(file: str, settings: dict[str, Any]) -> str:
    """The splitting pattern that tokenizer.json asks for. Raises ValueError for what this library does not do."""

    def fail(key: str, expected: str, got: object) -> ValueError:
        return ValueError(f"Tokenizer.load: {file}: {key} must be {expected}, got {json.dumps(got)[:300]}")

    if settings.get("model.type", "BPE") != "BPE":
        raise fail("model.type", "BPE", settings["model.type"])
    for key in ("model.continuing_subword_prefix", "model.end_of_word_suffix"):
        if settings.get(key):
            raise fail(key, "empty", settings[key])
    if settings.get("normalizer") is not None:
        raise fail("normalizer", "null", settings["normalizer"])
    top = settings.get("pre_tokenizer")
    steps = top.get("pretokenizers") if isinstance(top, dict) and top.get("type") == "Sequence" else [top]
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise fail("pre_tokenizer", "ByteLevel with add_prefix_space false", top)
    if steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space", True):
        raise fail("pre_tokenizer", "ByteLevel with add_prefix_space false", top)
    if len(steps) == 1 and steps[0].get("use_regex", True):
        return "gpt2"
    if len(steps) == 2 and steps[0].get("type") == "Split" and not steps[1].get("use_regex", True):
        pattern = steps[0].get("pattern")
        regex = pattern.get("Regex") if isinstance(pattern, dict) else None
        if (
            isinstance(regex, str)
            and regex in _PATTERNS
            and steps[0].get("behavior") == "Isolated"
            and not steps[0].get("invert")
        ):
            return _PATTERNS[regex]
    raise fail("pre_tokenizer", "ByteLevel, alone or after a Split by one of tiktoken's patterns", top)
