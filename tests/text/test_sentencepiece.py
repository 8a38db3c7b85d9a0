"""tokenizer.model: what the tokenizer of one can do, and files that are none."""

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sentencepiece_helpers as pieces
from nextword import _core
from nextword.text.gguf_vocabulary import tokenizer_of_gguf
from nextword.text.tokenizer import Tokenizer


@pytest.fixture(scope="module", params=[pieces.BPE, pieces.UNIGRAM], ids=["bpe", "unigram"])
def tokenizer(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "tokenizer.model"
    file.write_bytes(pieces.written(model=request.param, collapses=0))
    return Tokenizer.load(file)


@given(text=pieces.texts())
@settings(max_examples=50)
def test_the_text_comes_back_and_all_ways_to_encode_agree(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text.replace("▁", " ")
    assert tokenizer.encode_array(text).tolist() == ids
    assert tokenizer.count(text) == len(ids)
    assert tokenizer.encode_batch([text, text], threads=2) == [ids, ids]
    assert pickle.loads(pickle.dumps(tokenizer)).encode(text) == ids
    decoder = tokenizer.decoder()
    streamed = "".join(map(decoder.push, ids)) + decoder.flush()
    assert streamed == (" " if ids else "") + text.replace("▁", " ")


@given(text=pieces.texts())
@settings(max_examples=50)
def test_offsets_are_those_of_the_text(tokenizer, text):
    ids, ranges = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    data, end = text.encode(), 0
    for id, (begin, stop) in zip(ids, ranges, strict=True):
        assert begin == end
        end = stop
        token = tokenizer.token_bytes(id)
        # The blank before a text is none of its bytes.
        assert data[begin:stop].replace("▁".encode(), b" ") in (token, token[1:])
    assert end == len(data)


def test_control_pieces_are_special_and_copies_are_the_same(tokenizer):
    assert tokenizer.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2}
    assert tokenizer.encode("<s>", allowed_special="all") == [1]
    assert 1 not in tokenizer.encode("<s>")
    assert tokenizer.id_of("▁".replace("▁", " ")) == tokenizer.id_of(b" ")
    assert tokenizer.find(b"\x00") == 3
    assert copy.deepcopy(tokenizer) is tokenizer


def test_a_long_text_is_the_sum_of_its_words(tokenizer):
    """Windows and caches change nothing: words repeated, and one word of many letters."""
    assert tokenizer.encode("abc ab " * 2000)[:-1] == tokenizer.encode("abc ab") * 2000
    word = "abcab中中é"
    assert tokenizer.decode_bytes(tokenizer.encode(word * 999)) == b" " + word.encode() * 999


def test_a_gguf_file_of_such_a_vocabulary_gives_the_same_ids(tmp_path):
    names, scores, kinds = map(list, zip(*pieces.PIECES, strict=True))
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": names, "tokenizer.ggml.scores": scores,
                "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.bos_token_id": 1}  # fmt: skip
    ours = tokenizer_of_gguf(metadata)
    (tmp_path / "tokenizer.model").write_bytes(pieces.written(collapses=0))
    judge = Tokenizer.load(tmp_path)
    assert ours.beginning == judge.beginning == (1,)
    for text in ("abc ab", "  x 中中é", "", "a▁b"):
        assert ours.encode(text) == judge.encode(text)
        assert ours.decode(ours.encode(text, add_special_tokens=False)) == text.replace("▁", " ")
    off = {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": False}
    bare = tokenizer_of_gguf(metadata | off)
    assert bare.encode("ab") == [names.index("ab")]
    for key, value in (("scores", None), ("scores", [1.0]), ("token_type", None), ("unknown_token_id", "x"),
                       ("unknown_token_id", 10**6), ("add_space_prefix", 1), ("scores", ["a"] * len(names)),
                       ("scores", [float("nan")] * len(names))):  # fmt: skip
        with pytest.raises(ValueError, match=r"tokenizer_of_gguf: tokenizer\.ggml|Tokenizer: GGUF vocabulary"):
            tokenizer_of_gguf(metadata | {f"tokenizer.ggml.{key}": value})


def test_a_folder_says_what_begins_a_text(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(pieces.written())
    config = tmp_path / "tokenizer_config.json"
    assert Tokenizer.load(tmp_path / "tokenizer.model").beginning == ()
    config.write_text('{"add_bos_token": false, "add_eos_token": true, "tokenizer_class": "LlamaTokenizer"}')
    found = Tokenizer.load(tmp_path)
    assert (found.beginning, found.ending) == ((), (2,))
    config.write_text('{"bos_token": "</s>"}')
    assert Tokenizer.load(tmp_path).beginning == (2,)
    config.write_text('{"tokenizer_class": "T5Tokenizer"}')
    with pytest.raises(ValueError, match="tokenizer_class must be one of LlamaTokenizer"):
        Tokenizer.load(tmp_path)


NOT_READ = {
    "model_type": pieces.written(model=3),
    "escape_whitespaces": pieces.written(escapes=0),
    "treat_whitespace_as_suffix": pieces.written(trainer=pieces.field(24, 1)),
    "type 5": pieces.written([*pieces.PIECES, ("zz", 0.0, pieces.UNUSED)]),
    "precompiled_charsmap": pieces.written(rules=b"\x01\x02\x03"),
    r"U\+2581": pieces.written([piece for piece in pieces.PIECES if piece[0] != "▁"]),
    "no pieces": b"",
    "is of type 9": pieces.written([("a", 0.0, 9)]),
    "is empty": pieces.written([("", 0.0, 1)]),
    "not finite": pieces.written([("a", float("inf"), 1)]),
    "UTF-8": pieces.written([(b"\xff", 0.0, 1)]),
    "<0x00> to <0xFF>": pieces.written([*pieces.PIECES, ("<0x+1>", 0.0, pieces.BYTE)]),
    "256 bytes": pieces.written(pieces.PIECES[:3] + pieces.PIECES[4:]),
    "second time": pieces.written([*pieces.PIECES, ("ab", 0.0, 1)]),
    "has id 999": pieces.written(trainer=pieces.field(40, 999)),
    "beyond the end": pieces.written() + b"\x0a\xff\xff\xff\xff\x7f",
    "wire type": pieces.written() + b"\x0b",
}


@pytest.mark.parametrize("words", NOT_READ)
def test_what_is_not_done_or_no_model_is_one_error(tmp_path, words):
    file = tmp_path / "tokenizer.model"
    file.write_bytes(NOT_READ[words])
    with pytest.raises(ValueError, match=f"Tokenizer.*{words}"):
        Tokenizer.load(file)


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_file_is_refused_or_read_and_never_more(tmp_path_factory, data):
    """Bytes changed, cut, put in: one ValueError, or a tokenizer that encodes."""
    good = pieces.written(pieces.PIECES[:3] + pieces.PIECES[255:], rules=RULES)
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    file = tmp_path_factory.getbasetemp() / "tokenizer.model"
    file.write_bytes(damaged)
    found, told = None, ""
    try:
        found = Tokenizer.load(file)
    except ValueError as error:
        told = str(error)
    if found is None:
        assert told.startswith("Tokenizer")
    else:
        found.decode(found.encode("abc  ab é中x▁"))


# A table of one rule, "a" becomes "b": the root leads to unit 96 ^ 1 = 97's place, whose leaf holds text 0.
def _rules():
    units = [0] * 256
    units[0] = 1 << 10
    units[1 ^ ord("a")] = ord("a") | 1 << 8 | 2 << 10
    units[1 ^ ord("a") ^ 2] = 1 << 31 | 0
    table = b"".join(unit.to_bytes(4, "little") for unit in units)
    return len(table).to_bytes(4, "little") + table + b"b\x00"


RULES = _rules()


def test_rules_change_the_text_and_offsets_say_what_was(tmp_path):
    file = tmp_path / "tokenizer.model"
    file.write_bytes(pieces.written(rules=RULES))
    tokenizer = Tokenizer.load(file)
    assert tokenizer.decode(tokenizer.encode("  ca  a ")) == "cb b"
    ids, ranges = tokenizer.encode_with_offsets("ca")
    assert [tokenizer.token_bytes(id) for id in ids] == [b" ", b"c", b"b"]
    assert ranges == [(0, 0), (0, 1), (1, 2)]


def test_fields_are_plain_values():
    fields = _core.sentencepiece_fields(pieces.written(prefix=0), "x")
    assert (fields["model"], fields["prefix"], fields["collapses"], fields["byte_fallback"]) == (2, False, True, True)
    assert (fields["names"][1], fields["kinds"][1]) == ("<s>", pieces.CONTROL)
