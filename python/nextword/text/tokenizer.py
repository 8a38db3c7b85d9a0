"""Text to token ids and back: `Tokenizer` over the C++ core, and the files that vocabularies come in.

The files of a folder are put together in tokenizer_folder.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nextword import _core
from nextword.files.bundled import bundled
from nextword.text.added_tokens import AddedToken
from nextword.text.claims import ENDOFTEXT
from nextword.text.decoder import Decoder
from nextword.text.encodings import ENCODINGS
from nextword.text.normalizer import Step, core_steps
from nextword.text.surrogates import joined
from nextword.text.template import Template, around
from nextword.text.tokenizer_files import learn, save
from nextword.text.tokenizer_folder import ACCEPTED, VOCABULARIES, WORDS, Verdict, read_files, read_folder
from nextword.text.with_specials import Encoded, WithSpecials, put_together, trimmed_offsets


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
        template: Template | None = None,
        cleans: bool = False,
        special_ids: Mapping[str, int] | None = None,
        max_length: int | None = None,
    ) -> None:
        """What a reader of files makes a tokenizer of.

        source: the vocabulary, used up.
        pattern: how text is split: "gpt2", "cl100k", "llama3", "qwen2", "smollm" or "o200k".
        prefix_space: whether text gets a blank before it, at the begin and after each added token.
        normalizer: what is done to text first: steps as nextword.text.normalizer.Normalizer takes them.
        beginning, ending: the ids that begin and end every text, unless a call says add_special_tokens=False.
        template: what stands around a text or two (with_specials); by default `beginning` and `ending`.
        cleans: whether words are decoded without blanks before signs.
        special_ids, max_length: what the properties of these names give.

        Raises ValueError where the vocabulary contradicts itself or a step is unknown, IndexError for an id that is not
        in the vocabulary.
        """
        self._steps = tuple(tuple(step) for step in normalizer)
        steps = core_steps(self._steps)
        first = prefix_space == "first"
        super().__init__(source, pattern, bool(prefix_space), steps, beginning, ending, first, trimmed, cleans)
        self._template = template or around(tuple(beginning), tuple(ending))
        self._special_ids = dict(special_ids or {})
        self._max_length = max_length
        self._added = frozenset(id for _, id, *_ in self._added_tokens())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """The tokenizer of a model's folder, or of one file.

        path: a folder with vocab.json and merges.txt, encoder.json and vocab.bpe, or tokenizer.json, read together with
        each other and with added_tokens.json, special_tokens_map.json and tokenizer_config.json, else with these
        vocab.txt or a SentencePiece model; one such file, alone; a rank file named after its encoding, such as
        cl100k_base.tiktoken; or a bundled model's name, such as nextword:demo.

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
        if path.suffix == ".model" or path.name == WORDS:
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
        save(self, self.added_tokens, self.normalizer, self._template, folder)

    @classmethod
    def _of(cls, verdict: Verdict) -> Tokenizer:
        return cls(verdict.source, **verdict.settings._asdict())

    def __reduce__(self) -> tuple[Any, ...]:
        """By its content: what is made of it elsewhere needs no file."""
        prefix_space = "first" if self.prefix_first else self.prefix_space
        settings: dict[str, Any] = {"pattern": self.pattern, "prefix_space": prefix_space, "normalizer": self._steps}
        settings |= {"beginning": self.beginning, "ending": self.ending, "trimmed": self.trimmed, "cleans": self.cleans}
        settings |= {"template": self._template, "special_ids": self._special_ids, "max_length": self._max_length}
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

    def with_specials(
        self, text: str, pair: str | None = None, *, max_length: int | None = None, offsets: bool = True
    ) -> WithSpecials:
        """A text, or a pair of them, as an encoder reads it: with the special tokens of its template, such as [CLS] and
        [SEP], types and offsets. Names of special tokens in the texts, such as [MASK], stand for them.

        max_length: tokens at most, special ones among them; of two texts the longer one is cut first, each at its end.
        offsets: whether they are wanted, which takes longer.

        Raises ValueError where max_length has no room for the special tokens, TypeError if a text is no str.

        >>> read = demo().with_specials("Once upon a time", "a", max_length=4)
        >>> read.ids.tolist(), read.types.tolist(), read.offsets, read.parts, read.cut
        ([2383, 375, 884, 65], [0, 0, 0, 1], [(0, 2), (2, 4), (4, 9), (0, 1)], [0, 0, 0, 1], 2)
        """
        texts = [text] if pair is None else [text, pair]
        return put_together(self._template, [self._read(one, offsets) for one in texts], max_length)

    def with_specials_batch(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        max_length: int | None = None,
        offsets: bool = True,
    ) -> list[WithSpecials]:
        """The same for each text, or for each with its pair; without offsets divided over threads.

        Raises ValueError where there are not as many pairs as texts, and as with_specials does.

        >>> [read.ids.tolist() for read in demo().with_specials_batch(["Once", " time"], offsets=False)]
        [[2383, 375], [670]]
        """
        columns = [list(texts)] if pairs is None else [list(texts), list(pairs)]
        if len(columns[0]) != len(columns[-1]):
            raise ValueError(f"with_specials_batch: expected a pair for each of {len(columns[0])} texts, got "
                             f"{len(columns[1])}")  # fmt: skip
        if offsets:
            read = [[self._read(text, True) for text in column] for column in columns]
        else:
            found = [self.encode_batch(column, allowed_special="all", add_special_tokens=False) for column in columns]
            read = [[(ids, None) for ids in column] for column in found]
        return [put_together(self._template, row, max_length) for row in zip(*read, strict=True)]

    def _read(self, text: str, offsets: bool) -> Encoded:
        if not offsets:
            return self.encode(text, allowed_special="all", add_special_tokens=False), None
        ids, ranges = self._encode_with_offsets(text, "all", False, True)
        if self._template.trims:
            ranges = trimmed_offsets(self, text, ids, ranges, self._template.after_prefix, self._added)
        return ids, ranges

    @property
    def special_ids(self) -> dict[str, int]:
        """The ids of the special tokens by what the files call them: "cls_token", "mask_token" and the like.

        >>> demo().special_ids
        {'bos_token': 0, 'eos_token': 0, 'unk_token': 0}
        """
        return dict(self._special_ids)

    @property
    def max_length(self) -> int | None:
        """How many tokens the model takes, where its files say so (model_max_length)."""
        return self._max_length

    def decoder(self) -> Decoder:
        """A decoder for ids that come one by one."""
        return Decoder(self)


def _again(kind: type[Tokenizer], source: _core.VocabularySource, settings: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a pickle; a class of one's own need not take what Tokenizer takes."""
    made = kind.__new__(kind)
    Tokenizer.__init__(made, source, **settings)
    return made
