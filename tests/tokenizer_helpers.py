"""What the tokenizer tests share: where the data is, tiktoken as the judge, a BPE in ten lines, texts to try."""

import base64
import functools
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st

from nextword.text import tokenizer as module
from nextword.text.tokenizer import ENCODINGS, Tokenizer

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NAMES = ("r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "o200k_harmony")
PATTERN_OF = {"gpt2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}


def data(path):
    """A file or folder of the shared data; skips the test where it is absent."""
    found = DATA / path
    if not found.exists():
        pytest.skip(f"needs {path} in ../shared/data")
    return found


@functools.cache
def temporary_folder():
    return Path(tempfile.mkdtemp())


def temporary(name, path):
    """A file under another name, which says what it is."""
    link = temporary_folder() / name
    if not link.exists():
        link.symlink_to(path)
    return link


@functools.cache
def ranks(name):
    lines = data(f"tiktoken_ranks/{ENCODINGS[name].file}").read_bytes().split()
    return {base64.b64decode(token): int(rank) for token, rank in zip(lines[::2], lines[1::2], strict=True)}


@functools.cache
def judge(name):
    """tiktoken's encoding, made without the network."""
    tiktoken = pytest.importorskip("tiktoken")
    public = pytest.importorskip("tiktoken_ext.openai_public")
    patterns = {
        "gpt2": public.r50k_pat_str,
        "cl100k": tiktoken_pattern(public, "cl100k_base"),
        "o200k": tiktoken_pattern(public, "o200k_base"),
    }
    encoding = ENCODINGS[name]
    return tiktoken.Encoding(
        name, pat_str=patterns[encoding.pattern], mergeable_ranks=ranks(name), special_tokens=dict(encoding.specials)
    )


def tiktoken_pattern(public, name):
    """The pattern in tiktoken's own source, without the download that its constructor starts with."""
    saved = public.load_tiktoken_bpe
    public.load_tiktoken_bpe = lambda *args, **kwargs: {}
    try:
        return getattr(public, name)()["pat_str"]
    finally:
        public.load_tiktoken_bpe = saved


@functools.cache
def ours(name):
    return Tokenizer.from_encoding(name, path=data("tiktoken_ranks"))


def demo_folder():
    """The model that ships with the package."""
    return Path(module.__file__).parents[1] / "demo"


@functools.cache
def demo():
    return Tokenizer.load(demo_folder())


# Words, code, German, Japanese, white space, numbers, contractions: some of everything.
MIXED = (
    'Once upon a time there was a naïve fox; it didn\'t know WHY 1,000,000 people said "hello".\n\n'
    "    def f(x): return x**2  # Straßenbahnhaltestelle\n\t変数と可変性、関数。   \r\n"
    " 12345 ½ Ⅷ '\u017f \u3000 😀👩\u200d👩\u200d👧 END"
)


def spelled(token):
    """GPT-2's printable alphabet, from its definition: printable bytes as they are, the others from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return "".join(chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in token)


def plain_bpe(piece, rank_of):
    """Byte-pair encoding as the paper has it: merge the neighbours of lowest rank, leftmost first, until none may."""
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while len(parts) > 1:
        rank, at = min((rank_of.get(parts[i] + parts[i + 1], 1 << 30), i) for i in range(len(parts) - 1))
        if rank == 1 << 30:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def characters():
    """Any character: all of Unicode, with the ones that the splitting patterns turn on made frequent."""
    special = "' sStTdDmMlLrReEvV\r\n\t \u00a0\u2003\u3000\x0b\x85/!.,-_#=^0129aAzZ"
    special += "\u2019\u017fäßÉǅʰªº中文あー한\u0947\u0300\u200d٣½²😀𝔘𞤀"  # quote, long s, letters, marks, numbers
    return st.one_of(
        st.sampled_from(special), st.characters(exclude_categories=["Cs"]), st.characters(max_codepoint=0x250)
    )


def texts():
    """Text of up to some hundred characters, with long runs among them."""
    runs = st.builds(lambda c, n: c * n, characters(), st.integers(1, 90))
    words = st.text(characters(), max_size=12)
    parts = st.one_of(
        words, runs, st.sampled_from(["<|endoftext|>", "don't", "I'LL", " '\u017f", "\r\n\r\n", "   ", "\n  x"])
    )
    return st.lists(parts, max_size=10).map("".join)
