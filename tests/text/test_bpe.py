"""Byte-pair encoding itself: against the definition, on vocabularies small enough to think about."""

import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword import _core
from nextword.text.tokenizer import Tokenizer


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
    expected = [part for piece in tokenizer.pieces(text) for part in helpers.plain_bpe(piece, rank_of)]
    assert [tokenizer.token_bytes(i) for i in tokenizer.encode(text)] == expected


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base"])  # ids below 2^16, and others
@given(text=st.text(st.sampled_from("aàeinrst  '1"), max_size=600))
def test_words_that_were_never_seen_merge_as_in_tiktoken(name, special, text):
    _core.use_special_instructions(special)
    try:
        tokenizer = fresh(name, special)
        expected = helpers.judge(name).encode_ordinary(text)
        assert tokenizer.encode(text) == expected
        assert tokenizer.encode(text) == expected  # from its caches
    finally:
        _core.use_special_instructions(True)


def fresh(name, special, made={}):  # noqa: B006 the same until its caches have seen 100 texts
    tokenizer, texts = made.get((name, special), (None, 0))
    if texts % 100 == 0:
        source = "gpt2_tokenizer" if name == "r50k_base" else f"tiktoken_ranks/{name}.tiktoken"
        tokenizer = Tokenizer.load(helpers.data(source))
    made[name, special] = (tokenizer, texts + 1)
    return tokenizer


@pytest.mark.parametrize("letter", ["a", " ", "^", "\n", "中", "=", "é", "ab", "-="])
def test_a_long_run_encodes_as_in_tiktoken(letter):
    for length in (63, 64, 65, 127, 1000, 4099):
        for name in ("r50k_base", "cl100k_base", "o200k_base"):
            text = letter * length
            assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text)


@pytest.mark.parametrize("letter", ["a", " ", "^", "中"])
def test_a_long_run_takes_little_memory(letter):
    """Four million pieces, parts or merges that wait for something would not fit."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to know how much memory is in use")
    code = f"""if True:
        import resource
        from nextword.text.tokenizer import Tokenizer
        tokenizer = Tokenizer.load({str(helpers.data("gpt2_tokenizer"))!r})
        text = {letter!r} * (4_000_000 // len({letter!r}.encode()))
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 200_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        print(tokenizer.count(text))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10_000


@pytest.mark.parametrize("alphabet", ["ab", "etaoin", "0", "中文字漢", "ァアィイ", "\u0301a"])
def test_long_pieces_of_random_letters_encode_as_in_tiktoken(alphabet):
    rng = random.Random(alphabet)
    for length in (100, 1000, 5000):
        text = "".join(rng.choice(alphabet) for _ in range(length))
        for name in ("r50k_base", "o200k_base"):
            assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text)


@pytest.mark.parametrize("seed", range(6))
def test_windows_over_a_long_piece_meet_where_the_definition_says(tmp_path, seed):
    """Few letters and long tokens: the borders between windows are wrong as often as they can be."""
    rng = random.Random(seed)
    text = "".join(rng.choice("ab") for _ in range(3000))
    tokenizer = Tokenizer.train([text * 2, text[1:]], 256 + 60 + 20 * seed, special_tokens=[], min_frequency=0)
    rank_of = {tokenizer.token_bytes(id): id for id in range(len(tokenizer))}
    for piece in ("".join(rng.choice("ab") for _ in range(700)), "ab" * 300, "a" * 500 + "b" * 500):
        expected = helpers.plain_bpe(piece.encode(), rank_of)
        assert [tokenizer.token_bytes(i) for i in tokenizer.encode(piece)] == expected


def test_more_pieces_than_the_caches_hold_encode_as_without_caches():
    words = [f" {i:x}q{i * 7919 % 1000003}" for i in range(400_000)]
    tokenizer = helpers.demo()
    for begin in range(0, len(words), 100_000):
        tokenizer.count("".join(words[begin : begin + 100_000]))
    sample = "".join(words[::997])
    assert tokenizer.encode(sample) == Tokenizer.load(helpers.demo_folder()).encode(sample)


def test_threads_and_batches_give_the_same_ids():
    texts = [helpers.MIXED[i : i + 200] for i in range(0, len(helpers.MIXED), 50)] * 20
    tokenizer = helpers.demo()
    one_by_one = [tokenizer.encode(text) for text in texts]
    for threads in (1, 2, 5, None):
        assert tokenizer.encode_batch(texts, threads=threads) == one_by_one
    assert tokenizer.encode_batch([]) == []
    assert tokenizer.encode_batch(["", "a", ""]) == [[], tokenizer.encode("a"), []]
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        tokenizer.encode_batch(["a"], threads=0)
    with pytest.raises(TypeError, match="encode_batch: text must be str, got int"):
        tokenizer.encode_batch(["a", 5])


def test_one_tokenizer_serves_several_threads_at_once():
    import concurrent.futures

    text = helpers.MIXED * 40
    expected = Tokenizer.load(helpers.demo_folder()).encode(text)
    tokenizer = Tokenizer.load(helpers.demo_folder())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for ids in pool.map(tokenizer.encode, [text] * 12):
            assert ids == expected


def test_an_array_holds_the_same_ids_as_the_list():
    array = helpers.demo().encode_array(helpers.MIXED)
    assert array.dtype == "uint32"
    assert array.tolist() == helpers.demo().encode(helpers.MIXED)
    assert helpers.demo().encode_array("").shape == (0,)


def test_the_time_for_worst_cases_grows_with_the_text_and_not_with_its_square():
    """Eight times the text takes less than 24 times the time; a square would take 64 times."""
    import time

    for letter in ("a", " ", "^", "中", "ab", "aB1 "):
        times = []
        for size in (50_000, 400_000):
            text = letter * (size // len(letter))
            tokenizer = Tokenizer.load(helpers.demo_folder())
            best = math.inf
            for _ in range(3):
                start = time.thread_time()  # other processes may run meanwhile
                tokenizer.count(text)
                best = min(best, time.thread_time() - start)
            times.append(best)
        assert times[1] < 24 * times[0] + 0.01, (letter, times)
