"""Added tokens: what each flag does, by known answers; training, saving and loading; bounds. No other library."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword import _core
from nextword.text.tokenizer import AddedToken, Tokenizer

END = AddedToken("<|endoftext|>", 0)


def demo_with(*tokens, **rules):
    """The demo's vocabulary with these tokens, ids from 4096 on where a token has none."""
    folder = helpers.demo_folder()
    source = _core.read_vocab_and_merges(str(folder / "vocab.json"), str(folder / "merges.txt"))
    numbered = [token._replace(id=4096 + i) if token.id < 0 else token for i, token in enumerate(tokens)]
    source.added_tokens = [END, *numbered]
    return Tokenizer(source, "gpt2", **rules)


def plain(content, **flags):
    return AddedToken(content, -1, special=False, **flags)


def special(content, **flags):
    return AddedToken(content, -1, **flags)


def test_a_token_that_is_not_special_always_matches():
    tokenizer = demo_with(plain("dragonfly"), plain("zzqx"))
    text, expected = "a dragonfly zzqx flew", [65, 221, 4096, 221, 4097, 1815]
    for allowed in ((), "all", {"<|endoftext|>"}):
        assert tokenizer.encode(text, allowed_special=allowed) == expected
        assert tokenizer.encode_array(text, allowed_special=allowed).tolist() == expected
        assert tokenizer.count(text, allowed_special=allowed) == 6
        assert tokenizer.encode_batch([text, "a"], allowed_special=allowed) == [expected, [65]]
    assert tokenizer.decode(expected) == text
    assert tokenizer.pieces(text) == [b"a", b" ", b"dragonfly", b" ", b"zzqx", b" flew"]
    assert tokenizer.special_tokens == {"<|endoftext|>": 0}
    assert tokenizer.id_of("dragonfly") == tokenizer.find(b"dragonfly") == 4096
    assert tokenizer.token_bytes(4097) == b"zzqx"
    assert len(tokenizer) == 4098


def test_runs_of_blanks_beside_gpt2s_vocabulary():
    """As the 38 runs that code models add to it, the longest first: "a  b" holds the one of two blanks."""
    folder = helpers.data("gpt2_tokenizer")
    source = _core.read_vocab_and_merges(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    runs = [*(" " * n for n in range(31, 1, -1)), *("\t" * n for n in range(9, 1, -1))]
    source.added_tokens = [plain(run)._replace(id=50257 + i) for i, run in enumerate(runs)]
    tokenizer = Tokenizer(source, "gpt2")
    assert tokenizer.encode("a  b") == [64, 50286, 65]
    assert tokenizer.encode("a" + " " * 40 + "b") == [64, 50257, 50257 + 31 - 9, 65]
    assert tokenizer.encode("a b") == [64, 275]


def test_a_special_token_matches_where_it_is_allowed_alone():
    tokenizer = demo_with(special("<|pad|>"), special("<|sep|>"))
    text = "Once <|sep|> upon"
    assert tokenizer.encode(text, allowed_special="all") == [2383, 375, 221, 4097, 884]
    assert tokenizer.encode(text, allowed_special={"<|sep|>"}) == [2383, 375, 221, 4097, 884]
    assert tokenizer.encode(text) == tokenizer.encode(text, allowed_special={"<|pad|>"}) == helpers.demo().encode(text)
    assert tokenizer.encode_batch([text], allowed_special=["<|sep|>"]) == [[2383, 375, 221, 4097, 884]]
    assert tokenizer.decode([4097]) == "<|sep|>"


def test_only_special_tokens_may_be_allowed():
    tokenizer = demo_with(plain("zzqx"), special("<|sep|>"))
    with pytest.raises(ValueError, match=r"'zzqx', which is no special token; there are: <\|endoftext\|>, <\|sep\|>"):
        tokenizer.encode("", allowed_special={"zzqx"})


STRIPPED = [
    ({}, [65, 221, 4096, 270], [(0, 1), (1, 2), (2, 8), (8, 10)]),
    ({"lstrip": True}, [65, 4096, 270], [(0, 1), (1, 8), (8, 10)]),
    ({"rstrip": True}, [65, 221, 4096, 66], [(0, 1), (1, 2), (2, 9), (9, 10)]),
    ({"lstrip": True, "rstrip": True}, [65, 4096, 66], [(0, 1), (1, 9), (9, 10)]),
]


@pytest.mark.parametrize(("flags", "ids", "offsets"), STRIPPED)
def test_a_token_takes_the_white_space_beside_it_along(flags, ids, offsets):
    tokenizer = demo_with(special("<mask>", **flags))
    assert tokenizer.encode("a <mask> b", allowed_special="all") == ids
    assert tokenizer.encode_with_offsets("a <mask> b", allowed_special="all") == (ids, offsets)


def test_white_space_of_any_kind_is_taken_and_only_once():
    tokenizer = demo_with(special("<m>", lstrip=True, rstrip=True))
    text = "a\u3000\n\t<m> \u2003 <m>\u00a0b"
    ids, offsets = tokenizer.encode_with_offsets(text, allowed_special="all")
    assert ids == [65, 4096, 4096, 66]
    assert [text.encode()[a:b].decode() for a, b in offsets] == ["a", "\u3000\n\t<m> \u2003 ", "<m>\u00a0", "b"]


@pytest.mark.parametrize("beside", ["a", "Z", "é", "中", "5", "Ⅷ", "_", "\u0301", "\u200d", "ⓐ", "🅰"])
def test_a_single_word_is_not_part_of_a_word(beside):
    tokenizer = demo_with(plain("zzqx", single_word=True))
    for text in (beside + "zzqx", "zzqx" + beside, f" {beside}zzqx "):
        assert 4096 not in tokenizer.encode(text)


@pytest.mark.parametrize("beside", [" ", ".", "-", "²", "½", "\n", "\u3000", "€", "😀", ""])
def test_a_single_word_stands_between_anything_else(beside):
    tokenizer = demo_with(plain("zzqx", single_word=True))
    assert 4096 in tokenizer.encode(f"{beside}zzqx{beside}")


def test_of_tokens_that_begin_together_the_longest_counts_and_the_next_begins_behind_it():
    tokenizer = demo_with(plain("qx"), plain("qxqx"), plain("xqy"))
    assert tokenizer.encode("qxqxqx") == [4097, 4096]
    assert tokenizer.encode("qxqy") == [4096, *tokenizer.encode("qy")]
    assert tokenizer.encode("xqxqy") == [tokenizer.id_of("x"), 4096, *tokenizer.encode("qy")]


def test_a_special_token_that_is_not_allowed_is_text_as_a_whole():
    tokenizer = demo_with(special("<qx>"), plain("qx", normalized=False))
    assert tokenizer.encode("<qx>qx") == [*helpers.demo().encode("<qx>"), 4097]
    assert tokenizer.encode("<qx>qx", allowed_special="all") == [4096, 4097]


def test_normalized_tokens_meet_normalised_text_after_all_others():
    tokenizer = demo_with(plain("QX"), plain("ZZ", normalized=False), normalizer=[("Lowercase",)])
    assert tokenizer.encode("a qX Qx") == [65, 221, 4096, 221, 4096]
    assert tokenizer.encode("ZZ zz") == [4097, *helpers.demo().encode(" zz")]
    assert tokenizer.encode("QZZX") == [*helpers.demo().encode("q"), 4097, *helpers.demo().encode("x")]
    assert tokenizer.decode([4096]) == "QX"


def test_a_token_may_be_one_that_the_vocabulary_has():
    base = helpers.demo()
    upon, here = base.id_of(" upon"), base.id_of("here")
    tokenizer = demo_with(AddedToken("Ġupon", upon, special=False), AddedToken("here", here, special=False))
    assert tokenizer.encode("Once upon") == base.encode("Once upon")  # by its merges as before
    assert tokenizer.encode("Ġupon") == [upon]
    assert tokenizer.decode([upon]) == " upon"
    assert tokenizer.encode(" there") == [base.id_of(" t"), here] != base.encode(" there")


def test_ids_may_have_holes_which_stay_errors():
    tokenizer = demo_with(plain("zzqx")._replace(id=5000))
    assert tokenizer.encode("zzqx") == [5000]
    assert tokenizer.decode([5000, 65]) == "zzqxa"
    for id in (4096, 4999, 5001):
        with pytest.raises(IndexError, match=f"id {id} is not in the vocabulary"):
            tokenizer.decode([id])


def test_streams_give_whole_added_tokens():
    tokenizer = demo_with(plain("ééé中"))
    decoder = tokenizer.decoder()
    assert [decoder.push(id) for id in tokenizer.encode("aééé中b")] == ["a", "ééé中", "b"]
    decoder.push(tokenizer.encode("é")[0])
    assert decoder.push(4096) == "\ufffdééé中"


def test_a_prefix_space_is_put_before_each_text_between_added_tokens():
    tokenizer = demo_with(plain("zzqx"), prefix_space=True)
    assert tokenizer.encode("Once upon") == [2032, 375, 884]
    assert tokenizer.encode(" Once upon") == [2032, 375, 884]
    assert tokenizer.encode("") == []
    assert tokenizer.encode("Oncezzqxuponzzqx a") == [2032, 375, 4096, 884, 4096, *helpers.demo().encode(" a")]
    assert tokenizer.encode_with_offsets("Once upon") == ([2032, 375, 884], [(0, 2), (2, 4), (4, 9)])
    assert tokenizer.encode_with_offsets("\n")[1] == [(0, 0), (0, 1)]
    assert tokenizer.prefix_space


def test_ids_that_begin_and_end_every_text():
    tokenizer = demo_with(beginning=[0], ending=(65, 0))
    assert tokenizer.beginning, tokenizer.ending == ((0,), (65, 0))
    assert tokenizer.encode("Once upon") == [0, 2383, 375, 884, 65, 0]
    assert tokenizer.encode("") == [0, 65, 0]
    assert tokenizer.encode_array("").tolist() == [0, 65, 0]
    assert tokenizer.count("Once upon") == 6
    assert tokenizer.encode_batch(["", "Once"]) == [[0, 65, 0], [0, 2383, 375, 65, 0]]
    assert tokenizer.encode_with_offsets("Once")[1] == [(0, 0), (0, 2), (2, 4), (4, 4), (4, 4)]
    for call in (tokenizer.encode, tokenizer.count, tokenizer.encode_with_offsets):
        assert call("Once", add_special_tokens=False) == getattr(helpers.demo(), call.__name__)("Once")
    assert tokenizer.encode_batch(["Once"], add_special_tokens=False) == [[2383, 375]]
    with pytest.raises(IndexError, match="beginning and ending must be ids of the vocabulary, got 4096"):
        demo_with(beginning=[4096])


def test_a_vocabulary_without_rules_takes_the_same_arguments():
    demo = helpers.demo()
    assert (demo.beginning, demo.ending, demo.normalizer, demo.prefix_space) == ((), (), (), False)
    assert demo.encode("Once", add_special_tokens=False) == demo.encode("Once", add_special_tokens=True) == [2383, 375]
    with pytest.raises(TypeError, match=r"encode: expected \(text, \*, allowed_special=\(\), add_special_tokens=T"):
        demo.encode("Once", specials=True)


def test_offsets_of_normalised_text_are_places_of_the_text_itself():
    tokenizer = demo_with(plain("zzqx"), normalizer=[("NFC",), ("Lowercase",)])
    text = "Ae\u0301 中ZZQX\u0130b"
    ids, offsets = tokenizer.encode_with_offsets(text)
    shown = [text.encode()[a:b].decode("utf-8", "replace") for a, b in offsets]
    assert tokenizer.decode(ids) == "aé 中zzqxi\u0307b"
    assert shown[0] == "A"
    assert shown[-1] == "b"
    assert "ZZQX" in shown
    assert all("e\u0301" in piece for piece, id in zip(shown, ids, strict=True) if b"\xc3" in tokenizer.token_bytes(id))
    assert offsets == sorted(offsets)


def added_tokens():
    content = st.one_of(st.text("abé <>|\n中", min_size=1, max_size=4), st.sampled_from(["<mask>", "the", " ", "  "]))
    flags = st.tuples(*[st.booleans()] * 5)
    return st.lists(st.tuples(content, flags), max_size=5, unique_by=lambda token: token[0]).map(
        lambda tokens: [AddedToken(content, -1, *flags) for content, flags in tokens]
    )


def fingerprint(tokenizer, texts):
    cases = [(text, allowed) for text in texts for allowed in ((), "all")]
    everything = [tokenizer.encode_with_offsets(text, allowed_special=allowed) for text, allowed in cases]
    ids = [id for id in range(len(tokenizer)) if tokenizer.has(id)]
    return (everything, tokenizer.added_tokens, tokenizer.beginning, tokenizer.ending, tokenizer.normalizer,
            tokenizer.prefix_space, ids, [tokenizer.token_bytes(id) for id in ids])  # fmt: skip


@given(tokens=added_tokens(), texts=st.lists(st.text("abé <>|\n中mask", max_size=20), max_size=4), data=st.data())
def test_what_is_trained_and_saved_is_loaded_again(tmp_path_factory, tokens, texts, data):
    folder = tmp_path_factory.mktemp("saved")
    trained = Tokenizer.train(["ab the é中 " * 3], 300, special_tokens=["<s>", *tokens])
    assert trained.added_tokens == [AddedToken("<s>", 0), *(t._replace(id=i + 1) for i, t in enumerate(tokens))]
    texts += [token.content for token in tokens]
    spellings = [helpers.spelled(trained.token_bytes(id)) for id in range(1 + len(tokens), len(trained))]
    if any(token.content in spellings for token in tokens):  # such as "a", which is the byte's token too
        with pytest.raises(ValueError, match="spelled like another token"):
            trained.save(folder)
        return
    trained.save(folder)
    assert fingerprint(Tokenizer.load(folder / "tokenizer.json"), texts) == fingerprint(trained, texts)
    assert fingerprint(Tokenizer.load(folder), texts) == fingerprint(trained, texts)
    steps = st.sampled_from([[], [("NFC",)], [("Lowercase",), ("Prepend", "_")]])
    rules = {"normalizer": data.draw(steps), "prefix_space": data.draw(st.booleans())}
    rules |= {"beginning": (0,), "ending": data.draw(st.sampled_from([(), (0, 0)]))}
    source = _core.read_tokenizer_json(str(folder / "tokenizer.json"))
    source.added_tokens = trained.added_tokens
    made = Tokenizer(source, "gpt2", **rules)
    made.save(folder)
    assert fingerprint(Tokenizer.load(folder), texts) == fingerprint(made, texts)


def test_saved_flags_are_those_of_hugging_face(tmp_path):
    token = AddedToken("<mask>", -1, lstrip=True, single_word=True)
    Tokenizer.train(["abc"], 300, special_tokens=[token]).save(tmp_path)
    written = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert written["added_tokens"] == [{"id": 0, "content": "<mask>", "single_word": True, "lstrip": True,
                                        "rstrip": False, "normalized": False, "special": True}]  # fmt: skip


def test_training_names_what_is_no_token():
    with pytest.raises(TypeError, match="special_tokens must hold str or AddedToken, got int"):
        Tokenizer.train([], 300, special_tokens=[5])
    with pytest.raises(ValueError, match="special_tokens must be distinct names that are not empty"):
        Tokenizer.train([], 300, special_tokens=["a", AddedToken("a", 7, special=False)])


WORST = {
    "one letter, and it many times": (["q", "q" * 2000 + "x"], "q" * 300_000, 300_000),
    "a long token that never ends": (["z", "q" * 100_000 + "x"], "q" * 300_000 + "z", 300_001),
    "blanks that take blanks": ([" "], " " * 300_000, 1),
    "every length": (["q" * n for n in range(1, 301)], "q" * 300_000, 1000),
}


@pytest.mark.parametrize(("contents", "text", "expected"), WORST.values(), ids=WORST)
def test_the_search_is_linear_whatever_the_tokens(contents, text, expected):
    tokenizer = demo_with(*(plain(content, lstrip=True, rstrip=True) for content in contents))
    assert len(tokenizer.encode(text)) == expected  # some milliseconds; with the square of the text it would be hours


@given(st.lists(st.text("ab中 ", min_size=1, max_size=5), max_size=6, unique=True), st.text("ab中 ", max_size=60))
def test_matches_are_those_of_a_search_from_place_to_place(contents, text):
    tokenizer = demo_with(*(plain(content) for content in contents))
    expected, at, last = [], 0, 0
    while at < len(text):
        found = [content for content in contents if text.startswith(content, at)]
        if not found:
            at += 1
            continue
        expected += helpers.demo().encode(text[last:at])
        longest = max(found, key=len)
        expected.append(4096 + contents.index(longest))
        at = last = at + len(longest)
    assert tokenizer.encode(text) == expected + helpers.demo().encode(text[last:])


def test_a_token_is_found_across_the_blocks_of_a_long_text():
    tokenizer = demo_with(plain("q中" * 40))
    for before in (65_530, 65_536 - 100, 131_071):
        text = "a" * before + "q中" * 40 + "b"
        assert tokenizer.encode(text).count(4096) == 1
        assert tokenizer.decode(tokenizer.encode(text)) == text
