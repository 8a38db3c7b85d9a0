"""Malformed vocabulary files: an error that names file and line, never a crash and never a wrong tokenizer."""

import base64
import contextlib
import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword.text.tokenizer import ENDOFTEXT, Tokenizer
from nextword.text.tokenizer_files import REGEX

ALPHABET = [helpers.spelled(bytes([byte])) for byte in range(256)]
VOCAB = {token: id for id, token in enumerate([*ALPHABET, "ab", "abc"])}
MERGES = "#version: 0.2\na b\nab c\n"


def write(folder, vocab=VOCAB, merges=MERGES):
    (folder / "vocab.json").write_bytes(vocab if isinstance(vocab, bytes) else json.dumps(vocab).encode())
    (folder / "merges.txt").write_bytes(merges if isinstance(merges, bytes) else merges.encode())


def without(*tokens):
    kept = [token for token in VOCAB if token not in tokens]
    return {token: id for id, token in enumerate(kept)}


def test_the_small_vocabulary_itself_is_good(tmp_path):
    write(tmp_path)
    assert Tokenizer.load(tmp_path).encode("abcab") == [257, 256]
    write(tmp_path, json.dumps(VOCAB, ensure_ascii=False, indent=2).encode(), MERGES.replace("\n", "\r\n"))
    assert Tokenizer.load(tmp_path).encode("abcab") == [257, 256]


BAD_VOCABS = [
    (b"", r"vocab\.json line 1: expected '\{', found the end of the file"),
    (b"[]", r"vocab\.json line 1: expected '\{', found '\['"),
    (b"{}", r"vocab\.json line 1: no tokens"),
    (b'{"a": 0,\n "b": 1', r"vocab\.json line 2: expected '\}', found the end"),
    (b'{"a": 0,\n\n "b" 1}', r"vocab\.json line 3: expected ':', found '1'"),
    (b'{"a": -1}', r"line 1: expected a whole number that is not negative, found '-'"),
    (b'{"a": 1.5}', r"line 1: expected a whole number"),
    (b'{"a": "0"}', r"line 1: expected a whole number that is not negative, found '\"'"),
    (b'{"a": 99999999999}', r"line 1: the number is too large"),
    (b'{"a": 16777216}', r"line 1: id 16777216 is not below 2\^24"),
    (b'{"": 0}', r"line 1: the token of id 0 is empty"),
    (b'{"a', r"line 1: a string has no end"),
    (b'{"a\\', r"line 1: an unknown escape"),
    (b'{"\\ud800": 0}', r"line 1: half a surrogate pair"),
    (b'{"\\u12', r"line 1: .u needs four hexadecimal digits"),
    (b'{"\n": 0}', r"line 1: a control character in a string"),
    (b'{"a": 0} x', r"line 1: more text after the end, found 'x'"),
    (b'{"a": 0,\n"\xff": 1}', r"vocab\.json line 2: the text is not UTF-8"),
    (b'{"a": 0,\n"\xed\xa0\x80": 1}', r"vocab\.json line 2: the text is not UTF-8"),
    (VOCAB | {"x": 5}, r"line 1: id 5 is given a second time"),
    (
        json.dumps(VOCAB)[:-1].encode() + b',\n"ab": 258}',
        r"line 2: the token b'ab' is given a second time, with id 258 after id 256",
    ),
    (VOCAB | {"z": 300}, r"line 1: the ids have a hole: no token has id 122 but one has id 300"),
]


@pytest.mark.parametrize(("vocab", "message"), BAD_VOCABS)
def test_a_bad_vocab_json_is_an_error_with_its_line(tmp_path, vocab, message):
    write(tmp_path, vocab)
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(tmp_path)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    mark = "\ufeff".encode()
    write(tmp_path, mark + json.dumps(VOCAB).encode(), mark + MERGES.encode())
    assert Tokenizer.load(tmp_path).encode("abcab") == [257, 256]
    (tmp_path / "r50k_base.tiktoken").write_bytes(mark + ranks(b"ab"))
    assert Tokenizer.load(tmp_path / "r50k_base.tiktoken").encode("abcab") == [256, 99, 256]
    (tmp_path / "tokenizer.json").write_bytes(mark + tokenizer_json().encode())
    assert Tokenizer.load(tmp_path / "tokenizer.json").encode("abcab") == [257, 256]


# The vocabulary that transformers tests its GPT-2 tokenizer with.
FEW = [*"lowerstidnĠ", "Ġl", "Ġn", "Ġlo", "Ġlow", "er", "Ġlowest", "Ġnewer", "Ġwider", "<unk>", ENDOFTEXT]
FEW_MERGES = "#version: 0.2\nĠ l\nĠl o\nĠlo w\ne r\n"


def test_a_byte_without_a_token_is_an_error_where_it_is_met(tmp_path):
    write(tmp_path, {token: id for id, token in enumerate(FEW)}, FEW_MERGES)
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("lower newer") == [0, 1, 2, 15, 10, 9, 3, 2, 15]
    assert tokenizer.count("lower newer") == 9
    assert tokenizer.encode_batch(["lower", " low"]) == [[0, 1, 2, 15], [14]]
    assert tokenizer.special_tokens == {"<unk>": 19, "<|endoftext|>": 20}
    assert [tokenizer.find(text) for text in ("l", "x", " lowest")] == [0, None, 16]
    for text, message in [
        ("xlow", "encode: text holds the byte 0x78 of 'x' at byte 0, for which the vocabulary has no token"),
        ("low lowér", "the byte 0xC3 of 'é' at byte 7,"),
        ("low " * 30_000 + "X", "the byte 0x58 of 'X' at byte 120000,"),
        ("low low" + " low" * 30_000 + "ü", "the byte 0xC3 of 'ü' at byte 120007,"),
    ]:
        for call in (tokenizer.encode, tokenizer.count, tokenizer.encode_array, lambda t: tokenizer.encode_batch([t])):
            with pytest.raises(ValueError, match=message):
                call(text)
        with pytest.raises(ValueError, match=message):
            tokenizer.encode(text, allowed_special="all")
    with pytest.raises(ValueError, match="the byte 0x58 of 'X' at byte 8,"):
        tokenizer.encode("low<unk>Xlow", allowed_special="all")
    assert tokenizer.encode("low<unk>low", allowed_special="all") == [0, 1, 2, 19, 0, 1, 2]
    tokenizer.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").encode("lower newer") == tokenizer.encode("lower newer")


@given(st.lists(st.sampled_from(ALPHABET), unique=True, max_size=250), st.text(max_size=20), st.booleans())
def test_without_some_bytes_the_others_encode_as_before(tmp_path_factory, gone, text, unordered):
    """Ids of the whole vocabulary, renamed; ids in another order are merged by another loop."""
    folder = tmp_path_factory.mktemp("few")
    kept = [token for token in VOCAB if not set(token) & set(gone)]
    if not kept:
        return
    merges = "".join(line + "\n" for line in MERGES.splitlines()[1:] if line.replace(" ", "") in kept)
    write(folder, {token: id for id, token in enumerate(kept[::-1] if unordered else kept)}, merges)
    few = Tokenizer.load(folder)
    missing = {bytes([byte]) for byte in range(256) if ALPHABET[byte] in gone}
    raw = text.encode()
    if bad := [i for i in range(len(raw)) if raw[i : i + 1] in missing]:
        with pytest.raises(ValueError, match=f"(?s)0x{raw[bad[0]]:02X} of .* at byte {bad[0]},"):
            few.encode(text)
    else:
        assert few.decode(few.encode(text)) == text
        assert len(few.encode(text)) == few.count(text)


BAD_MERGES = [
    ("a b\nabc", r"merges\.txt line 2: expected two parts with one space between, found 'abc'"),
    ("a b\n c", r"merges\.txt line 2: expected two parts"),
    ("a b c", r"merges\.txt line 1: expected two parts"),
    ("a b\nx y", r"merges\.txt line 2: merges b'x' and b'y', but b'xy' is no token of vocab\.json"),
    ("a b\nxx y", r"merges\.txt line 2: merges b'xx' and b'y', but b'xx' is no token of vocab\.json"),
    ("a b\nab c\na b", r"merges\.txt line 3: the merge of b'a' and b'b' is given a second time"),
    ("a 中", r"merges\.txt line 1: '中' spells no bytes"),
    (b"a b\n\xff b", r"merges\.txt line 2: the text is not UTF-8"),
    ("abc abc", r"merges\.txt line 1: merges b'abc' and b'abc', but b'abcabc' is no token"),
]


@pytest.mark.parametrize(("merges", "message"), BAD_MERGES)
def test_bad_merges_are_an_error_with_their_line(tmp_path, merges, message):
    write(tmp_path, merges=merges)
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(tmp_path)


def ranks(*tokens, start=256):
    lines = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]
    return (
        b"\n".join([*lines, *(base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(tokens, start))])
        + b"\n"
    )


BAD_RANKS = [
    (b"", r"line 1: no tokens"),
    (b"YQ==", r"line 1: expected base64, a space and a rank"),
    (b"YQ== x", r"line 1: expected base64, a space and a rank"),
    (b"YQ== 1\n\nYQ==1 2", r"line 3: the token is not base64"),
    (b"YQ= 1", r"line 1: the token is not base64"),
    (b"YR== 1", r"line 1: the token is not base64"),
    (b"Y*== 1", r"line 1: the token is not base64"),
    (b"==== 1", r"line 1: the token is not base64"),
    (b"YQ== 99999999999999", r"line 1: expected base64, a space and a rank below 2\^24"),
    (ranks(b"ab", b"ab"), r"line 258: the token b'ab' is given a second time"),
    (ranks(b"ab", start=255), r"line 257: id 255 is given a second time"),
    (ranks(b"ab", start=900), r"line 257: the ids have a hole: no token has id 256 but one has id 900"),
    (
        ranks(*[b"t%d" % i for i in range(50256 - 255)]),
        r"the added token <\|endoftext\|> of id 50256: the id is taken by the token b't50000'",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD_RANKS)
def test_a_bad_rank_file_is_an_error_with_its_line(tmp_path, content, message):
    (tmp_path / "r50k_base.tiktoken").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(tmp_path / "r50k_base.tiktoken")


def tokenizer_json(**changes):
    whole = {
        "added_tokens": [{"id": 258, "content": "<s>", "special": True}],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "model": {"type": "BPE", "vocab": VOCAB, "merges": ["a b", ["ab", "c"]]},
    }
    for key, value in changes.items():
        if key.startswith("model_"):
            whole["model"][key.removeprefix("model_")] = value
        else:
            whole[key] = value
    return json.dumps(whole)


def split_by(regex, add_prefix_space=False):
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [split, byte_level]}


def template(*single, ids=None):
    """TemplateProcessing of texts ("A", "B") and special tokens; ids: of the special tokens."""
    parts = [{"Sequence" if name in "AB" else "SpecialToken": {"id": name, "type_id": 0}} for name in single]
    special = {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in (ids or {}).items()}
    return {"type": "TemplateProcessing", "single": parts, "pair": [], "special_tokens": special}


CL100K = REGEX["cl100k"]
SHORT = {token: id for token, id in VOCAB.items() if token != "x"} | {"filler": VOCAB["x"]}


def test_a_small_tokenizer_json_is_good(tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(odd={"[": ['"', 1, None, True, -1.5e3]}))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("abcab<s>", allowed_special="all") == [257, 256, 258]


def test_an_unknown_token_stands_for_bytes_without_one(tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(model_vocab=SHORT, model_unk_token="filler"))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    assert tokenizer.encode("abxxc") == [256, SHORT["filler"], SHORT["filler"], VOCAB["c"]]
    assert tokenizer.encode_with_offsets("abxxc")[1] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    tokenizer.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").encode("abxxc") == tokenizer.encode("abxxc")


def test_a_template_begins_and_ends_every_text(tmp_path):
    for processor, beginning, ending in [
        (template("<s>", "A", ids={"<s>": 258}), (258,), ()),
        (template("<s>", "A", "<s>", "<e>", ids={"<s>": 258, "<e>": 1}), (258,), (258, 1)),
        ({"type": "RobertaProcessing", "cls": ["<s>", 258], "sep": ["!", 33]}, (258,), (33,)),
        ({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}, (), ()),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template("!", "A", ids={"!": 33})]}, (33,), ()),
    ]:
        (tmp_path / "tokenizer.json").write_text(tokenizer_json(post_processor=processor))
        tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
        assert (tokenizer.beginning, tokenizer.ending) == (beginning, ending)
        assert tokenizer.encode("ab") == [*beginning, 256, *ending]
        assert tokenizer.encode("ab", add_special_tokens=False) == [256]


def test_ignore_merges_takes_whole_pieces_first(tmp_path):
    vocab = VOCAB | {"xyz": 258}
    plain, whole = (
        tokenizer_json(model_vocab=vocab, added_tokens=[]),
        tokenizer_json(model_vocab=vocab, added_tokens=[], model_ignore_merges=True),
    )
    for content, expected in ((plain, [120, 121, 122]), (whole, [258])):
        (tmp_path / "tokenizer.json").write_text(content)
        tokenizer = Tokenizer.load(tmp_path)
        assert tokenizer.encode("xyz") == expected
        assert tokenizer.encode("xyzx") == [120, 121, 122, 120]
        assert tokenizer.encode("xyz" * 30) == [120, 121, 122] * 30


BAD_JSON = [
    ("{", r"tokenizer\.json line 1: expected '\"', found the end"),
    ("{}", r'tokenizer\.json line 1: no "model" with "vocab" and "merges"; only byte-level BPE'),
    (tokenizer_json(model_vocab=[["a", -1.0]]), 'no "model" with "vocab" and "merges"'),
    (tokenizer_json(model_type="WordLevel"), 'model.type must be BPE, got "WordLevel"'),
    (tokenizer_json(model_type="WordPiece"), 'model.unk_token must be a token of model.vocab, got "\\[UNK\\]"'),
    (tokenizer_json(model_continuing_subword_prefix="##"), "continuing_subword_prefix must be empty"),
    (tokenizer_json(model_merges=[["a"]]), r"expected ',', found '\]'"),
    (tokenizer_json(model_merges=["a"]), "expected two parts with one space"),
    (tokenizer_json(normalizer={"type": "Strip"}), 'normalizer must be null, NFC, .*, got {"type": "Strip"}'),
    (tokenizer_json(normalizer={"type": "Replace", "pattern": {"Regex": "a"}, "content": ""}), "normalizer must be"),
    (tokenizer_json(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, 5]}), "normalizer must .* got 5"),
    (tokenizer_json(pre_tokenizer=None), "pre_tokenizer must be ByteLevel, got null"),
    (tokenizer_json(pre_tokenizer={"type": "Metaspace"}), "pre_tokenizer must be ByteLevel"),
    (tokenizer_json(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": 1}), "pre_tokenizer must be ByteLevel"),
    (tokenizer_json(pre_tokenizer=split_by(CL100K, add_prefix_space=True)), "add_prefix_space false after a Split"),
    (tokenizer_json(decoder={"type": "Metaspace"}), "decoder must be null or ByteLevel"),
    (tokenizer_json(model_dropout=0.1), "model.dropout must be null or 0, .* got 0.1"),
    (tokenizer_json(model_vocab=SHORT, model_byte_fallback=True), "model.byte_fallback must be false"),
    (tokenizer_json(model_vocab=SHORT, model_unk_token="b", model_fuse_unk=True), "model.fuse_unk must be false"),
    (tokenizer_json(model_vocab=SHORT, model_unk_token="<u>"), "the unknown token <u> is no token"),
    (tokenizer_json(model_vocab=SHORT, model_unk_token=5), "model.unk_token must be"),
    (tokenizer_json(post_processor={"type": "Metaspace"}), "post_processor must be null, ByteLevel, "),
    (tokenizer_json(post_processor=[]), "post_processor must be null"),
    (tokenizer_json(post_processor=template("A", "A")), "post_processor must be null"),
    (tokenizer_json(post_processor=template("A", "B")), "post_processor must be null"),
    (tokenizer_json(post_processor=template()), "post_processor must be null"),
    (tokenizer_json(post_processor=template("<s>", "A", ids={})), "post_processor must be null"),
    (tokenizer_json(post_processor=template("<s>", "A", ids={"<s>": "258"})), "post_processor must be null"),
    (tokenizer_json(post_processor=template("<s>", "A", ids={"<s>": 400})), "post_processor names id 400, which no"),
    (
        tokenizer_json(
            pre_tokenizer=split_by("[a-z]+")
        ),
        "alone or after a Split by one of tiktoken's patterns",
    ),
    (tokenizer_json(added_tokens=[{"id": 3, "content": "<s>"}]), r"the added token <s> of id 3: the id is taken"),
    (tokenizer_json(added_tokens=[{"id": 258, "content": "a"}, {"id": 259, "content": "a"}]), "is given a second time"),
    (tokenizer_json(added_tokens=[{"id": 2**25, "content": "<s>"}]), r"the id is not below 2\^24"),
    (tokenizer_json(added_tokens=[{"id": 258, "content": ""}]), "the added token of id 258 is empty"),
    (tokenizer_json(added_tokens=[{"id": "x", "content": "<s>"}]), "added_tokens must be a list of"),
    (tokenizer_json(added_tokens=[7]), "added_tokens must be a list of"),
    (tokenizer_json(pre_tokenizer=[1]), "pre_tokenizer must be"),
    (tokenizer_json().replace("false", "falsch"), r"tokenizer\.json: not JSON"),
    ('{"model": {"vocab": {"a": 0}, "merges": []}, "normalizer": ' + "[" * 50_000 + "]" * 50_000 + "}", "not JSON"),
    ("[" * 100_000, r"line 1: expected '\{', found '\['"),
    ('{"a":' + "[" * 100_000, "expected a value, found the end"),
]


@pytest.mark.parametrize(("content", "message"), BAD_JSON, ids=range(len(BAD_JSON)))
def test_a_bad_tokenizer_json_is_an_error(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(tmp_path)


def test_ten_million_lines_are_read_or_refused_in_bounded_time(tmp_path):
    """Lines of one repeated token: refused at the second one, not after a table of their size is filled."""
    (tmp_path / "r50k_base.tiktoken").write_bytes(b"YQ== 1\n" * 10_000_000)
    with pytest.raises(ValueError, match="line 2: id 1 is given a second time"):
        Tokenizer.load(tmp_path / "r50k_base.tiktoken")


def test_an_order_that_no_training_gives_means_what_it_says(tmp_path):
    """Merges whose parts are made only later, ids in no order: still by rank, as the definition has it."""
    rng = random.Random(5)
    parts = ["a", "b", "c", "ab", "bc", "abc", "ca", "cab", "abcab", "bb", "bbb"]
    for _ in range(30):
        vocab = dict(zip(rng.sample([*ALPHABET, *parts[3:]], 256 + 8), range(264), strict=True))
        pairs = [(x, y) for x in parts for y in parts if x + y in parts]
        rng.shuffle(pairs)
        write(tmp_path, vocab, "".join(f"{x} {y}\n" for x, y in pairs))
        rank_of = {pair: rank for rank, pair in enumerate(pairs)}
        made = {x + y for x, y in pairs}
        tokenizer = Tokenizer.load(tmp_path)
        assert made == set(parts[3:])
        for length in [*range(1, 20), 100]:
            piece = "".join(rng.choice("abc") for _ in range(length))
            split = list(piece)
            while True:
                found = [(rank_of[pair], i) for i, pair in enumerate(itertools.pairwise(split)) if pair in rank_of]
                if not found:
                    break
                at = min(found)[1]
                split[at : at + 2] = [split[at] + split[at + 1]]
            assert [tokenizer.decode([id]) for id in tokenizer.encode(piece)] == split


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_loads_or_is_a_value_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    name, content = data.draw(
        st.sampled_from(
            [
                ("vocab.json", json.dumps(VOCAB).encode()),
                ("merges.txt", MERGES.encode()),
                ("tokenizer.json", tokenizer_json().encode()),
                ("r50k_base.tiktoken", ranks(b"ab", b"abc")),
            ]
        )
    )
    write(folder)
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (folder / name).write_bytes(damaged)
    tokenizer = None
    with contextlib.suppress(ValueError):
        tokenizer = Tokenizer.load(folder / name)
    if tokenizer:
        blank = " " if tokenizer.prefix_space else ""  # the damage may have told it so
        with contextlib.suppress(ValueError):  # a byte whose token the damage took
            assert tokenizer.decode(tokenizer.encode(helpers.MIXED)) == blank + helpers.MIXED
    else:
        with pytest.raises(ValueError, match=f"{name}|merges.txt|vocab.json"):
            Tokenizer.load(folder / name)
