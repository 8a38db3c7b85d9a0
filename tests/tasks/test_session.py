"""session.py, session_file.py: a session is its whole text given anew, bit for bit; a damaged file is a clear error."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nextword
from byte_vocabulary import byte_tokenizer
from nextword.decoding.prefix import PrefixCache
from nextword.tasks.fingerprint import model_fingerprint
from nextword.tasks.language_model import LanguageModel
from nextword.tasks.session import Session
from nextword.tasks.session_file import HEADER_LIMIT, ZEROS
from strategies import Script, models, random_model, random_tensors, run, tiny_config

WINDOW = 40


@pytest.fixture(scope="module")
def lm():
    """Random weights, no vocabulary, a window of 40 tokens."""
    return LanguageModel(random_model(tiny_config(n_positions=WINDOW), seed=5))


def logits_anew(lm, ids):
    return run(lm.model, [ids])[-1]


def ids_of(data, most=20, least=0):
    return data.draw(st.lists(st.integers(0, 36), min_size=least, max_size=most), "ids")


# A session is its whole text given anew


@given(st.data())
def test_whatever_happens_a_session_is_its_text_given_anew(isa, lm, tmp_path, data):
    sessions = [(lm.session(prefix=data.draw(st.sampled_from([None, PrefixCache(lm.model, 64)]))), [])]
    actions = ["feed", "generate", "stream", "rewind", "rewind_to", "fork", "save", "logits"]
    for _ in range(data.draw(st.integers(1, 12), "steps")):
        at = data.draw(st.integers(0, len(sessions) - 1), "session")
        session, ids = sessions[at]
        match data.draw(st.sampled_from(actions), "action"):
            case "feed":
                more = ids_of(data)
                session.feed(more)
                ids = ids + more
            case "generate" if ids:
                settings = {
                    "max_new_tokens": data.draw(st.integers(0, 30), "new"),
                    "temperature": data.draw(st.sampled_from([0.0, 2.0])),
                    "seed": 3,
                    "on_overflow": "slide",
                }
                found, expected = session.generate(**settings), lm.generate(ids, **settings)
                assert (found.tokens, found.finish_reason) == (expected.tokens, expected.finish_reason)
                assert found.prompt_tokens == ids
                ids = ids + found.tokens
            case "stream" if ids:
                settings = {"max_new_tokens": 30, "on_overflow": "slide"}
                pieces = list(itertools.islice(session.stream(**settings), data.draw(st.integers(0, 9), "pieces")))
                assert pieces == lm.generate(ids, **settings).tokens[: len(pieces)]
                ids = session.tokens
            case "rewind":
                count = data.draw(st.integers(0, len(ids)), "rewind")
                session.rewind(count)
                ids = ids[: len(ids) - count]
            case "rewind_to":
                ids = ids[: data.draw(st.integers(0, len(ids)), "length")]
                session.rewind_to(len(ids))
            case "fork":
                sessions.append((session.fork(), ids))
            case "save":
                session.save(tmp_path / "saved")
                sessions.append((lm.resume(tmp_path / "saved"), ids))
            case "logits" if 1 <= len(ids) <= WINDOW:
                np.testing.assert_array_equal(session.logits, logits_anew(lm, ids))
        sessions[at] = session, ids
        for session, ids in sessions:
            assert session.tokens == ids
    for session, ids in sessions:
        if 1 <= len(ids) <= WINDOW:
            np.testing.assert_array_equal(session.logits, logits_anew(lm, ids))
            found = session.generate(max_new_tokens=20, on_overflow="stop")
            expected = lm.generate(ids, max_new_tokens=20, on_overflow="stop")
            assert (found.tokens, found.finish_reason) == (expected.tokens, expected.finish_reason)


@given(st.data())
def test_models_of_any_shape_resume_with_the_same_bits(tmp_path, data):
    lm = LanguageModel(data.draw(models()))
    model = lm.model
    ids = data.draw(st.lists(st.integers(0, model.vocabulary - 1), min_size=1, max_size=model.limit))
    session = lm.session(ids)
    session.save(tmp_path / "saved")
    again = lm.resume(tmp_path / "saved")
    assert again._held == len(ids) - 1
    np.testing.assert_array_equal(again.logits, session.logits)
    np.testing.assert_array_equal(again.logits, logits_anew(lm, ids))


def test_a_story_goes_on_after_it_was_saved(demo, tmp_path):
    session = demo.session("Once upon a time")
    whole = demo.generate("Once upon a time", max_new_tokens=40)
    first = session.generate(max_new_tokens=15)
    session.save(str(tmp_path / "story"))
    again = demo.resume(str(tmp_path / "story"))
    assert first.text + again.generate(max_new_tokens=25).text == whole.text
    assert again.text == "Once upon a time" + whole.text
    assert len(again) == len(again.tokens)
    assert repr(again) == f"Session({len(again)} tokens, {len(again) - 1} in the cache)"


def test_only_new_tokens_are_encoded(lm):
    session = lm.session([1, 2, 3])
    assert session.generate(max_new_tokens=4).timings.prefill_tokens == 1
    with nextword.trace(lm, names="wte") as t:
        session.feed([5, 6])
        session.generate(max_new_tokens=2)
    assert [len(x) for x in t.all("wte")] == [2, 1, 1]


def test_a_long_prompt_is_encoded_in_chunks_with_the_same_bits():
    lm = LanguageModel(random_model(tiny_config(n_layer=1, n_positions=1100)))
    ids = np.random.default_rng(0).integers(0, 37, 1100)
    np.testing.assert_array_equal(lm.session(ids, capacity=5).logits, logits_anew(lm, ids.tolist()))


def test_a_prompt_of_the_store_is_not_encoded_again(lm):
    store = PrefixCache(lm.model)
    lm.session([1, 2, 3, 4], prefix=store)
    with nextword.trace(lm, names=[]):
        pass
    assert store.lookup([1, 2, 3, 9]) == 3
    np.testing.assert_array_equal(lm.session([1, 2, 3, 9], prefix=store).logits, logits_anew(lm, [1, 2, 3, 9]))


# Texts and streams


@pytest.fixture(scope="module")
def says(tmp_path_factory):
    vocabulary = byte_tokenizer(tmp_path_factory.mktemp("bytes"))
    return lambda text: LanguageModel(Script(text.encode(), 1), vocabulary)


def test_a_stream_grows_the_session_piece_by_piece(says):
    session = says("äb€c").session("x")
    stream = session.stream(max_new_tokens=99)
    seen = []
    for piece in stream:
        seen.append(piece)
        assert session.text == "x" + "".join(seen)
    assert stream.result.text == "äb€c"
    assert stream.result.finish_reason == "stop"


def test_a_stream_that_was_left_may_be_read_on(says):
    session = says("abcdef").session("x")
    stream = session.stream(max_new_tokens=99)
    for piece in stream:
        if piece == "b":
            break
    assert session.text == "xab"
    assert "".join(stream) == "cdef"


@pytest.mark.parametrize("change", [
    lambda s: s.feed([1]), lambda s: s.rewind(1), lambda s: s.rewind_to(1), lambda s: s.generate(max_new_tokens=3),
])  # fmt: skip
@pytest.mark.parametrize("begun", [False, True])
def test_a_stream_of_a_session_that_has_changed_is_an_error(lm, change, begun):
    session = lm.session([1, 2])
    stream = session.stream(max_new_tokens=5)
    if begun:
        next(iter(stream))
    change(session)
    with pytest.raises(RuntimeError, match="the session has changed since; make a new stream"):
        list(stream)


def test_looking_at_a_session_does_not_disturb_its_stream(lm, tmp_path):
    session, seen = lm.session([1, 2]), []
    for token in session.stream(max_new_tokens=9):
        seen.append(token)
        assert session.fork().generate(max_new_tokens=2).tokens == lm.generate([1, 2, *seen], max_new_tokens=2).tokens
        np.testing.assert_array_equal(session.logits, logits_anew(lm, [1, 2, *seen]))
        session.save(tmp_path / "saved")
    assert seen == lm.generate([1, 2], max_new_tokens=9).tokens


def test_the_tokens_of_a_stop_string_are_in_the_session(says):
    session = says("ab-END-c").session("x")
    assert session.generate(stop="END").text == "ab-"
    assert session.text == "xab-END"
    assert session.generate(stop="x").text == "-c"


@pytest.mark.parametrize("when", range(8))
def test_an_interrupted_generation_leaves_a_session_that_goes_on(lm, monkeypatch, when):
    session = lm.session([7] * (WINDOW - 2))
    calls, model = iter(range(100)), type(lm.model).__call__

    def interrupted(self, *args, **settings):
        logits = model(self, *args, **settings)
        if next(calls) == when:
            raise KeyboardInterrupt
        return logits

    with monkeypatch.context() as patch:
        patch.setattr(type(lm.model), "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.generate(max_new_tokens=20, on_overflow="slide")
    ids = session.tokens
    assert ids[WINDOW - 2 :] == lm.generate(ids[: WINDOW - 2], max_new_tokens=20, on_overflow="slide").tokens[:when]
    expected = lm.generate(ids, max_new_tokens=9, on_overflow="slide").tokens
    assert session.fork().generate(max_new_tokens=9, on_overflow="slide").tokens == expected
    session.rewind_to(10)
    np.testing.assert_array_equal(session.logits, logits_anew(lm, ids[:10]))


# Errors of use


def test_what_does_not_fit_is_the_error_of_generate(lm):
    session = lm.session([1] * (WINDOW - 4))
    with pytest.raises(ValueError, match=r"prompt of 36 tokens and max_new_tokens=6 must fit .* window of 40"):
        session.generate(max_new_tokens=6)
    assert len(session.generate(max_new_tokens=5).tokens) == 5
    with pytest.raises(ValueError, match=r"logits: expected 1 .. 40 tokens .*, the session has 41"):
        _ = session.logits
    with pytest.raises(ValueError, match='window of 40 tokens, got 41; shorten it, or pass on_overflow="slide"'):
        session.generate(on_overflow="stop")
    session.rewind(1)
    assert session.generate(on_overflow="stop").finish_reason == "context"


def test_wrong_arguments_are_errors_that_change_nothing(lm):
    session = lm.session([1, 2])
    for call, error, match in [
        (lambda: session.feed([3, 37]), IndexError, r"feed: prompt must hold token ids 0 .. 36, got 37"),
        (lambda: session.feed("text"), ValueError, "feed: a text needs a vocabulary"),
        (lambda: session.feed(1.5), TypeError, "feed: prompt must be a text or a list"),
        (lambda: session.rewind(3), ValueError, r"rewind: expected 0 .. 2 tokens, got 3"),
        (lambda: session.rewind(-1), ValueError, "got -1"),
        (lambda: session.rewind_to(3), ValueError, r"rewind_to: expected a length of 0 .. 2 tokens, got 3"),
        (lambda: session.generate(temperature=-1), ValueError, "temperature"),
        (lambda: session.generate(nonsense=1), TypeError, "nonsense"),
        (lambda: lm.session(capacity=-1), ValueError, "session: capacity must be"),
        (lambda: lm.session(capacity="x"), ValueError, "session: capacity must be"),
    ]:
        with pytest.raises(error, match=match):
            call()
    assert session.tokens == [1, 2]
    assert session.text is None
    empty = lm.session()
    assert (len(empty), empty.tokens) == (0, [])
    with pytest.raises(ValueError, match="prompt must have at least one token"):
        empty.generate()
    with pytest.raises(ValueError, match="the session has 0"):
        _ = empty.logits


# Files


@pytest.fixture
def saved(lm, tmp_path):
    path = tmp_path / "a.session"
    session = lm.session([3, 1, 4, 1, 5, 9, 2, 6])
    session.save(path)
    return path


def test_a_file_is_safetensors_with_the_keys_and_values_of_every_layer(lm, saved):
    with safe_open(saved, framework="numpy") as file:
        about = file.metadata()
    assert (about["format"], about["version"]) == ("nextword session", "2")
    assert about["fingerprint"] == model_fingerprint(lm.model)
    tensors = load_file(saved)
    assert sorted(tensors) == ["ids", "keys.0", "keys.1", "values.0", "values.1"]
    with nextword.trace(lm, names="h.*.attn.[kv]") as t:
        lm.logits(tensors["ids"][:-1])
    for layer in range(2):
        for kind in ("keys", "values"):
            by_head = t[f"h.{layer}.attn.{kind[0]}"]  # [heads, tokens, width]
            np.testing.assert_array_equal(tensors[f"{kind}.{layer}"], by_head.swapaxes(0, 1).reshape(7, -1))


def test_an_empty_session_and_one_that_has_slid_are_saved_too(lm, tmp_path):
    lm.session().save(tmp_path / "empty")
    assert lm.resume(tmp_path / "empty").tokens == []
    session = lm.session([1] * 60)
    session.generate(max_new_tokens=5, on_overflow="slide")
    session.save(tmp_path / "long")
    assert lm.resume(tmp_path / "long").tokens == session.tokens


def refused(lm, path, match):
    with pytest.raises((OSError, ValueError), match=match) as error:
        lm.resume(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@given(st.data())
def test_any_flipped_byte_is_found(lm, saved, data):
    raw = bytearray(saved.read_bytes())
    at = data.draw(st.one_of(st.integers(0, len(raw) - 1), st.integers(0, 900)), "byte")
    before, raw[at] = raw[at], raw[at] ^ data.draw(st.integers(1, 255), "bits")
    saved.write_bytes(raw)
    refused(lm, saved, "is damaged|has version")
    raw[at] = before
    saved.write_bytes(raw)
    lm.resume(saved)


@given(st.data())
def test_a_truncated_or_longer_file_is_found(lm, saved, data):
    raw = saved.read_bytes()
    saved.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1), "length")])
    refused(lm, saved, "is damaged")
    saved.write_bytes(raw + data.draw(st.binary(min_size=1, max_size=9), "more"))
    refused(lm, saved, "is damaged")
    saved.write_bytes(raw)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_session(lm, tmp_path, raw):
    (tmp_path / "x").write_bytes(raw)
    refused(lm, tmp_path / "x", "is damaged or was not written by Session.save")


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 2**40, 2**64 - 1])
def test_a_hostile_header_takes_no_memory(lm, tmp_path, length):
    path = tmp_path / "x"
    path.write_bytes(length.to_bytes(8, "little") + b"{" * 100)
    os.truncate(path, 2**41)  # sparse
    refused(lm, path, "its header claims")


@pytest.mark.parametrize("header", ["[" * 100_000, "1", "{}", '{"__metadata__": 3}', "\udcff", '{"__metadata__": {}}'])
def test_other_headers_are_no_session(lm, tmp_path, header):
    raw = header.encode("utf-8", "surrogateescape")
    (tmp_path / "x").write_bytes(len(raw).to_bytes(8, "little") + raw)
    refused(lm, tmp_path / "x", "is damaged or was not written by Session.save")


def test_another_safetensors_file_is_no_session(lm, tmp_path):
    save_file({"wte": np.zeros(3, np.float32)}, tmp_path / "x", {"format": "pt"})
    refused(lm, tmp_path / "x", "a safetensors file of another kind")


@pytest.mark.parametrize("digits", ["", "0", "A" * 64, "0" * 65, "nextword session"])
def test_a_file_without_a_checksum_is_refused(lm, tmp_path, digits):
    save_file({}, tmp_path / "x", {"format": "nextword session", "version": "2", "checksum": digits})
    refused(lm, tmp_path / "x", "its checksum is unreadable")


def rewritten(path, about=None, **tensors):
    """The file with other metadata or tensors, and a checksum that is true again."""
    from nextword.tasks.session_file import checksum, read_header

    with safe_open(path, framework="numpy") as file:
        told = {**file.metadata(), **(about or {}), "checksum": ZEROS}
    held = {name: x for name, x in {**load_file(path), **tensors}.items() if x is not None}
    save_file(held, path, told)
    with path.open("rb") as file:
        header = read_header(file)
        true = checksum(file, header, ZEROS)
    path.write_bytes(path.read_bytes().replace(ZEROS.encode(), true.encode(), 1))


def test_another_version_is_an_error_that_names_both(lm, saved):
    rewritten(saved, {"version": "1"})
    refused(lm, saved, "has version '1' of the format, this nextword reads '2'; use the nextword that wrote it")


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_session_of_another_kv_dtype_is_refused_with_the_one_that_it_needs(lm, saved, dtype):
    other = LanguageModel(random_model(tiny_config(n_positions=WINDOW), seed=5, kv_dtype=dtype))
    message = "holds keys and values as {0}, this model takes {1}; load it with kv_dtype='{0}'"
    refused(other, saved, message.format("float32", dtype))
    other.session([3, 1, 4]).save(saved)
    refused(lm, saved, message.format(dtype, "float32"))


def test_a_file_that_names_no_kv_dtype_is_float32(lm, saved):
    before = lm.resume(saved).logits
    with safe_open(saved, framework="numpy") as file:
        told = {name: text for name, text in file.metadata().items() if name != "kv_dtype"}
    held = load_file(saved)
    save_file(held, saved, told)
    rewritten(saved)
    with safe_open(saved, framework="numpy") as file:
        assert "kv_dtype" not in file.metadata()
    np.testing.assert_array_equal(lm.resume(saved).logits, before)


@pytest.mark.parametrize(("dtype", "bytes_a_number"), [("float32", 4), ("bfloat16", 2), ("int8", 1)])
def test_a_file_holds_what_the_cache_holds(tmp_path, dtype, bytes_a_number):
    lm = LanguageModel(random_model(tiny_config(n_positions=WINDOW), seed=5, kv_dtype=dtype))
    lm.session([3, 1, 4, 1, 5, 9, 2, 6]).save(tmp_path / "a")
    tensors = load_file(tmp_path / "a")
    assert {x.nbytes for name, x in tensors.items() if name[0] in "kv"} == {bytes_a_number * 7 * 15}
    assert {x.shape for name, x in tensors.items() if name[0] == "s"} == ({(7, 3, 2)} if dtype == "int8" else set())


def test_a_session_of_another_model_is_refused(lm, saved):
    rewritten(saved)
    lm.resume(saved)
    config = tiny_config(n_positions=WINDOW)
    for change in ("wte.weight", "wpe.weight", "h.1.mlp.c_fc.weight", "h.0.attn.c_attn.weight", "h.1.ln_2.bias"):
        tensors = random_tensors(config, seed=5)
        tensors[change] = tensors[change] + np.float32(0.01)
        other = LanguageModel(nextword.models.gpt2.GPT2(tensors, config))
        refused(other, saved, "is a session of another model .2 layers.* load the model that it was saved with")
        refused(other, saved, "this one has other weights or another configuration")
    refused(LanguageModel(random_model(tiny_config(n_positions=WINDOW, n_layer=1), seed=5)), saved, "another model")


def test_a_session_that_a_smaller_context_has_no_room_for_is_refused_as_such(lm, tmp_path):
    lm.session([3, 1, 4, 1, 5, 9, 2, 6]).save(tmp_path / "saved")
    tensors, config = random_tensors(tiny_config(n_positions=WINDOW), seed=5), tiny_config(n_positions=WINDOW)

    def within(context):
        return LanguageModel(nextword.models.gpt2.GPT2(tensors, config, context=context))

    refused(within(6), tmp_path / "saved", "must fit into the context window of 6 tokens, got 7; load the model with")
    assert within(8).resume(tmp_path / "saved").tokens == [3, 1, 4, 1, 5, 9, 2, 6]


def test_a_session_of_a_model_whose_columns_were_nearly_all_doubled_is_refused(tmp_path):
    config = tiny_config(n_embd=15, vocab_size=1024)
    tensors = random_tensors(config, seed=5)
    LanguageModel(nextword.models.gpt2.GPT2(tensors, config)).session([3, 1, 4]).save(tmp_path / "saved")
    tensors["wte.weight"][np.setdiff1d(np.arange(1024), np.linspace(0, 1023, 16).astype(int))] *= 2
    refused(LanguageModel(nextword.models.gpt2.GPT2(tensors, config)), tmp_path / "saved", "another model")


def test_a_session_of_another_vocabulary_is_refused(tmp_path):
    model = random_model(tiny_config(vocab_size=257))
    plain, path = byte_tokenizer(tmp_path), tmp_path / "saved"
    LanguageModel(model, plain).session("abc").save(path)
    assert LanguageModel(model, nextword.Tokenizer.load(tmp_path)).resume(path).text == "abc"
    assert LanguageModel(model).resume(path).tokens == [97, 98, 99]
    text = (tmp_path / "vocab.json").read_text("utf-8").replace('"a": 97', '"a": 98').replace('"b": 98', '"b": 97')
    (tmp_path / "vocab.json").write_text(text, "utf-8")
    other = LanguageModel(model, nextword.Tokenizer.load(tmp_path))
    refused(other, path, "a session of another vocabulary, by which its ids are another text")
    LanguageModel(model).session([1, 2]).save(path)
    assert other.resume(path).tokens == [1, 2]


@pytest.mark.parametrize("wrong", [
    {"ids": None}, {"keys.1": None}, {"keys.0": None}, {"ids": np.array([1, 2, 37] * 9)}, {"ids": np.array([-1] * 9)},
    {"ids": np.array([1, 2])}, {"ids": np.ones((2, 9), np.int64)}, {"ids": np.ones(9, np.int32)},
    {"values.0": np.zeros((6, 15), np.float32)}, {"values.1": np.zeros((7, 15), np.float16)},
    {"keys.0": np.zeros((7, 16), np.float32)}, {"keys.0": np.array(1, np.float32)},
])  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused_even_with_a_true_checksum(lm, saved, wrong):
    rewritten(saved, **wrong)
    refused(lm, saved, "is damaged")


def test_missing_files_and_folders_are_errors_that_name_them(lm, tmp_path):
    refused(lm, tmp_path / "absent", r"resume: .* cannot be read \(No such file")
    refused(lm, tmp_path, "is no file")
    os.mkfifo(tmp_path / "pipe")
    refused(lm, tmp_path / "pipe", "is no file")
    with pytest.raises(FileNotFoundError, match=r"save: .*nowhere.* cannot be written \(No such file"):
        lm.session().save(tmp_path / "nowhere" / "x")
    with pytest.raises(OSError, match="save: "):
        lm.session().save(tmp_path)


def test_a_file_without_permission_is_an_error_that_names_it(lm, saved, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.open", refuse)
        refused(lm, saved, r"cannot be read \(Permission denied\)")
    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(PermissionError, match=r"cannot be written \(Permission denied\).*may be written"):
        lm.session().save(saved)


@pytest.mark.parametrize("failing", ["os.fsync", "os.replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(lm, saved, monkeypatch, failing):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(failing, full)
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\)"):
        lm.session([1]).save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_sessions_are_made_by_the_language_model(lm, saved):
    assert isinstance(lm.session(), Session)
    store = PrefixCache(lm.model)
    assert lm.resume(saved, prefix=store).prefix is store
