"""Added tokens, normalisers, prefix spaces against Hugging Face's tokenizers: random sets of tokens, random texts."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword import _core
from nextword.text.normalizer import Normalizer
from nextword.text.tokenizer import AddedToken, Tokenizer

os.environ.setdefault("RUST_BACKTRACE", "0")
tokenizers = pytest.importorskip("tokenizers")

END = "<|endoftext|>"
RSTRIP = ("<a>", True, False, True, False, False)
FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")
# Letters of one and of two cases, digits, marks, signs, blanks of every kind, words' other characters.
ALPHABET = "abAB é1²_ⅧⓐßİΣσς中한ﬁ\u0301\u200d\u0327.,<>|'  \t\n\u00a0\u2003\u3000"
STEPS = [("NFC",), ("NFD",), ("NFKC",), ("NFKD",), ("Lowercase",), ("Prepend", " "), ("Prepend", "ab"),
         ("Replace", "b", "aa"), ("Replace", "ab", ""), ("Replace", " ", "_")]  # fmt: skip
KNOWN = ["<mask>", "the", "Ġthe", " the", "a", "Ġ", " ", "  ", "    ", "\n", "\t", "dragonfly", "Once upon"]


def contents():
    made = st.text(st.sampled_from(ALPHABET), min_size=1, max_size=4)
    return st.one_of(made, st.sampled_from(KNOWN))


def token_sets():
    token = st.tuples(contents(), *[st.booleans()] * len(FLAGS))
    return st.lists(token, max_size=6, unique_by=lambda token: token[0])


def texts_over(tokens):
    some = [st.sampled_from([content for content, *_ in tokens])] if tokens else []
    others = st.sampled_from([END, " ", "the", " the cat", "\n\n"])
    return st.lists(st.one_of(*some, st.text(st.sampled_from(ALPHABET), max_size=3), others), max_size=12).map("".join)


def their_step(step):
    kinds = tokenizers.normalizers
    return getattr(kinds, step[0])(*step[1:])


@functools.cache
def vocabulary():
    """The paths of vocab.json and merges.txt of a small vocabulary: most pieces are more than one token."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    Tokenizer.train([helpers.MIXED * 2, "the cat the dragonfly ab aa a  b"], 330, special_tokens=[END]).save(folder)
    return str(folder / "vocab.json"), str(folder / "merges.txt")


def pair(tokens, steps=(), prefix_space=False):
    """(their tokenizer, ours): a small vocabulary with these (content, *flags) added."""
    files = vocabulary()
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(*files))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    if steps:
        theirs.normalizer = tokenizers.normalizers.Sequence([their_step(step) for step in steps])
    given_tokens = [(END, True, False, False, False, False), *(token for token in tokens if token[0] != END)]
    theirs.add_tokens(
        [tokenizers.AddedToken(content, **dict(zip(FLAGS, flags, strict=True))) for content, *flags in given_tokens]
    )
    source = _core.read_vocab_and_merges(*files)
    source.added_tokens = [
        AddedToken(token.content, id, *(getattr(token, flag) for flag in FLAGS))
        for id, token in theirs.get_added_tokens_decoder().items()
    ]
    return theirs, Tokenizer(source, "gpt2", normalizer=steps, prefix_space=prefix_space)


def encoded_by(theirs, text, whole=False):
    """Their encoding, or None where they give up: a token of blanks within the blanks that the one before took."""
    try:
        return theirs.encode(text, add_special_tokens=whole)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None


def distinct(tokens, steps):
    """Theirs takes any one of two tokens that the normaliser makes equal."""
    normalize = Normalizer(steps)
    changed = [normalize(content) for content, *flags in tokens if flags[-1]]
    return len(set(changed)) == len(changed) and "" not in changed


@st.composite
def cases(draw, steps=None, prefix_space=None):
    tokens = draw(token_sets())
    some = () if steps is None else tuple(draw(steps))
    return tokens, some, prefix_space is not None and draw(prefix_space), draw(texts_over(tokens)), draw(st.booleans())


def check(case):
    tokens, steps, prefix_space, text, special = case
    assume(distinct(tokens, steps))
    theirs, ours = pair(tokens, steps, prefix_space)
    theirs.encode_special_tokens = not special
    encoding = encoded_by(theirs, text)
    allowed = "all" if special else ()
    ids, offsets = ours.encode_with_offsets(text, allowed_special=allowed)
    assert ids == ours.encode(text, allowed_special=allowed)
    assert ids == ours.encode_array(text, allowed_special=allowed).tolist()
    assert len(ids) == ours.count(text, allowed_special=allowed)
    assert ours.encode_batch([text, "", text], allowed_special=allowed)[::2] == [ids, ids]
    if encoding is None:
        return
    assert ids == encoding.ids
    if not steps:
        assert [characters(text, *span) for span in offsets] == their_offsets(encoding, ours, prefix_space)


def characters(text, begin, end):
    """The characters that bytes [begin, end) of the text are of."""
    data = text.encode()
    return len(data[:begin].decode("utf-8", "ignore")), len(data[:end].decode("utf-8", "replace"))


def their_offsets(encoding, ours, prefix_space):
    """Theirs, but that the blank put before a text stands for none of its characters."""
    spans = [tuple(span) for span in encoding.offsets]
    if not prefix_space:
        return spans
    out = []
    for at, (begin, end) in enumerate(spans):
        shared = at + 1 < len(spans) and spans[at + 1][0] == begin and ours.token_bytes(encoding.ids[at]) == b" "
        out.append((begin, begin) if shared else (begin, end))
    return out


@settings(max_examples=200)
@given(cases())
@example(([RSTRIP, ("  ", *[False] * 5)], (), False, "<a>    x", True))
@example(([RSTRIP, (" ", False, True, False, False, False)], (), False, "<a>  x", True))
@example(([("<mm>", True, *[False] * 4), ("mm>", *[False] * 5)], (), False, "<mm>", False))
def test_any_added_tokens_match_as_in_tokenizers(case):
    check(case)


@settings(max_examples=200)
@given(cases(prefix_space=st.just(True)))
def test_a_prefix_space_is_put_where_tokenizers_puts_it(case):
    check(case)


@settings(max_examples=200)
@given(cases(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=3), prefix_space=st.booleans()))
def test_added_tokens_meet_normalised_text_as_in_tokenizers(case):
    check(case)


@settings(max_examples=100)
@given(case=cases(steps=st.lists(st.sampled_from(STEPS), max_size=2), prefix_space=st.booleans()), ends=st.booleans())
def test_tokenizers_reads_what_is_saved_and_agrees(tmp_path_factory, case, ends):
    tokens, steps, prefix_space, text, special = case
    assume(distinct(tokens, steps))
    theirs, ours = pair(tokens, steps, prefix_space)
    folder = tmp_path_factory.mktemp("saved")
    source = _core.read_vocab_and_merges(*vocabulary())
    source.added_tokens = ours.added_tokens
    rules = {"beginning": (0,), "ending": (0, ours.id_of("a")) if ends else ()}
    Tokenizer(source, "gpt2", normalizer=steps, prefix_space=prefix_space, **rules).save(folder)
    read, again = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")), Tokenizer.load(folder)
    assert {id: repr(token) for id, token in read.get_added_tokens_decoder().items()} == {
        id: repr(token) for id, token in theirs.get_added_tokens_decoder().items()
    }
    read.encode_special_tokens = not special
    allowed = "all" if special else ()
    for whole in (True, False):
        mine = again.encode(text, allowed_special=allowed, add_special_tokens=whole)
        encoding = encoded_by(read, text, whole)
        assert encoding is None or mine == encoding.ids


@pytest.mark.parametrize("flag", ["single_word", "lstrip"])
def test_every_character_beside_a_token_counts_as_in_tokenizers(flag):
    r"""\w and \s of all code points that Unicode has given out, before the token and after it."""
    theirs, ours = pair([("<zz>", False, flag == "lstrip", flag == "lstrip", flag == "single_word", False)])
    id = ours.id_of("<zz>")
    codes = [code for code in [*range(0x34000), *range(0xE0000, 0xE0200)] if not 0xD800 <= code < 0xE000]
    for begin in range(0, len(codes), 128):  # theirs takes time that grows with the square of a text
        text = "".join(f"<zz>{chr(code)}.{chr(code)}<zz>." for code in codes[begin : begin + 128])
        encoding = theirs.encode(text, add_special_tokens=False)
        ids, offsets = ours.encode_with_offsets(text)
        mine = [characters(text, *span) for i, span in zip(ids, offsets, strict=True) if i == id]
        assert mine == [span for i, span in zip(encoding.ids, encoding.offsets, strict=True) if i == id]
