"""generate.py: greedy text, streaming, stop rules, the context window, batches and their seeds."""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword.decoding.results import Generation
from nextword.decoding.seats import keep_on_slide
from nextword.models.passes import CHUNK
from nextword.tasks.language_model import LanguageModel
from strategies import Script, random_model, run, tiny_config

KNOWN_PROMPT = [281, 290, 300, 17, 42]
KNOWN = [574, 12, 278, 268, 518, 1093, 386, 295, 306, 259, 753, 12, 278, 288, 322, 259, 753, 2752, 305, 1957]


@pytest.fixture(scope="module")
def tiny():
    """A model of random weights without a vocabulary; its window is 24 tokens."""
    return LanguageModel(random_model(tiny_config(), seed=5))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return byte_tokenizer(tmp_path_factory.mktemp("bytes"))


@pytest.fixture
def says(vocabulary):
    """A model of bytes that continues "x" with the given text."""
    return lambda text: LanguageModel(Script(text if isinstance(text, bytes) else text.encode(), 1), vocabulary)


def greedy_by_hand(model, prompt, count):
    """The tokens by encoding everything anew for each."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(run(model, [ids])[-1].argmax()))
    return ids[len(prompt) :]


# What comes out


def test_greedy_ids_of_the_starter_model_are_the_known_ones(isa, shared):
    lm = nextword.load(shared("starter_model"))
    out = lm.generate(KNOWN_PROMPT, max_new_tokens=len(KNOWN))
    assert out.tokens == KNOWN
    assert out.text == lm.tokenizer.decode(KNOWN)
    assert out.prompt_tokens == KNOWN_PROMPT
    assert out.finish_reason == "length"


def test_greedy_generation_takes_the_most_probable_token_each_time(isa, tiny):
    assert tiny.generate([1, 2, 3], max_new_tokens=20).tokens == greedy_by_hand(tiny.model, [1, 2, 3], 20)


def test_a_text_prompt_is_its_tokens(demo):
    text = "Once upon a time"
    ids = demo.tokenizer.encode(text)
    a, b, c = (demo.generate(p, max_new_tokens=5) for p in (text, ids, np.array(ids, np.int32)))
    assert a.tokens == b.tokens == c.tokens
    assert a.prompt_tokens == b.prompt_tokens == c.prompt_tokens == ids
    np.testing.assert_array_equal(demo.logits(text), demo.logits(ids))


def test_a_model_without_a_vocabulary_gives_ids_and_no_text(tiny):
    out = tiny.generate([1], max_new_tokens=3)
    assert out.text is None
    assert len(out.tokens) == 3
    assert list(tiny.stream([1], max_new_tokens=3)) == out.tokens


def test_no_new_tokens_is_an_empty_generation(tiny, says):
    out = tiny.generate([1, 2], max_new_tokens=0)
    assert (out.tokens, out.finish_reason, out.timings.decode_tokens) == ([], "length", 0)
    assert says("abc").generate("x", max_new_tokens=0).text == ""


def test_timings_count_every_token(tiny):
    t = tiny.generate([[1, 2, 3], [4]], max_new_tokens=5)[0].timings
    assert (t.prefill_tokens, t.decode_tokens) == (4, 8)
    assert t.prefill_seconds > 0
    assert t.decode_seconds > 0
    assert t.prefill_tokens_per_second == 4 / t.prefill_seconds
    assert t.decode_tokens_per_second == 8 / t.decode_seconds
    idle = tiny.generate([1], max_new_tokens=1).timings
    assert idle.decode_tokens_per_second == 0.0


# logits


@given(ids=st.lists(st.integers(0, 36), min_size=1, max_size=24))
def test_logits_are_the_models(tiny, ids):
    every = tiny.logits(ids)
    np.testing.assert_array_equal(every, run(tiny.model, [ids]))
    np.testing.assert_array_equal(tiny.logits(ids, last_only=True), every[-1])
    assert every.dtype == np.float32


@pytest.mark.parametrize("tokens", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7])
def test_logits_of_long_prompts_come_in_chunks_with_the_same_bits(tokens):
    lm = LanguageModel(random_model(tiny_config(n_layer=1, n_positions=2 * CHUNK + 7)))
    ids = np.random.default_rng(0).integers(0, 37, tokens)
    every = lm.logits(ids)
    np.testing.assert_array_equal(every, run(lm.model, [ids]))
    np.testing.assert_array_equal(lm.logits(ids, last_only=True), every[-1])
    assert lm.generate(ids, max_new_tokens=1).tokens == [int(every[-1].argmax())]


@pytest.mark.parametrize("ids", [[], [0] * 25])
def test_logits_of_too_few_or_too_many_tokens_are_an_error(tiny, ids):
    with pytest.raises(ValueError, match=f"logits: expected 1 .. 24 tokens .*, got {len(ids)}"):
        tiny.logits(ids)


@pytest.mark.parametrize("ids", [[37], [0, -1]])
def test_logits_of_an_unknown_id_are_an_index_error(tiny, ids):
    with pytest.raises(IndexError, match=str(ids[-1])):
        tiny.logits(ids)


# Streaming


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.9, "seed": 3}, {"temperature": 1.5, "top_k": 50, "top_p": 0.9, "seed": 1}]
)
def test_a_stream_is_the_generation_piece_by_piece(demo, settings):
    whole = demo.generate("Once upon a time", max_new_tokens=25, **settings)
    stream = demo.stream("Once upon a time", max_new_tokens=25, **settings)
    with pytest.raises(RuntimeError, match="read it to its end"):
        _ = stream.result
    pieces = list(stream)
    assert "".join(pieces) == whole.text
    assert len(pieces) > 5
    assert "" not in pieces
    assert (stream.result.tokens, stream.result.finish_reason) == (whole.tokens, whole.finish_reason)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_stream_of_bytes_yields_whole_characters(says, text):
    pieces = list(says(text).stream("x", max_new_tokens=200))
    assert pieces == list(text)


@pytest.mark.parametrize("text", ["Grüße, Öl", "😀👍🏽", "naïve — 中文", "a\u0300e"])
def test_umlauts_and_emoji_are_never_cut(says, text):
    assert list(says(text).stream("x", max_new_tokens=99)) == list(text)


@given(raw=st.binary(max_size=30))
def test_bytes_that_are_no_text_become_replacement_characters_once(says, raw):
    stream = says(raw).stream("x", max_new_tokens=99)
    text = "".join(stream)
    assert text == raw.decode("utf-8", "replace")
    assert text == says(raw).generate("x", max_new_tokens=99).text
    assert stream.result.tokens == list(raw)


@given(cut=st.integers(0, 11))
def test_a_limit_in_the_middle_of_a_character_says_so(says, cut):
    raw = "äö😀€".encode()
    out = says(raw).generate("x", max_new_tokens=cut)
    assert out.text == codecs.decode(raw[:cut], "utf-8", "replace")
    assert out.finish_reason == "length"


def test_a_stream_without_an_end_yet_holds_nothing_but_half_characters_back(says):
    seen = []
    for piece in says("äb").stream("x", max_new_tokens=3):
        seen.append(piece)
    assert seen == ["ä", "b"]


# Ends


def test_generation_ends_at_the_configured_end_token(says):
    out = says("abc").generate("x", max_new_tokens=99)
    assert (out.text, out.tokens, out.finish_reason) == ("abc", list(b"abc"), "stop")


def test_another_end_token_or_none_may_be_asked_for(says):
    assert says("abc").generate("x", max_new_tokens=9, eos=ord("b")).tokens == list(b"a")
    endless = says("abc").generate("x", max_new_tokens=6, eos=None)
    assert endless.tokens == [*b"abc", 256, 256, 256]
    assert endless.finish_reason == "length"


@pytest.mark.parametrize("eos", ["none", 1.5, -1, 257, True, [3, "two"], [None], b"a", [1.5], {3: 4}])
def test_an_end_token_that_is_none_is_an_error(says, eos):
    with pytest.raises(ValueError, match="generate: eos must be"):
        says("abc").generate("x", eos=eos)


@given(text=st.text("ab", max_size=12), stop=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_string(says, text, stop):
    """Every byte is a token, so a stop string of two letters spans a border."""
    found = [text.find(s) for s in stop if s in text]
    # the stop string that is complete first ends the text; of those complete at once, the one that begins first
    ends = [text.find(s) + len(s) for s in stop if s in text]
    expected, finish = text, "stop"
    if found:
        seen = text[: min(ends)]
        expected = seen[: min(seen.find(s) for s in stop if s in seen)]
    stream = says(text).stream("x", max_new_tokens=50, stop=stop)
    pieces = list(stream)
    assert "".join(pieces) == expected
    assert stream.result.text == expected
    assert stream.result.finish_reason == finish
    if found:
        assert stream.result.tokens == list(text[: min(ends)].encode())


def test_text_that_might_begin_a_stop_string_is_held_back_until_it_is_certain(says):
    assert list(says("aabc-END").stream("x", max_new_tokens=3, stop="abcd")) == ["a", "ab"]
    pieces = list(says("ENEND").stream("x", max_new_tokens=9, stop="END"))
    assert pieces == ["EN"]


def test_a_stop_string_inside_one_token_cuts_the_token(demo):
    plain = demo.generate("Once upon a time", max_new_tokens=20)
    stop = next(word for word in plain.text.split()[1:] if len(word) > 2)[1:]
    out = demo.generate("Once upon a time", max_new_tokens=20, stop=stop)
    assert out.text == plain.text[: plain.text.find(stop)]
    assert out.finish_reason == "stop"
    assert plain.tokens[: len(out.tokens)] == out.tokens


def test_a_stop_string_in_the_prompt_does_not_count(demo):
    out = demo.generate("Once upon a time", max_new_tokens=4, stop="Once upon")
    assert out.finish_reason == "length"


def test_text_ends_before_a_stop_id_and_the_tokens_hold_it(says):
    out = says("abcabc").generate("x", max_new_tokens=9, stop=[ord("c"), ord("z")])
    assert (out.text, out.tokens, out.finish_reason) == ("ab", list(b"abc"), "stop")
    assert says("abcabc").generate("x", max_new_tokens=9, stop=ord("b")).text == "a"
    assert says("abcabc").generate("x", max_new_tokens=9, stop=("cab", ord("b"))).text == "a"
    assert says("abcabc").generate("x", max_new_tokens=9, stop=["ca", ord("z")]).text == "ab"


def test_a_stop_id_works_without_a_vocabulary(tiny):
    plain = tiny.generate([1, 2, 3], max_new_tokens=20).tokens
    out = tiny.generate([1, 2, 3], max_new_tokens=20, stop=plain[4])
    assert out.tokens == plain[: plain.index(plain[4]) + 1]
    assert out.finish_reason == "stop"


@pytest.mark.parametrize("stop", ["", ["a", ""], [1.5], [None], [True], [b"a"], -1, [257], 5000, ["a", 257], 1.5])
def test_a_wrong_stop_is_an_error_that_names_it(says, stop):
    with pytest.raises(ValueError, match="stop must hold"):
        says("abc").generate("x", stop=stop)


def test_a_stop_string_without_a_vocabulary_is_an_error(tiny):
    with pytest.raises(ValueError, match="stop strings need a vocabulary"):
        tiny.generate([1], stop="a")


# The context window (24 tokens)


def test_what_does_not_fit_is_an_error_at_once(tiny):
    assert len(tiny.generate([1] * 20, max_new_tokens=5).tokens) == 5  # the last token is never encoded
    for count in (6, 40):
        with pytest.raises(ValueError, match=r"prompt of 20 tokens.*context window of 24"):
            tiny.generate([1] * 20, max_new_tokens=count)
        with pytest.raises(ValueError, match="stream: prompt of 20"):
            tiny.stream([1] * 20, max_new_tokens=count)


@given(length=st.integers(1, 24), count=st.integers(0, 40))
def test_stop_ends_when_the_window_is_full(tiny, length, count):
    prompt = [3] * length
    out = tiny.generate(prompt, max_new_tokens=count, on_overflow="stop")
    fits = 24 - length + 1
    assert out.tokens == greedy_by_hand(tiny.model, prompt, min(fits, count))
    assert out.finish_reason == ("length" if count <= fits else "context")


def test_stop_still_refuses_a_prompt_that_does_not_fit(tiny):
    with pytest.raises(ValueError, match=r'must fit into the context window of 24 tokens, got 25.*on_overflow="slide"'):
        tiny.generate([1] * 25, on_overflow="stop")


def slide_by_hand(model, prompt, count):
    """Encode the kept tokens anew whenever the window is full."""
    window, ids, begin = model.limit, list(prompt), 0
    for made in range(count):
        if len(ids) - begin > window:
            begin = len(ids) - keep_on_slide(window, count - made)
        ids.append(int(run(model, [ids[begin:]])[-1].argmax()))
    return ids[len(prompt) :]


@given(length=st.integers(1, 60), count=st.integers(0, 60), seed=st.integers(0, 99))
def test_slide_equals_encoding_the_last_tokens_by_hand(tiny, length, count, seed):
    prompt = np.random.default_rng(seed).integers(0, 37, length).tolist()
    out = tiny.generate(prompt, max_new_tokens=count, on_overflow="slide")
    assert out.tokens == slide_by_hand(tiny.model, prompt, count)
    assert out.finish_reason == "length"
    assert out.prompt_tokens == prompt


@given(st.integers(1, 2000), st.integers(0, 5000))
def test_sliding_keeps_at_least_half_of_the_window_and_leaves_room(window, remaining):
    kept = keep_on_slide(window, remaining)
    assert window / 2 <= kept <= window
    assert kept + remaining <= window or kept == window - window // 2


def test_a_window_of_one_token_slides():
    lm = LanguageModel(random_model(tiny_config(n_positions=1)))
    assert len(lm.generate([1, 2, 3], max_new_tokens=5, on_overflow="slide").tokens) == 5


# Batches


@given(
    prompts=st.lists(st.lists(st.integers(0, 36), min_size=1, max_size=12), min_size=1, max_size=5),
    seeds=st.lists(st.integers(0, 2**32), min_size=5, max_size=5),
    temperature=st.sampled_from([0.0, 0.7, 3.0]),
    overflow=st.sampled_from(["error", "stop", "slide"]),
)
def test_a_row_of_a_batch_is_its_prompt_alone(tiny, prompts, seeds, temperature, overflow):
    seeds = seeds[: len(prompts)]
    settings = {
        "temperature": temperature,
        "max_new_tokens": 12 if overflow == "error" else 30,
        "on_overflow": overflow,
        "stop": [3, 4],
    }
    together = tiny.generate(prompts, seed=seeds, **settings)
    for prompt, seed, row in zip(prompts, seeds, together, strict=True):
        alone = tiny.generate(prompt, seed=seed, **settings)
        assert (row.tokens, row.finish_reason, row.seed) == (alone.tokens, alone.finish_reason, alone.seed)
        assert row.prompt_tokens == prompt


def test_rows_with_one_seed_draw_differently_and_again_the_same(tiny):
    a = tiny.generate([[1, 2]] * 4, temperature=5.0, seed=1, max_new_tokens=20)
    b = tiny.generate([[1, 2]] * 4, temperature=5.0, seed=1, max_new_tokens=20)
    assert [r.tokens for r in a] == [r.tokens for r in b]
    assert len({tuple(r.tokens) for r in a}) == 4
    assert a[0].tokens == tiny.generate([1, 2], temperature=5.0, seed=1, max_new_tokens=20).tokens


def test_a_seed_that_was_not_given_is_told(tiny):
    out = tiny.generate([1], temperature=5.0, max_new_tokens=20)
    again = tiny.generate([1], temperature=5.0, max_new_tokens=20, seed=out.seed)
    assert again.tokens == out.tokens
    assert tiny.generate([1], temperature=5.0, max_new_tokens=20).seed != out.seed


def test_a_batch_of_texts_and_of_arrays(demo):
    texts = ["Once upon a time", "Es war einmal"]
    ids = [demo.tokenizer.encode(t) for t in texts]
    for batch in (texts, ids, [np.array(i) for i in ids], tuple(texts), [texts[0], ids[1]]):
        out = demo.generate(batch, max_new_tokens=4)
        assert isinstance(out, list)
        assert [r.prompt_tokens for r in out] == ids


def test_an_empty_batch_gives_an_empty_list(tiny):
    assert tiny.generate([]) == []


def test_a_batch_larger_than_a_chunk_gives_the_same_rows(tiny):
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 37, rng.integers(1, 20)).tolist() for _ in range(90)]  # 900 tokens: two chunks
    together = tiny.generate(prompts, max_new_tokens=3)
    assert [r.tokens for r in together] == [tiny.generate(p, max_new_tokens=3).tokens for p in prompts]


# Wrong arguments


@pytest.mark.parametrize(
    "prompt", [[1.5], [True], ["a", 3.0], 3, None, b"abc", {"a": 1}, np.zeros(3), np.zeros((1, 2), int), [None]]
)
def test_a_prompt_that_is_neither_text_nor_ids_is_a_type_error(demo, prompt):
    with pytest.raises(TypeError, match="generate: prompt must be a text or a list of integer token ids"):
        demo.generate(prompt)


def test_a_text_without_a_vocabulary_is_an_error(tiny):
    for call in (tiny.generate, tiny.stream, tiny.logits):
        with pytest.raises(ValueError, match="a text needs a vocabulary"):
            call("hello")


def test_an_empty_prompt_of_a_model_without_a_first_token_is_an_error(tiny):
    for prompt in ([[]], np.array([], int)):
        with pytest.raises(ValueError, match="prompt must have at least one token"):
            tiny.generate(prompt)
    with pytest.raises(ValueError, match="prompt must have at least one token"):
        tiny.stream([])


@pytest.mark.parametrize("ids", [[37], [-1], [0, 2**70]])
def test_an_unknown_id_in_a_prompt_is_an_index_error(tiny, ids):
    with pytest.raises(IndexError, match=f"prompt must hold token ids 0 .. 36, got {ids[-1]}"):
        tiny.generate(ids, max_new_tokens=2)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [("max_new_tokens", -1, ValueError), ("max_new_tokens", 1.0, TypeError), ("max_new_tokens", True, TypeError),
     ("on_overflow", "wrap", ValueError),
     ("seed", [1, 2], ValueError), ("seed", "x", TypeError), ("seed", 1.5, TypeError), ("seed", True, TypeError),
     ("seed", -1, ValueError), ("seed", [1.5], TypeError), ("temperature", -1, ValueError),
     ("temperature", "hot", TypeError), ("top_k", -1, ValueError),
     ("top_p", 1.5, ValueError)],
)  # fmt: skip
def test_a_wrong_argument_is_an_error_that_names_it(tiny, argument, value, error):
    for call in (tiny.generate, tiny.stream):
        with pytest.raises(error, match=f"{argument} must be"):
            call([1], **{argument: value})


def test_numpy_integers_are_integers(tiny):
    out = tiny.generate([np.int64(1)], max_new_tokens=np.int64(3), seed=np.int32(1), stop=[np.int64(30)])
    assert len(out.tokens) == 3


# Interruption


def test_a_model_is_usable_after_an_interruption(tiny):
    expected = tiny.generate([1, 2, 3], max_new_tokens=10).tokens
    passes = []

    def interrupt(x):
        passes.append(x)
        if len(passes) == 4:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt), nextword.trace(tiny, names=[], replace={"h.1.mlp.act": interrupt}):
        tiny.generate([1, 2, 3], max_new_tokens=10)
    assert tiny.generate([1, 2, 3], max_new_tokens=10).tokens == expected


INTERRUPTED = """
import os, signal, threading, time, nextword
from strategies import random_model, tiny_config

big = dict(n_layer=6, n_head=8, n_embd=512, n_inner=2048, n_positions=1024, vocab_size=5000)
lm = nextword.LanguageModel(random_model(tiny_config(**big)))
ids = list(range(900))
start = time.perf_counter()
expected = lm.logits(ids, last_only=True).tobytes()
whole = time.perf_counter() - start
sent = 0.0

def interrupt():
    global sent
    time.sleep(whole / 4)
    sent = time.process_time()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    for _ in range(50):
        lm.generate(ids, max_new_tokens=100)
except KeyboardInterrupt:
    compute = time.process_time() - sent
assert lm.logits(ids, last_only=True).tobytes() == expected
print(compute, whole)
"""


def test_an_interrupt_stops_within_50_ms_of_compute():
    """A pass is made of short operations, and Python sees the signal between them."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "NEXTWORD_THREADS": "1"}
    out = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, env=env)
    assert out.returncode == 0, out.stderr
    compute, _ = map(float, out.stdout.split())
    assert compute < 0.05


def test_a_stream_that_is_left_early_costs_nothing_more(tiny):
    with nextword.trace(tiny, names="logits") as t:
        stream = tiny.stream([1, 2, 3], max_new_tokens=20)
        assert "logits" not in t  # nothing happens before the first piece
        next(iter(stream))
    assert len(t.all("logits")) == 1


def test_a_generation_shows_what_it_is(demo):
    assert repr(demo) == "LanguageModel(gpt2: 4 layers, 4 heads, width 256, vocabulary 4096, context 512)"
    out = demo.generate([281], max_new_tokens=1)
    assert isinstance(out, Generation)
    with pytest.raises(AttributeError):
        out.text = "other"
