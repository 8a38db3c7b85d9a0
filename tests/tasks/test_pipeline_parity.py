"""The same classes, tags and words for gaps as transformers' pipelines, from text to answer."""

from __future__ import annotations

import numpy as np
import pytest

import nextword

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')
tokenizers = pytest.importorskip("tokenizers", reason='needs tokenizers: pip install "nextword[parity]"')

torch.set_num_threads(1)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "cat", "dog", "ran", "sat", "on", "in", "berlin",
         "##s", "##ed", ".", "?", ","]  # fmt: skip
TEXTS = ["A cat sat on the dogs.", "the dog ran in Berlin, a cat?", "  cats  ran ", "Berlin"]
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 30,
         "max_position_embeddings": 60}  # fmt: skip
SMALLER = {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 30, "max_position_embeddings": 60}


def wordpiece(folder):
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    found = transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=50)
    found.save_pretrained(folder)
    return found


def byte_level(folder):
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(TEXTS * 5, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    made.save_model(str(folder))
    found = transformers.RobertaTokenizer.from_pretrained(str(folder), model_max_length=50)
    found.save_pretrained(folder)
    return found


KINDS = {"Bert": (wordpiece, SIZES), "Electra": (wordpiece, SIZES | {"embedding_size": 10}),
         "DistilBert": (wordpiece, SMALLER), "Roberta": (byte_level, SIZES | {"type_vocab_size": 1})}  # fmt: skip


@pytest.fixture(params=KINDS)
def made(request, tmp_path):
    """Makes (their model, their tokenizer, ours) of a class."""
    tokenizer, sizes = KINDS[request.param]

    def make(head, **more):
        torch.manual_seed(3)
        theirs = tokenizer(tmp_path)
        config = getattr(transformers, f"{request.param}Config")(vocab_size=len(theirs), **sizes, **more)
        model = getattr(transformers, request.param + head)(config).eval()
        with torch.no_grad():
            for x in model.parameters():
                x.normal_(0, 0.6) if x.ndim == 2 else x.add_(torch.randn_like(x) * 0.1)
        model.save_pretrained(tmp_path)
        return model, theirs, nextword.load(tmp_path)

    return make


LABELS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}


def test_spans_are_theirs(made):
    model, tokenizer, ours = made("ForTokenClassification", id2label=LABELS)
    pipe = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer,
                                 aggregation_strategy="simple", device="cpu")  # fmt: skip
    several = 0
    for text in TEXTS:
        expected, found = pipe(text), ours.tag(text)
        assert [(one.label, one.start, one.end) for one in found] == [
            (one["entity_group"], one["start"], one["end"]) for one in expected]  # fmt: skip
        np.testing.assert_allclose([one.score for one in found], [one["score"] for one in expected], rtol=1e-4)
        several += len(found)
    assert several


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
def test_classes_are_theirs(made, problem):
    model, tokenizer, ours = made("ForSequenceClassification", num_labels=3, problem_type=problem)
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    for expected, found in zip(pipe(TEXTS), ours.classify(TEXTS), strict=True):
        assert list(found) == [one["label"] for one in expected]
        np.testing.assert_allclose(list(found.values()), [one["score"] for one in expected], rtol=1e-4)
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}
    np.testing.assert_allclose(list(ours.classify((TEXTS[0], TEXTS[1])).values()),
                               [one["score"] for one in pipe(pair)], rtol=1e-4)  # fmt: skip


def test_words_for_gaps_are_theirs(made):
    model, tokenizer, ours = made("ForMaskedLM")
    pipe = transformers.pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")
    mask = tokenizer.mask_token
    for text in (f"the {mask} ran", f"{mask} cat sat on the {mask}."):
        expected = pipe(text, top_k=4)
        for gap, theirs in zip(ours.fill_mask(text, k=4), expected if text.count(mask) > 1 else [expected],
                               strict=True):  # fmt: skip
            assert [one.id for one in gap] == [one["token"] for one in theirs]
            np.testing.assert_allclose([one.probability for one in gap], [one["score"] for one in theirs], rtol=1e-4)
