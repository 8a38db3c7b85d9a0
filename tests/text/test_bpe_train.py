"""Learning a vocabulary: against Hugging Face's trainer, and against the definition."""

import itertools
import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword import _core
from nextword.text.tokenizer import Tokenizer


def train_by_definition(texts, wanted):
    """Byte-pair encoding's learning loop, counting everything anew for each merge."""
    order = sorted(range(256), key=lambda byte: helpers.spelled(bytes([byte])))
    words = Counter(piece for text in texts for piece in _core.pieces("gpt2", text))
    split = {word: [order.index(byte) for byte in word] for word in words}
    merges = []
    while len(merges) < wanted:
        pairs = Counter()
        for word, symbols in split.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for symbols in split.values():
            i = 0
            while i + 1 < len(symbols):
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i : i + 2] = [255 + len(merges)]
                i += 1
    return merges


@settings(max_examples=30)
@given(st.lists(st.text(st.sampled_from("aab cdé\n"), max_size=60), max_size=5))
def test_small_texts_give_the_merges_of_the_definition(texts):
    tokenizer = Tokenizer.train(texts, 286, special_tokens=[], min_frequency=0)
    assert [(left, right) for left, right, _ in tokenizer._merges()] == train_by_definition(texts, 30)


CORPORA = [
    ("corpora/tinyshakespeare.txt", 2000),
    ("corpora/german/de-HMann2.txt", 3000),
    ("corpora/multilingual/udhr_selected.txt", 3000),
]


@pytest.mark.parametrize(("corpus", "size"), CORPORA)
def test_a_corpus_gives_the_vocabulary_of_hugging_face(tmp_path, corpus, size):
    tokenizers = pytest.importorskip("tokenizers")
    text = helpers.data(corpus).read_text("utf-8")
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|pad|>"],
        min_frequency=2,
        show_progress=False,
    )
    theirs.train_from_iterator([text], trainer)
    ours = Tokenizer.train([text], size, special_tokens=["<|endoftext|>", "<|pad|>"])
    ours.save(tmp_path)
    assert json.loads((tmp_path / "vocab.json").read_text("utf-8")) == theirs.get_vocab()
    merges = [
        merge if isinstance(merge, str) else " ".join(merge) for merge in json.loads(theirs.to_str())["model"]["merges"]
    ]
    assert (tmp_path / "merges.txt").read_text("utf-8").splitlines()[1:] == merges
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
    reread = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert reread.encode(text, add_special_tokens=False).ids == ours.encode(text)


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "llama3", "o200k"])
def test_what_is_saved_is_loaded_again(tmp_path, pattern):
    ours = Tokenizer.train([helpers.MIXED * 3], 400, pattern=pattern, special_tokens=["<|endoftext|>", "<é x>"])
    ours.save(tmp_path)
    for loaded in [
        Tokenizer.load(tmp_path / "tokenizer.json"),
        *([Tokenizer.load(tmp_path)] if pattern == "gpt2" else []),
    ]:
        assert loaded.special_tokens == {"<|endoftext|>": 0, "<é x>": 1}
        assert loaded.pattern == pattern
        assert len(loaded) == len(ours)
        assert [loaded.token_bytes(i) for i in range(len(ours))] == [ours.token_bytes(i) for i in range(len(ours))]
        assert loaded.encode(helpers.MIXED) == ours.encode(helpers.MIXED)
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["merges.txt", "tokenizer.json", "vocab.json"] if pattern == "gpt2" else ["tokenizer.json"]
    )


@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base", "o200k_base", "o200k_harmony"])
def test_a_published_encoding_saved_as_tokenizer_json_encodes_the_same(tmp_path, name):
    helpers.ours(name).save(tmp_path)
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.encode(helpers.MIXED, allowed_special="all") == helpers.ours(name).encode(
        helpers.MIXED, allowed_special="all"
    )
    assert loaded.special_tokens == helpers.ours(name).special_tokens


def test_threads_and_the_order_of_texts_do_not_matter(monkeypatch):
    rng = random.Random(3)
    words = ["".join(rng.choice("abcdefgh") for _ in range(rng.randint(1, 20))) for _ in range(3000)]
    texts = [" ".join(rng.choice(words) for _ in range(300_000)), *words]
    first = Tokenizer.train(texts, 800)
    assert Tokenizer.train(list(reversed(texts)), 800)._merges() == first._merges()
    before = _core.threads()
    try:
        for threads in (1, 3):
            _core.set_threads(threads)
            assert Tokenizer.train(texts, 800)._merges() == first._merges()
    finally:
        _core.set_threads(before)
    cut = texts[0].index(" ", 1_000_000)
    assert Tokenizer.train([texts[0][:cut], texts[0][cut:], *words], 800)._merges() == first._merges()


def test_pairs_that_are_too_rare_are_not_merged():
    assert len(Tokenizer.train(["abab cd"], 300, special_tokens=[], min_frequency=2)) == 257
    assert len(Tokenizer.train(["abab cd"], 300, special_tokens=[], min_frequency=3)) == 256
    assert len(Tokenizer.train([], 300)) == 257


def test_files_folders_and_texts_train_alike(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_bytes(b"one two two\r\n")
    (tmp_path / "sub" / "b.txt").write_bytes("drei drei zwö".encode())
    expected = Tokenizer.train(["one two two\r\n", "drei drei zwö"], 270)._merges()
    assert Tokenizer.train(tmp_path, 270)._merges() == expected
    assert Tokenizer.train([tmp_path / "a.txt", "drei drei zwö"], 270)._merges() == expected


def test_progress_is_told_and_may_stop_the_training():
    told = []
    Tokenizer.train([helpers.MIXED], 300, min_frequency=0, progress=lambda *step: told.append(step))
    assert told[0][0] == "read"
    assert told[-1] == ("merge", 43, 43)

    def stop(stage, done, wanted):
        if stage == "merge":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tokenizer.train([" ".join(map(str, range(20_000)))], 5000, progress=stop)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 100), "vocab_size must be an int of at least 256, got 100"),
        (([], 256), r"vocab_size must be at least 257 \(256 bytes and 1 special tokens\), got 256"),
        (([], 2**25), "vocab_size must be at most"),
        ((["a\ud800"], 300), "lone surrogate"),
    ],
)
def test_what_cannot_be_trained_is_a_value_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer.train(*arguments)


def test_wrong_sources_are_errors(tmp_path):
    with pytest.raises(TypeError, match=r"got one str; write \[text\]"):
        Tokenizer.train("some text", 300)
    with pytest.raises(TypeError, match="got bytes"):
        Tokenizer.train(b"some text", 300)
    with pytest.raises(TypeError, match="texts must be str, got int"):
        Tokenizer.train([5], 300)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Tokenizer.train(tmp_path / "none.txt", 300)
    with pytest.raises(FileNotFoundError, match=r"no \*\.txt file"):
        Tokenizer.train(tmp_path, 300)
    (tmp_path / "latin.txt").write_bytes(b"ok\nna\xefve")
    with pytest.raises(ValueError, match=r"latin\.txt line 2: the text is not UTF-8"):
        Tokenizer.train(tmp_path, 300)
    for specials in ("<|endoftext|>", ["a", "a"], [""]):
        with pytest.raises(ValueError, match="special_tokens must be distinct names"):
            Tokenizer.train([], 300, special_tokens=specials)
