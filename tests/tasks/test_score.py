"""tasks/score.py and cli/score.py: log-probabilities, windows, batches, and what the command prints."""

from __future__ import annotations

import io
import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from byte_vocabulary import byte_tokenizer
from nextword.cli import main as cli
from nextword.decoding.sampling import log_probabilities
from nextword.models import passes
from nextword.tasks import score as score_module
from nextword.tasks.language_model import LanguageModel
from stand_in import Terminal
from strategies import random_model, random_tensors, tiny_config

EOS = 256


@pytest.fixture(scope="module")
def tiny():
    """A model of random weights without a vocabulary; its window is 24 tokens."""
    return LanguageModel(random_model(tiny_config(eos_token_id=36), seed=5))


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A model of random weights over bytes."""
    tokenizer = byte_tokenizer(tmp_path_factory.mktemp("bytes"))
    return LanguageModel(random_model(tiny_config(vocab_size=260, eos_token_id=EOS), seed=6), tokenizer)


def log_softmax(logits):
    x = logits.astype(np.float64)
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


def by_hand(model, ids, start):
    """Log-probabilities of ids after start, from one pass over all of them."""
    whole = [start, *ids]
    rows = log_softmax(model([np.array(whole[:-1])], model.cache(1)))
    return rows[np.arange(len(ids)), ids]


# The numbers


@given(ids=st.lists(st.integers(0, 36), min_size=1, max_size=24))
def test_a_text_in_one_window_has_the_log_softmax_of_its_logits(tiny, ids):
    np.testing.assert_allclose(tiny.score(ids).logprobs, by_hand(tiny.model, ids, 36), rtol=0, atol=1e-12)


def test_the_log_probabilities_are_those_of_the_numpy_model():
    config = tiny_config(eos_token_id=36)
    fast = LanguageModel(random_model(config, seed=5))
    slow = random_model(config, seed=5, ops=nextword.reference)
    ids = np.random.default_rng(0).integers(0, 37, 24).tolist()
    np.testing.assert_allclose(fast.score(ids).logprobs, by_hand(slow, ids, 36), rtol=0, atol=1e-4)


def test_all_numbers_follow_from_the_log_probabilities(letters):
    found = letters.score("Grüße")
    p = found.logprobs
    assert found.tokens == list("Grüße".encode())
    assert (found.start, found.count, found.bytes) == (EOS, 7, 7)
    assert p.dtype == np.float64
    assert found.logprob == pytest.approx(p.sum(), abs=1e-12)
    assert found.perplexity == pytest.approx(np.exp(-p.mean()))
    assert found.bits_per_byte == pytest.approx(-np.log2(np.exp(p)).sum() / 7)


def test_a_model_that_knows_nothing_is_as_uncertain_as_its_vocabulary_is_large(tmp_path):
    tensors = {name: np.zeros_like(x) for name, x in random_tensors(tiny_config(vocab_size=257)).items()}
    flat = LanguageModel(nextword.models.ARCHITECTURES["gpt2"](tensors, tiny_config(vocab_size=257)),
                         byte_tokenizer(tmp_path))  # fmt: skip
    found = flat.score("abc" * 30)
    assert found.perplexity == pytest.approx(257)
    assert found.bits_per_byte == pytest.approx(np.log2(257))


def test_without_a_start_the_first_token_is_context_only(letters):
    found = letters.score("abc", start=None)
    assert math.isnan(found.logprobs[0])
    assert (found.count, found.bytes, found.start) == (2, 2, None)
    np.testing.assert_array_equal(found.logprobs[1:], letters.score("bc", start=ord("a")).logprobs)
    assert found.logprob == math.fsum(found.logprobs[1:])


def test_the_start_is_the_end_token_where_there_is_one(letters, tiny):
    assert letters.score("a").start == EOS
    assert tiny.score([1]).start == 36
    none = LanguageModel(random_model(tiny_config(eos_token_id=37), seed=5))  # an id that the model lacks
    assert none.score([1, 2]).start is None


def test_special_tokens_count_no_bytes_and_ids_without_a_text_neither(letters):
    assert letters.score([97, EOS, 98, 259]).bytes == 2
    nothing = letters.score([EOS])
    assert (nothing.bytes, nothing.bits_per_byte, nothing.count) == (0, None, 1)


def test_without_a_vocabulary_there_are_no_bytes(tiny):
    assert (tiny.score([1]).bytes, tiny.score([1]).bits_per_byte) == (None, None)


@pytest.mark.parametrize("ids", [[3, 1], (3, 1), range(1, 3), np.array([3, 1], np.uint8)])
def test_ids_come_in_any_sequence(tiny, ids):
    assert tiny.score(ids).tokens == list(ids)


def test_a_hopeless_text_has_infinite_perplexity():
    assert log_probabilities(np.float32([0, -np.inf]), np.array([1]))[0] == -math.inf
    hopeless = score_module.Score([1, 2], 0, np.array([-800.0, -700.0]), 2, 8, 4)
    assert hopeless.perplexity == math.inf


# Windows


@given(
    ids=st.lists(st.integers(0, 36), min_size=1, max_size=70),
    window=st.integers(2, 24),
    data=st.data(),
)
def test_each_token_is_scored_once_in_the_first_window_that_reaches_it(tiny, ids, window, data):
    stride = data.draw(st.integers(1, window))
    whole = [36, *ids]
    wanted = np.full(len(ids), np.nan)
    begin = scored = 0
    while scored < len(ids):
        end = min(begin + window, len(ids))
        rows = log_softmax(tiny.logits(whole[begin:end]))
        for i in range(scored, end):
            wanted[i] = rows[i - begin, ids[i]]
            assert begin == 0 or i - begin + 1 >= window - stride + 1  # the context that is promised
        begin, scored = begin + stride, end
    np.testing.assert_allclose(tiny.score(ids, window=window, stride=stride).logprobs, wanted, rtol=0, atol=1e-12)


def test_window_and_stride_have_defaults(tiny):
    found = tiny.score([1] * 60)
    assert (found.window, found.stride) == (24, 12)
    assert tiny.score([1] * 60, window=2).stride == 1


@given(ids=st.lists(st.integers(0, 36), min_size=1, max_size=24), data=st.data())
def test_what_fits_into_a_window_does_not_depend_on_it(tiny, ids, data):
    window = data.draw(st.integers(max(2, len(ids)), 24))
    stride = data.draw(st.integers(1, window))
    np.testing.assert_array_equal(tiny.score(ids, window=window, stride=stride).logprobs, tiny.score(ids).logprobs)


# Batches and parts


@given(lengths=st.lists(st.integers(1, 60), max_size=8), chunk=st.sampled_from([1, 7, 32, 100, 512]), data=st.data())
def test_batches_and_parts_leave_the_bits_alone(tiny, lengths, chunk, data):
    rng = np.random.default_rng(len(lengths))
    texts = [rng.integers(0, 37, n).tolist() for n in lengths]
    window = data.draw(st.integers(2, 24))
    alone = [tiny.score(ids, window=window).logprobs for ids in texts]
    with pytest.MonkeyPatch.context() as patch:
        for module in (score_module, passes):
            patch.setattr(module, "CHUNK", chunk)
        together = tiny.score(texts, window=window)
    assert len(together) == len(texts)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other.logprobs)


def test_instruction_sets_agree_on_the_demo(isa, demo):
    found = demo.score("Once upon a time there was a king. " * 60)
    assert found.bytes == 35 * 60
    assert found.perplexity < 50


def test_no_more_rows_of_logits_are_alive_than_a_part_has(tiny, monkeypatch):
    seen = []
    model = tiny.model

    class Watched:
        def __getattr__(self, name):
            return getattr(model, name)

        def __call__(self, parts, cache, slots=None, rows=None, tap=None):
            seen.append((sum(map(len, parts)), len(rows), cache.capacity * len(cache.lengths)))
            return model(parts, cache, slots, rows, tap)

    for module in (score_module, passes):
        monkeypatch.setattr(module, "CHUNK", 64)
    LanguageModel(Watched()).score([[1] * 100, [2], [3] * 5])
    assert max(tokens for tokens, _, _ in seen) <= 64
    assert max(held for _, _, held in seen) <= 64
    assert sum(rows for _, rows, _ in seen) == 106


def test_progress_tells_every_token(tiny):
    seen = []
    tiny.score([[1] * 600, [2] * 5], progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (605, 605)
    assert len(seen) > 1


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 1}, r"window must be an integer 2 .. 24"),
        ({"window": 25}, r"window must be an integer 2 .. 24"),
        ({"window": 3.0}, "window"),
        ({"window": True}, "window"),
        ({"stride": 0}, "stride must be an integer 1 .. 24"),
        ({"stride": 5, "window": 4}, "stride must be an integer 1 .. 4"),
        ({"stride": "2"}, "stride"),
        ({"start": 37}, "start must be a token id 0 .. 36"),
        ({"start": "bos"}, "start must be"),
        ({"start": True}, "start must be"),
    ],
)
def test_a_wrong_setting_is_named(tiny, arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny.score([1, 2, 3], **arguments)


def test_a_wrong_text_is_named(tiny, letters):
    with pytest.raises(ValueError, match="at least 1 token, got 0"):
        letters.score("")
    with pytest.raises(ValueError, match="at least 1 token, got 0"):
        tiny.score([[1], []])
    with pytest.raises(ValueError, match="at least 2 tokens, as without a start token"):
        tiny.score([1], start=None)
    with pytest.raises(ValueError, match="needs a vocabulary"):
        tiny.score("abc")
    for wrong in ([1, 37], np.array([-1])):
        with pytest.raises(IndexError, match=r"token ids 0 .. 36"):
            tiny.score(wrong)
    for wrong in (3, [1, "a"], np.array([1.0]), np.array([[1]]), [None], b"ab", [1, 2.0], [1, True]):
        with pytest.raises(TypeError, match="a text or a list of integer token ids"):
            tiny.score(wrong)
    assert tiny.score([]) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(bad):
    with pytest.raises(ValueError, match="largest logit must be finite"):
        log_probabilities(np.float32([0, bad, 1]), np.array([0]))
    with pytest.raises(ValueError, match="largest logit must be finite"):
        log_probabilities(np.float32([-np.inf, -np.inf]), np.array([0]))


# The trained model


@pytest.mark.parametrize("start", ["de_spyri", "en_nesbit", "en_ozaki"])
def test_the_starter_model_foresees_books_that_it_has_not_read(shared, start):
    """Over the whole books: 1.72, 1.76 and 1.60 bits per byte (windows of 256, no overlap)."""
    file = next(shared("stories/valid").glob(f"{start}*"))
    text = file.read_bytes()[:40_000].decode("utf-8", "ignore")
    found = nextword.load(shared("starter_model")).score(text, window=256, stride=256)
    assert found.bytes == len(text.encode())
    assert 1.5 < found.bits_per_byte < 1.9


# The command


@pytest.fixture
def model(monkeypatch, letters):
    monkeypatch.setattr(nextword, "load", lambda *_, **__: letters)
    return letters


def type_in(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_the_command_prints_tokens_perplexity_and_bits(capsys, model):
    assert cli.main(["score", "Grüße", "an"]) == 0
    found = model.score("Grüße an")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["tokens", "10"]
    assert lines[1].split()[:2] == ["perplexity", f"{found.perplexity:,.2f}"]
    assert lines[2].split() == ["bits", "per", "byte", f"{found.bits_per_byte:.3f}", "(10", "bytes)"]
    assert lines[3].split()[1] == f"{found.logprob:,.2f}"


def test_the_command_reads_a_file_and_stdin_to_the_byte(capsys, model, monkeypatch, tmp_path):
    file = tmp_path / "story.txt"
    raw = "Äpfel\r\n\n".encode()
    file.write_bytes(raw)
    shown = []
    for arguments in ([str(file)], ["-"], []):
        type_in(monkeypatch, raw)
        assert cli.main(["score", "--json", *arguments]) == 0
        shown.append(json.loads(capsys.readouterr().out)["tokens"])
    assert shown == [list(raw)] * 3


def test_json_holds_everything(capsys, model):
    assert cli.main(["score", "--json", "--window", "4", "--stride", "1", "abcdefg"]) == 0
    found, wanted = json.loads(capsys.readouterr().out), model.score("abcdefg", window=4, stride=1)
    assert found["logprobs"] == wanted.logprobs.tolist()
    assert found["pieces"] == list("abcdefg")
    assert (found["window"], found["stride"], found["start"], found["count"]) == (4, 1, EOS, 7)
    assert (found["perplexity"], found["bits_per_byte"]) == (wanted.perplexity, wanted.bits_per_byte)
    assert (found["logprob"], found["bytes"]) == (wanted.logprob, 7)


def test_tokens_are_listed_with_their_surprise(capsys, model):
    assert cli.main(["score", "--tokens", "a\nb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    bits = -model.score("a\nb").logprobs / np.log(2)
    assert [line.split() for line in lines[:3]] == [
        [f"{x:.2f}", f"'{c}'"] for x, c in zip(bits, ["a", r"\n", "b"], strict=True)
    ]


def test_on_a_terminal_the_text_is_coloured_by_surprise(model, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    values = np.log(2) * -np.array([0.5, 3, 6, 9, 15, np.inf])
    found = score_module.Score(list(b"ab\ncde"), EOS, values, 6, 24, 12)
    monkeypatch.setattr(LanguageModel, "score", lambda self, text, **settings: found)
    assert cli.main(["score", "--tokens", "x"]) == 0
    first, second, _, legend, *_ = out.getvalue().splitlines()
    assert first == "\x1b[30;42ma\x1b[0m\x1b[30;46mb\x1b[0m\x1b[30;43m\\n\x1b[0m"
    assert second == "\x1b[30;45mc\x1b[0m\x1b[30;41md\x1b[0m\x1b[30;41me\x1b[0m"
    assert "0-2 bits" in legend
    assert "12 bits and more" in legend


def test_a_model_without_a_vocabulary_takes_ids(capsys, monkeypatch, tiny):
    monkeypatch.setattr(nextword, "load", lambda *_, **__: tiny)
    assert cli.main(["score", "--tokens", "1, 2", "3"]) == 0
    out = capsys.readouterr().out
    assert "bits per byte" not in out
    assert out.splitlines()[2].endswith("'3'")
    assert cli.main(["score", "--json", "1 2"]) == 0
    assert "pieces" not in json.loads(capsys.readouterr().out)
    assert cli.main(["score", "one"]) == 1
    assert "give the text as token ids" in capsys.readouterr().err


def test_what_is_no_number_is_null_in_json(capsys, monkeypatch):
    lm = LanguageModel(random_model(tiny_config(), seed=5))
    monkeypatch.setattr(nextword, "load", lambda *_, **__: lm)
    assert cli.main(["score", "--json", "1 2"]) == 0
    assert json.loads(capsys.readouterr().out)["logprobs"][0] is None
    assert cli.main(["score", "--tokens", "1 2"]) == 0
    assert capsys.readouterr().out.startswith("       -  '1'")


def test_input_that_is_not_clear_is_an_error(capsys, model, monkeypatch, tmp_path):
    file = tmp_path / "there.txt"
    file.write_text("abc")
    bad, empty = tmp_path / "latin", tmp_path / "empty"
    bad.write_bytes(b"ab\xe4")
    empty.touch()
    for arguments, message in [
        (["absent.txt"], "there is no file absent.txt"),
        (["some/where"], "there is no file"),
        ([str(tmp_path)], "is a folder"),
        ([str(file), "more"], "among several words"),
        ([str(bad)], "is not UTF-8 text from byte 2 on"),
        ([str(empty)], "is empty"),
        ([""], "no text"),
        (["ab\udcff"], "not valid UTF-8 after 'ab'"),
        (["--window", "1", "x"], "window must be an integer"),
        (["--stride", "0", "x"], "stride must be an integer"),
    ]:
        assert cli.main(["score", *arguments]) == 1, arguments
        assert message in capsys.readouterr().err
    for words in (["--text", "absent.txt"], ["--text", str(file)], ["x" * 5000], ["a\0b"]):
        assert cli.main(["score", *words]) == 0
        capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert cli.main(["score"]) == 1
    assert "no text" in capsys.readouterr().err
