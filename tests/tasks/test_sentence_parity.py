"""The same vectors and scores as sentence-transformers, over folders that it has saved."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nextword

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')
theirs = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules", reason="needs its version 6")

torch.set_num_threads(1)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "cat", "dog", "ran", "sat", "on", "query", ":",
         "passage", "##s", "##ed", ".", "?", ","]  # fmt: skip
TEXTS = ["a cat sat on the dog", "dogs", "A Cat!", "",
         "the cat ran . the dog sat ? a cat , a dog on the cats ran sat on"]


def base(folder, name="BertModel", **more):
    """A random encoder and its vocabulary."""
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(WORDS), hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                                     intermediate_size=30, max_position_embeddings=40, **more)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for x in model.parameters():
            x.normal_(0, 0.5) if x.ndim == 2 else x.add_(torch.randn_like(x) * 0.1)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=40).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def pair(tmp_path, pooling=None, steps=(), **more):
    """(their model, ours) of one folder."""
    first = modules.Transformer(str(base(tmp_path / "base")), **more)
    model = theirs.SentenceTransformer(modules=[first, modules.Pooling(24, **(pooling or {})), *steps], device="cpu")
    model.save(str(tmp_path / "saved"))
    (tmp_path / "saved" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return model, nextword.load(tmp_path / "saved")


def close(ours, expected):
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


MODES = ("mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens", "weightedmean")


@pytest.mark.parametrize("mode", [*MODES, ("cls", "mean"), MODES], ids=str)
def test_every_way_of_pooling_is_theirs(tmp_path, mode):
    model, ours = pair(tmp_path, {"pooling_mode": mode})
    expected = model.encode(TEXTS)
    close(ours.embed(TEXTS), expected)
    close(ours.embed(TEXTS, normalize=True), model.encode(TEXTS, normalize_embeddings=True))
    assert ours.width == expected.shape[1]


@pytest.mark.parametrize(("activation", "width", "residual"), [
    ("Tanh", 24, False), ("Identity", 10, False), ("ReLU", 24, True), ("GELU", 7, True)])  # fmt: skip
def test_layers_and_norms_behind_the_pooling_are_theirs(tmp_path, activation, width, residual):
    torch.manual_seed(1)
    dense = modules.Dense(24, width, activation_function=getattr(torch.nn, activation)(), use_residual=residual)
    model, ours = pair(tmp_path, None, [dense, modules.Normalize()])
    close(ours.embed(TEXTS), model.encode(TEXTS))
    assert not np.allclose(np.linalg.norm(ours.embed(TEXTS, normalize=False), axis=1), 1)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_prompts_count_as_theirs_do(tmp_path, mode, include):
    model, ours = pair(tmp_path, {"pooling_mode": mode, "include_prompt": include})
    close(ours.embed(TEXTS, prompt="query : a"), model.encode(TEXTS, prompt="query : a"))
    file = tmp_path / "saved" / "config_sentence_transformers.json"
    about = json.loads(file.read_text()) | {"prompts": {"q": "query : ", "p": "passage : "}, "default_prompt_name": "p"}
    file.write_text(json.dumps(about))
    model, ours = theirs.SentenceTransformer(str(file.parent), device="cpu"), nextword.load(file.parent)
    close(ours.embed(TEXTS), model.encode(TEXTS))
    close(ours.embed(TEXTS, prompt="q"), model.encode(TEXTS, prompt_name="q"))
    close(ours.embed(TEXTS, prompt=""), model.encode(TEXTS, prompt=""))


@pytest.mark.filterwarnings("ignore:embed. .* tokens")
def test_a_shorter_length_is_theirs(tmp_path):
    model, ours = pair(tmp_path, None, (), max_seq_length=6)
    assert ours.max_length == 6
    close(ours.embed(TEXTS), model.encode(TEXTS))


def test_a_folder_without_their_files_is_the_mean_as_theirs(tmp_path):
    folder = base(tmp_path)
    close(nextword.load(folder).embed(TEXTS), theirs.SentenceTransformer(str(folder), device="cpu").encode(TEXTS))


@pytest.mark.parametrize("activation", [None, "Sigmoid", "Identity"])
def test_scores_of_a_cross_encoder_are_theirs(tmp_path, activation):
    folder = base(tmp_path / "base", "BertForSequenceClassification", num_labels=1)
    made = None if activation is None else getattr(torch.nn, activation)()
    model = theirs.CrossEncoder(str(folder), device="cpu", activation_fn=made)
    model.save_pretrained(str(tmp_path / "saved"))
    (tmp_path / "saved" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    texts = [text for text in TEXTS if text]
    expected = model.predict([("the cat", text) for text in texts])
    found = nextword.load(tmp_path / "saved").rerank("the cat", texts)
    assert [one.index for one in found] == np.argsort(-expected, kind="stable").tolist()
    close(np.array([one.score for one in found], np.float32), np.sort(expected)[::-1])
    assert [one.text for one in found] == [texts[one.index] for one in found]
