"""Folders of vocabulary files, whatever they say and whichever are there, give the ids that transformers gives."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword.text.tokenizer import ENDOFTEXT, Tokenizer

transformers = pytest.importorskip("transformers", minversion="5.24")
tokenizers = pytest.importorskip("tokenizers")

ALPHABET = [helpers.spelled(bytes([byte])) for byte in range(256)]
MERGES = ["a b", "ab c", "Ġ a", "Ġ ab", "< |", "Ã ©"]
PLAIN = [*ALPHABET, *(merge.replace(" ", "") for merge in MERGES)]
POOL = ["<|pad|>", "<|sep|>", "abba", "<mask>", "[x]", "<s>"]
NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "own_token"]
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


class Vocabulary(dict):
    """Tokens and ids, shown by their number where a test fails."""

    def __repr__(self):
        return f"<{len(self)} tokens>"


def template(*parts):
    """TemplateProcessing of ids of the vocabulary and "A" for the text."""
    single = [{"Sequence" if p == "A" else "SpecialToken": {"id": str(p), "type_id": 0}} for p in parts]
    special = {str(p): {"id": str(p), "ids": [p], "tokens": [str(p)]} for p in parts if p != "A"}
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


NORMALIZERS = [
    None,
    {"type": "NFC"},
    {"type": "NFKD"},
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]},
    {"type": "Replace", "pattern": {"String": "b"}, "content": "a"},
    {"type": "Prepend", "prepend": "c"},
]
PROCESSORS = [
    None,
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    template("A"),
    template(5, "A"),
    template(5, 6, "A", 7),
    {"type": "RobertaProcessing", "cls": ["é", 3], "sep": ["x", 4], "trim_offsets": True, "add_prefix_space": False},
    {"type": "Sequence", "processors": [BYTE_LEVEL, template(1, "A", 2)]},
]
FLAGS = st.fixed_dictionaries(
    {flag: st.booleans() for flag in ("special", "lstrip", "rstrip", "single_word", "normalized")}
)
TRUNCATION = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}


@st.composite
def folders(draw):
    """{file: what it says}. Files that list added tokens with their ids list the same ones."""
    base = [*PLAIN, *([ENDOFTEXT] if draw(st.booleans()) else [])]
    vocab = Vocabulary({token: id for id, token in enumerate(base)})
    pool = draw(st.permutations(POOL))
    listed = pool[: draw(st.integers(0, 3))]
    flags = {token: draw(FLAGS) for token in listed}
    tokens = {token: len(base) + i for i, token in enumerate(listed)}
    name = st.one_of(st.sampled_from(pool), st.none())
    files = {}
    kinds = draw(st.sampled_from([("pair",), ("json",), ("pair", "json")]))
    if "pair" in kinds:
        files["vocab.json"] = vocab
        files["merges.txt"] = "\n".join(["#version: 0.2", *MERGES]) + "\n"
    if "json" in kinds:
        files["tokenizer.json"] = {
            "version": "1.0", "truncation": draw(st.sampled_from([None, TRUNCATION])), "padding": None,
            "added_tokens": [{"id": id, "content": token, **flags[token]} for token, id in tokens.items()],
            "normalizer": draw(st.sampled_from(NORMALIZERS)),
            "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": draw(st.booleans())},
            "post_processor": draw(st.sampled_from(PROCESSORS)), "decoder": BYTE_LEVEL,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                      "merges": MERGES},
        }  # fmt: skip
    config = draw(st.dictionaries(st.sampled_from(NAMES), name, max_size=3))
    for key in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if draw(st.booleans()):
            config[key] = draw(st.booleans())
    if draw(st.booleans()):
        config["additional_special_tokens"] = draw(st.lists(st.sampled_from(pool), max_size=2, unique=True))
    if draw(st.booleans()):
        classes = ["GPT2Tokenizer", "GPT2TokenizerFast", *(["PreTrainedTokenizerFast"] if "json" in kinds else [])]
        config["tokenizer_class"] = draw(st.sampled_from(classes))
    if draw(st.booleans()):
        others = {token: draw(FLAGS) | {"special": flags[token]["special"]} for token in tokens}
        others = others if draw(st.booleans()) else flags  # what it says counts
        config["added_tokens_decoder"] = {str(id): {"content": token, **others[token]} for token, id in tokens.items()}
    if config or draw(st.booleans()):
        files["tokenizer_config.json"] = dict(config)
    if draw(st.booleans()):
        files["special_tokens_map.json"] = draw(
            st.dictionaries(st.sampled_from(NAMES), st.sampled_from(pool), max_size=3)
        )
    if draw(st.booleans()) or not ("json" in kinds or "added_tokens_decoder" in config):
        files["added_tokens.json"] = tokens
    return files


def write(folder, files):
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    for name, says in files.items():
        text = says if isinstance(says, str) else json.dumps(says, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")


def judge(folder, files):
    """transformers' tokenizer of the folder. Two things that GPT2Tokenizer passes over in tokenizer.json count here."""
    judge = transformers.AutoTokenizer.from_pretrained(folder)
    whole, config = files.get("tokenizer.json"), files.get("tokenizer_config.json", {})
    if whole and config.get("tokenizer_class") != "PreTrainedTokenizerFast":
        stored = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        if whole["normalizer"]:
            judge.backend_tokenizer.normalizer = stored.normalizer
        if "add_prefix_space" not in config:
            judge.backend_tokenizer.pre_tokenizer = stored.pre_tokenizer
    return judge


PARTS = st.sampled_from([*POOL, ENDOFTEXT, " ", "  ", "a", "abc", "e\u0301", "B", "ﬁ", "!"])
TEXTS = st.lists(st.one_of(PARTS, st.text(max_size=3)), max_size=8).map("".join)


@settings(max_examples=250)
@given(folders(), st.lists(TEXTS, min_size=1, max_size=4))
def test_a_folder_gives_the_ids_of_transformers(tmp_path_factory, files, texts):
    folder = tmp_path_factory.mktemp("folder")
    write(folder, files)
    theirs, ours = judge(folder, files), Tokenizer.load(folder)
    ids = {token.content: id for id, token in theirs.added_tokens_decoder.items() if id < len(ours)}
    assert {t.content: t.id for t in ours.added_tokens if t.content != ENDOFTEXT or ENDOFTEXT in ids} == ids
    special = {token.content for token in ours.added_tokens if token.special and token.content in ids}
    for text in texts:
        text = text if ENDOFTEXT in ids else text.replace(ENDOFTEXT, "")
        assert ours.encode(text, allowed_special=special) == theirs(text)["input_ids"]
        bare = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, allowed_special=special, add_special_tokens=False) == bare
        assert ours.encode(text) == theirs(text, split_special_tokens=True)["input_ids"]


@given(st.lists(st.sampled_from(ALPHABET), max_size=200, unique=True), st.lists(TEXTS, min_size=1, max_size=3))
def test_bytes_without_a_token_become_the_unknown_one(tmp_path_factory, gone, texts):
    folder = tmp_path_factory.mktemp("unknown")
    kept = [token for token in PLAIN if not set(token) & set(gone)]
    merges = [merge for merge in MERGES if merge.replace(" ", "") in kept]
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": False, "byte_fallback": False, "merges": merges}
    model["vocab"] = {token: id for id, token in enumerate([*kept, "<unk>"])}
    whole = {"version": "1.0", "added_tokens": [], "pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    ours = Tokenizer.load(folder / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in texts:
        assert ours.encode(text) == theirs.encode(text).ids
