"""The vocabulary files of a folder: what they say together, and the error where they do not agree."""

import itertools
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword.files import model_folder
from nextword.text import encoder_pieces, tokenizer_folder
from nextword.text.tokenizer import ENDOFTEXT, AddedToken, Tokenizer

PAD, SEP = "<|pad|>", "<|sep|>"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def demo_vocabulary():
    folder = helpers.demo_folder()
    return json.loads((folder / "vocab.json").read_text("utf-8")), (folder / "merges.txt").read_text("utf-8")


def demo_json(**changes):
    """The demo's vocabulary as tokenizer.json."""
    vocab, merges = demo_vocabulary()
    return {
        "added_tokens": [token(ENDOFTEXT, 0)],
        "pre_tokenizer": BYTE_LEVEL | {"add_prefix_space": False},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges.splitlines()[1:]},
    } | changes


def token(content, id, special=True):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": id, "content": content, "special": special} | flags


def by_id(*tokens):
    return {str(one["id"]): {key: value for key, value in one.items() if key != "id"} for one in tokens}


def template(name, id):
    single = [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {name: {"id": name, "ids": [id], "tokens": [name]}}
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special}


def folder_of(tmp_path, pair=True, **files):
    """A folder with the demo's vocab.json and merges.txt (pair), and other JSON files: name -> what it says."""
    if pair:
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(helpers.demo_folder() / name, tmp_path / name)
    for name, says in files.items():
        (tmp_path / f"{name}.json").write_text(says if isinstance(says, str) else json.dumps(says), "utf-8")
    return tmp_path


LISTED = {
    "added_tokens": {PAD: 4096, SEP: 4097},
    "tokenizer": demo_json(added_tokens=[token(ENDOFTEXT, 0), token(PAD, 4096), token(SEP, 4097)]),
    "tokenizer_config": {"added_tokens_decoder": by_id(token(PAD, 4096), token(SEP, 4097))},
    "special_tokens_map": {"pad_token": PAD, "sep_token": SEP},
}


@pytest.mark.parametrize("files", [c for n in (1, 2, 3, 4) for c in itertools.combinations(LISTED, n)], ids="+".join)
def test_added_tokens_are_known_whichever_files_list_them(tmp_path, files):
    says = {name: LISTED[name] for name in files}
    if files == ("special_tokens_map",):  # names without ids get the next ones, in the order of transformers
        says = {"special_tokens_map": {"bos_token": PAD, "sep_token": SEP}}
    tokenizer = Tokenizer.load(folder_of(tmp_path, **says))
    found = {one.content: one.id for one in tokenizer.added_tokens}
    assert found == {ENDOFTEXT: 0, PAD: 4096, SEP: 4097}
    assert tokenizer.decode([4097]) == SEP
    permitted = {SEP} & set(tokenizer.special_tokens)  # of added_tokens.json alone nothing is special
    assert tokenizer.encode("Once <|sep|> upon", allowed_special=permitted) == [2383, 375, 221, 4097, 884]


@given(st.sampled_from(["pair", "tokenizer"]), st.text(max_size=40))
def test_either_form_of_a_vocabulary_gives_the_ids_of_both(tmp_path_factory, form, text):
    both = Tokenizer.load(folder_of(tmp_path_factory.mktemp("both"), tokenizer=demo_json()))
    one = {} if form == "pair" else {"tokenizer": demo_json()}
    alone = Tokenizer.load(folder_of(tmp_path_factory.mktemp("alone"), form == "pair", **one))
    assert both.encode(text) == alone.encode(text) == helpers.demo().encode(text)
    assert both.added_tokens == alone.added_tokens


@pytest.mark.parametrize("pair", [True, False])
@pytest.mark.parametrize(
    ("changes", "text", "ids"),
    [
        ({"pre_tokenizer": BYTE_LEVEL}, "Once upon", [2032, 375, 884]),
        ({"normalizer": {"type": "NFC"}}, "cafe\u0301", helpers.demo().encode("café")),
        ({"post_processor": template(ENDOFTEXT, 0)}, "Once upon", [0, 2383, 375, 884]),
        ({"truncation": {"max_length": 1, "direction": "Right"}, "padding": {"length": 9}}, "Once", [2383, 375]),
    ],
)
def test_what_tokenizer_json_does_to_text_is_done(tmp_path, pair, changes, text, ids):
    tokenizer = Tokenizer.load(folder_of(tmp_path, pair, tokenizer=demo_json(**changes)))
    assert tokenizer.encode(text) == ids


def test_the_configuration_puts_tokens_and_blanks_around_a_text(tmp_path):
    for config, ids in [
        ({"add_bos_token": True}, [0, 2383, 375, 884]),
        ({"add_bos_token": True, "add_eos_token": True, "eos_token": SEP}, [0, 2383, 375, 884, 4096]),
        ({"add_bos_token": True, "bos_token": None}, [2383, 375, 884]),
        ({"add_bos_token": True, "bos_token": {"content": "the", "lstrip": True}}, [1095, 2383, 375, 884]),
        ({"add_prefix_space": True, "tokenizer_class": "GPT2TokenizerFast"}, [2032, 375, 884]),
    ]:
        tokenizer = Tokenizer.load(folder_of(tmp_path, tokenizer_config=config))
        assert tokenizer.encode("Once upon") == ids
        bare = [id for id in ids if id not in (0, 1095, 4096)]
        assert tokenizer.encode("Once upon", add_special_tokens=False) == bare


def test_what_one_file_calls_special_is_special_and_the_fullest_file_has_the_flags(tmp_path):
    says = token("dragonfly", 4096, special=False) | {"lstrip": True}
    files = {"tokenizer": demo_json(added_tokens=[says]), "added_tokens": {"dragonfly": 4096}}
    plain = Tokenizer.load(folder_of(tmp_path, **files)).added_tokens[-1]
    assert plain == AddedToken("dragonfly", 4096, special=False, lstrip=True, normalized=False)
    named = folder_of(tmp_path, **files, special_tokens_map={"mask_token": "dragonfly"})
    assert Tokenizer.load(named).added_tokens[-1] == plain._replace(special=True)


def swapped(vocab, one, other):
    return vocab | {one: vocab[other], other: vocab[one]}


VOCAB, MERGES = demo_vocabulary()
CONTRADICTIONS = [
    ({"added_tokens": {PAD: 4096}, "tokenizer": demo_json(added_tokens=[token(SEP, 4096)])}, "added_tokens.json: id "
     r"4096 is '<\|pad\|>', but '<\|sep\|>' in tokenizer.json"),
    ({"added_tokens": {PAD: 4097}, "tokenizer": demo_json(added_tokens=[token(PAD, 4096)])}, "added_tokens.json: the "
     r"token '<\|pad\|>' is given a second time, with id 4097 after id 4096 in tokenizer.json"),
    ({"added_tokens": {"the": 4096}}, "added_tokens.json: the token 'the' is given a second time, with id 4096 after "
     "id 1095 in vocab.json"),
    ({"added_tokens": {PAD: 1095}}, r"added_tokens.json: id 1095 is '<\|pad\|>', but 'the' in vocab.json"),
    ({"tokenizer_config": {"added_tokens_decoder": by_id(token(PAD, 4096))}, "added_tokens": {SEP: 4096}},
     r"added_tokens.json: id 4096 is '<\|sep\|>', but '<\|pad\|>' in tokenizer_config.json"),
    ({"tokenizer": demo_json(model={"vocab": swapped(VOCAB, "the", "Ġhe"), "merges": MERGES.splitlines()[1:]})},
     "vocab.json line 1: '(the|Ġhe)' has id [0-9]+, but id [0-9]+ in tokenizer.json; .* do not belong together"),
    ({"tokenizer": demo_json(model={"vocab": {t: i for t, i in VOCAB.items() if i != 4095} | {"new": 4095},
                                    "merges": MERGES.splitlines()[1:-1]})},
     "vocab.json line 1: id 4095 is '.*', but 'new' in tokenizer.json"),
    ({"tokenizer": demo_json(model={"vocab": VOCAB, "merges": MERGES.splitlines()[1:-1]})},
     "merges.txt line [0-9]+: of merge 3839 it is '.*', but there is none in tokenizer.json"),
    ({"tokenizer": demo_json(model={"vocab": VOCAB, "merges": MERGES.splitlines()[:0:-1]})},
     "merges.txt line 2: of merge 1 it is '.*', but it is '.*' in tokenizer.json"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "message"), CONTRADICTIONS)
def test_files_that_disagree_about_an_id_are_both_named(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(folder_of(tmp_path, **files))


def test_what_only_the_second_of_two_forms_has_is_known(tmp_path):
    folder = folder_of(tmp_path, tokenizer=demo_json(), vocab=VOCAB | {"zzqx": 4096})
    assert Tokenizer.load(folder).decode([4095, 4096]) == helpers.demo().decode([4095]) + "zzqx"


REFUSED = [
    ({"tokenizer_config": {"tokenizer_class": "CLIPTokenizer"}}, "tokenizer_config.json: tokenizer_class must be"),
    ({"config": {"tokenizer_class": "BertTokenizer"}}, "config.json: tokenizer_class must be GPT2Tokenizer where"),
    ({"tokenizer_config": {"fast_tokenizer_files": ["a.json"]}}, "tokenizer_config.json: fast_tokenizer_files must be"),
    ({"tokenizer_config": {"add_prefix_space": "yes"}}, 'add_prefix_space must be true or false, got "yes"'),
    ({"tokenizer_config": {"add_bos_token": 1}}, "add_bos_token must be true or false, got 1"),
    ({"tokenizer_config": {"bos_token": 5}}, "bos_token must be a token, as text or as an object"),
    ({"tokenizer_config": {"bos_token": ""}}, "bos_token must be a token, as text or as an object"),
    ({"tokenizer_config": {"added_tokens_decoder": {"x": {}}}}, "added_tokens_decoder must be an object of ids"),
    ({"tokenizer_config": {"added_tokens_decoder": [1]}}, "added_tokens_decoder must be an object of ids"),
    ({"tokenizer_config": {"added_tokens_decoder": {"5000": {}}}}, "added_tokens_decoder.5000 must be a token"),
    ({"special_tokens_map": {"additional_special_tokens": [None]}}, "tokens_map.json: additional_special_tokens"),
    ({"added_tokens": {PAD: "x"}}, "added_tokens.json must be an object of tokens and their ids"),
    ({"added_tokens": {"": 4096}}, "added_tokens.json must be an object of tokens and their ids"),
    ({"added_tokens": [PAD]}, "added_tokens.json must be a JSON object, got list"),
    ({"added_tokens": "{"}, "added_tokens.json: not JSON"),
    ({"tokenizer_config": "[" * 100_000}, "tokenizer_config.json: not JSON"),
    ({"tokenizer": "{}"}, r"tokenizer.json line 1: no \"model\""),
]


@pytest.mark.parametrize(("files", "message"), REFUSED)
def test_a_field_that_cannot_be_followed_is_named_with_its_file(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(folder_of(tmp_path, **files))


def test_a_byte_order_mark_is_passed_over_in_every_file(tmp_path):
    folder = folder_of(tmp_path, **LISTED, config={"model_type": "gpt2"})
    for file in folder.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert Tokenizer.load(folder).id_of(SEP) == 4097


def test_a_folder_without_a_whole_vocabulary_says_what_is_there(tmp_path):
    shutil.copy(helpers.demo_folder() / "vocab.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no vocabulary in .*; vocab\.json is there, but not merges\.txt"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.json").rename(tmp_path / "spiece.model")
    with pytest.raises(FileNotFoundError, match=r"no vocabulary in .*; spiece\.model is of another kind"):
        Tokenizer.load(tmp_path)


def test_all_files_that_are_read_are_fetched_and_copied():
    read = {name for names in tokenizer_folder.VOCABULARIES for name in names}
    assert set(model_folder.VOCABULARY_FILES) == read | {
        tokenizer_folder.WORDS, tokenizer_folder.MODEL, *encoder_pieces.FILES,
        tokenizer_folder.CONFIG, tokenizer_folder.ADDED, tokenizer_folder.SPECIALS}  # fmt: skip


def test_the_files_of_gpt2_agree(tmp_path):
    """OpenAI's encoder.json and vocab.bpe, under Hugging Face's names too, and Hugging Face's tokenizer.json."""
    files = {name: helpers.data(f"gpt2_tokenizer/{name}") for name in ("encoder.json", "vocab.bpe")}
    files |= {"vocab.json": files["encoder.json"], "merges.txt": files["vocab.bpe"]}
    files |= {"tokenizer.json": helpers.data("other_tokenizers/gpt2/tokenizer.json")}
    texts = [helpers.MIXED, "a  b\n", ENDOFTEXT]
    expected = helpers.judge("r50k_base").encode_ordinary_batch(texts)
    for names in itertools.chain.from_iterable(itertools.combinations(files, n) for n in (1, 2, 3, 4, 5)):
        folder = tmp_path / "+".join(names)
        folder.mkdir()
        for name in names:
            shutil.copy(files[name], folder / name)
        if not any(set(needed) <= set(names) for needed in tokenizer_folder.VOCABULARIES):
            continue
        tokenizer = Tokenizer.load(folder)
        assert tokenizer.encode_batch(texts) == expected
        assert tokenizer.encode(ENDOFTEXT, allowed_special="all") == [50256]


def test_one_file_by_name_is_read_alone(tmp_path):
    folder = folder_of(tmp_path, **LISTED)
    assert len(Tokenizer.load(folder / "vocab.json")) == 4096
    assert len(Tokenizer.load(folder / "tokenizer.json")) == 4098


@pytest.mark.parametrize("name", ["added_tokens.json", "special_tokens_map.json", "tokenizer_config.json",
                                  "tokenizer.json", "vocab.json", "encoder.json"])  # fmt: skip
@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_file_in_the_place_of_one_is_named_not_passed_over(tmp_path, name, kind):
    folder = folder_of(tmp_path)
    (folder / name).unlink(missing_ok=True)
    if kind == "link":
        (folder / name).symlink_to("blobs/none")
        with pytest.raises(FileNotFoundError, match=rf"{name} is a link to blobs/none, which is not there"):
            Tokenizer.load(folder)
    else:
        (folder / name).mkdir()
        with pytest.raises(ValueError, match=rf"{name} is not a regular file"):
            Tokenizer.load(folder)


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "PreTrainedTokenizerFast"])
def test_the_flags_of_the_configuration_win(tmp_path, kind):
    mask = token("<mask>", 4096)
    folder = folder_of(tmp_path, pair=False,
                       tokenizer=demo_json(added_tokens=[token(ENDOFTEXT, 0), mask | {"rstrip": True}]),
                       tokenizer_config={"tokenizer_class": kind,
                                         "added_tokens_decoder": by_id(mask | {"lstrip": True})})  # fmt: skip
    assert Tokenizer.load(folder).encode("a <mask> b", allowed_special="all") == [65, 4096, 270]
