"""Folders that transformers writes for encoders: ids, types, offsets and special tokens are the same read by both."""

from __future__ import annotations

import json
import os

import pytest

import tokenizer_helpers as helpers
from nextword import _core
from nextword.text.tokenizer import Tokenizer

os.environ.setdefault("RUST_BACKTRACE", "0")
transformers = pytest.importorskip("transformers")

PAIRED = ["Hello, it's 9,000 [MASK] <mask>  x ", "  two  blanks ``quoted'' naïve Ⅳ ﬁn\n\n a", "<s> a </s>",
          "中文 🙂\n\u00a0b", "É\u0301 Straße\tİ", "", "a" * 300, "one\r\ntwo\x85three\u2028four  "]  # fmt: skip
# What a normaliser changes together is not divided here, nor left out; theirs divides and leaves out.
UNDIVIDED = {"albert": {PAIRED[1], PAIRED[4]}}


def pieces():
    model = helpers.data("other_tokenizers/unigram/albert-spiece.model")
    fields = _core.sentencepiece_fields(model.read_bytes(), model.name)
    return [(name, float(score)) for name, score in zip(fields["names"], fields["scores"], strict=True)]


def fairseq():
    first = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    return [*first, *pieces()[3:], ("<mask>", 0.0)]


def words():
    lines = helpers.data("other_tokenizers/bert-base-uncased/vocab.txt").read_text("utf-8").splitlines()
    return {line: id for id, line in enumerate(lines)}


def byte_level(name, **settings):
    vocab = json.loads(helpers.data("gpt2_tokenizer/encoder.json").read_text("utf-8"))
    merges = helpers.data("gpt2_tokenizer/vocab.bpe").read_text("utf-8").splitlines()[1:]
    pairs = [tuple(merge.split(" ")) for merge in merges]
    return getattr(transformers, name)(vocab=vocab, merges=pairs, **settings)


def modernbert():
    """Byte-level pieces, NFC, [CLS] and [SEP], a mask that takes the blank before it along."""
    import tokenizers
    from tokenizers import AddedToken, normalizers, processors

    made = tokenizers.Tokenizer.from_file(str(helpers.data("other_tokenizers/gpt2/tokenizer.json")))
    made.add_special_tokens(["[CLS]", "[SEP]", "[PAD]", "[UNK]", AddedToken("[MASK]", lstrip=True)])
    made.add_tokens([AddedToken("   ", normalized=True)])
    made.normalizer = normalizers.NFC()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        special_tokens=[(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )  # fmt: skip
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "unk", "mask")}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=8192, **names)


MADE = {
    "bert": lambda: transformers.BertTokenizer(vocab=words(), model_max_length=512),
    "bert cased": lambda: transformers.BertTokenizer(vocab=words(), do_lower_case=False, strip_accents=True),
    "mpnet": lambda: transformers.MPNetTokenizer(vocab=words()),
    "roberta": lambda: byte_level("RobertaTokenizer", model_max_length=512),
    "roberta, blank first": lambda: byte_level("RobertaTokenizer", add_prefix_space=True),
    "deberta": lambda: byte_level("DebertaTokenizer"),
    "modernbert": modernbert,
    "xlm-roberta": lambda: transformers.XLMRobertaTokenizer(vocab=fairseq()),
    "albert": lambda: transformers.AlbertTokenizer(vocab=pieces()),
    "deberta-v2": lambda: transformers.DebertaV2Tokenizer(vocab=pieces(), do_lower_case=True, unk_token="<unk>"),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_folder_that_transformers_writes_is_read_alike(tmp_path, kind):
    theirs = MADE[kind]()
    theirs.save_pretrained(tmp_path)
    ours = Tokenizer.load(tmp_path)
    for text in PAIRED:
        for pair, most in ((None, None), (PAIRED[0], None), (PAIRED[1], 12)):
            read = ours.with_specials(text, pair, max_length=most)
            encoding = theirs(text, pair, return_offsets_mapping=True, return_token_type_ids=True,
                              truncation=most is not None, max_length=most)  # fmt: skip
            assert read.ids.tolist() == encoding["input_ids"], text
            assert read.types.tolist() == encoding["token_type_ids"]
            if not {text, pair} & UNDIVIDED.get(kind, set()):
                assert read.offsets == [tuple(offset) for offset in encoding["offset_mapping"]], text
            assert read.parts == encoding.sequence_ids(0)
    named = {key: theirs.convert_tokens_to_ids(token) for key, token in theirs.special_tokens_map.items()}
    assert ours.special_ids == named
    assert ours.max_length == (theirs.model_max_length if theirs.model_max_length < 10**9 else None)
    (tmp_path / "again").mkdir()
    ours.save(tmp_path / "again")
    again = Tokenizer.load(tmp_path / "again" / "tokenizer.json")
    for text in PAIRED:
        assert again.with_specials(text, "b").offsets == ours.with_specials(text, "b").offsets
        assert again.with_specials(text, "b").ids.tolist() == ours.with_specials(text, "b").ids.tolist()
