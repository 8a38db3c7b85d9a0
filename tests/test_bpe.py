"""Byte-pair encoding itself: against the definition, on vocabularies small enough to think about."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword.tokenizer import Tokenizer


def write_ranks(folder, tokens):
    import base64

    path = folder / "r50k_base.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)))
    return path


def write_merges(folder, merges, extra=()):
    """vocab.json and merges.txt over the printable alphabet; the merges are pairs of ASCII strings."""
    import json

    alphabet = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]]
    vocab = {token: id for id, token in enumerate(alphabet)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    for token in extra:
        vocab[token] = len(vocab)
    (folder / "vocab.json").write_text(json.dumps(vocab), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), "utf-8")
    return vocab


def random_ranks(rng, alphabet, count, shuffled):
    """Tokens that are the merges of earlier tokens; shuffled ranks make vocabularies that no training gives."""
    tokens = [bytes([i]) for i in range(256)]
    parts = [bytes([c]) for c in alphabet]
    while len(parts) < count:
        token = rng.choice(parts) + rng.choice(parts)
        if token not in parts and len(token) <= 24:
            parts.append(token)
    added = parts[len(alphabet) :]
    if shuffled:
        rng.shuffle(added)
    return tokens + added


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_a_random_vocabulary_merges_as_the_definition_says(tmp_path, seed, shuffled):
    rng = random.Random(seed)
    tokens = random_ranks(rng, b"abc", rng.choice([6, 20, 60]), shuffled)
    rank_of = {token: rank for rank, token in enumerate(tokens)}
    tokenizer = Tokenizer.from_encoding(
        "r50k_base", path=write_ranks(tmp_path, tokens + [b"filler%d" % i for i in range(50256 - len(tokens))])
    )
    for length in [*range(1, 40), 64, 65, 100, 257, 1000]:
        piece = bytes(rng.choice(b"abc") for _ in range(length))
        expected = [piece] if piece in rank_of else helpers.plain_bpe(piece, rank_of)
        assert [tokenizer.token_bytes(i) for i in tokenizer.encode(piece.decode())] == expected


def test_merges_count_by_their_line_and_not_by_their_id(tmp_path):
    write_merges(tmp_path, [("b", "c"), ("a", "b"), ("ab", "c"), ("d", "bc")])
    tokenizer = Tokenizer.load(tmp_path)
    assert [tokenizer.decode([i]) for i in tokenizer.encode("abc")] == ["a", "bc"]  # never abc: b c goes first
    assert [tokenizer.decode([i]) for i in tokenizer.encode("abdbc")] == ["ab", "dbc"]


def test_a_token_that_no_merge_makes_is_special(tmp_path):
    write_merges(tmp_path, [("a", "b")], extra=["<|endoftext|>", "<é>"])
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.special_tokens == {"<|endoftext|>": 257, "<é>": 258}
    assert len(tokenizer.encode("<|endoftext|>")) == 13
    assert tokenizer.encode("ab<é>", allowed_special="all") == [256, 258]
    assert tokenizer.decode([258]) == "<é>"


@given(st.text(st.sampled_from("ab "), min_size=1, max_size=300))
def test_few_letters_give_the_same_ids_as_tiktoken(text):
    assert helpers.ours("r50k_base").encode(text) == helpers.judge("r50k_base").encode_ordinary(text)


@given(helpers.texts())
def test_pieces_of_the_demo_vocabulary_merge_as_the_definition_says(text):
    tokenizer = helpers.demo()
    rank_of = {tokenizer.token_bytes(i): i for i in range(1, len(tokenizer))}
    expected = [part for piece in tokenizer._pieces(text) for part in helpers.plain_bpe(piece, rank_of)]
    assert [tokenizer.token_bytes(i) for i in tokenizer.encode(text)] == expected
