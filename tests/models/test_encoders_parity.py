"""The same hidden states and logits of heads as transformers' encoders, over folders that it has saved."""

from __future__ import annotations

import numpy as np
import pytest

from nextword.files.weights import open_model
from nextword.models import build
from nextword.models.mpnet import buckets

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')

torch.set_num_threads(1)  # see test_parity.py

# By kind: transformers' name, and what of it is drawn beside what all have.
KINDS = {
    "bert": ("Bert", {"type_vocab_size": [1, 2, 3]}),
    "roberta": ("Roberta", {"type_vocab_size": [1, 2], "pad_token_id": [1, 0, 4]}),
    "xlm-roberta": ("XLMRoberta", {"type_vocab_size": [1], "pad_token_id": [1]}),
    "distilbert": ("DistilBert", {}),
    "electra": ("Electra", {"embedding_size": [8, 24, 48], "type_vocab_size": [2]}),
    "mpnet": ("MPNet", {"pad_token_id": [1, 3]}),
    "albert": ("Albert", {"embedding_size": [8, 24], "num_hidden_groups": [1, 2], "inner_group_num": [1, 2],
                          "type_vocab_size": [2]}),
    "modernbert": ("ModernBert", {"local_attention": [2, 9, 16], "norm_bias": [False, True], "mlp_bias": [False, True],
                                  "attention_bias": [False, True], "classifier_bias": [False, True],
                                  "decoder_bias": [False, True], "classifier_pooling": ["cls", "mean"]}),
}  # fmt: skip
HEADS = {"": "Model", "masked": "ForMaskedLM", "classes": "ForSequenceClassification",
         "tags": "ForTokenClassification"}  # fmt: skip
OWN = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
       "intermediate_size": "hidden_dim", "hidden_act": "activation"}  # fmt: skip
SHAPES = [(kind, number) for kind in KINDS for number in range(10)]


def drawn(kind, number):
    """A configuration of odd sizes."""
    rng = np.random.default_rng([number, *kind.encode()])
    width, heads = [(24, 2), (48, 4), (20, 5), (40, 1), (66, 3)][number % 5]
    fields = {"vocab_size": int(rng.integers(20, 90)), "hidden_size": width, "num_attention_heads": heads,
              "num_hidden_layers": int(rng.integers(2, 4)), "intermediate_size": int(rng.integers(5, 80)),
              "hidden_act": str(rng.choice(["gelu", "gelu", "relu", "gelu_new", "silu"])),
              "max_position_embeddings": 60, "layer_norm_eps": float(rng.choice([1e-12, 1e-5, 1e-2])),
              "pad_token_id": 0, "num_labels": int(rng.integers(1, 6))}  # fmt: skip
    fields |= {name: rng.choice(values).item() for name, values in KINDS[kind][1].items()}
    if kind == "distilbert":
        del fields["layer_norm_eps"]
        fields = {OWN.get(name, name): value for name, value in fields.items()}
    if kind == "modernbert":
        if width // heads % 2 == 1:  # pairs of numbers turn
            fields["hidden_size"] *= 2
        fields |= {name: fields.pop(old) for name, old in (("hidden_activation", "hidden_act"),
                                                           ("norm_eps", "layer_norm_eps"))}
    return fields


def made(kind, head, fields):
    """transformers' model with random weights, far from linear."""
    torch.manual_seed(0)
    name = KINDS[kind][0]
    config = getattr(transformers, f"{name}Config")(**fields, attn_implementation="eager")
    theirs = getattr(transformers, name + HEADS[head])(config).eval()
    with torch.no_grad():
        for part, x in theirs.named_parameters():
            if x.ndim == 2:
                x.normal_(0, 1 if "embeddings" in part or "attention_bias" in part else x.shape[1] ** -0.5)
            else:
                x.add_(torch.randn_like(x) * 0.1)
    return theirs


def pair(kind, number, head, folder):
    theirs = made(kind, head, drawn(kind, number))
    theirs.save_pretrained(folder)
    return theirs, build(open_model(folder))


def texts(model, kind):
    """Ids and types of three texts, none of which is the padding token."""
    rng = np.random.default_rng(1)
    ids = [rng.integers(5, model.vocabulary, n) for n in (1, 9, min(50, model.window))]
    return ids, [rng.integers(0, max(1, model.types), len(one)) for one in ids]


def of_theirs(theirs, kind, ids, types):
    more = {"token_type_ids": torch.tensor(types)[None]} if kind not in ("distilbert", "mpnet", "modernbert") else {}
    with torch.no_grad():
        return theirs(torch.tensor(ids)[None], **more)


def close(ours, expected):
    expected = expected.numpy()
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize(("kind", "number"), SHAPES)
def test_hidden_states_and_poolers_are_theirs(kind, number, tmp_path):
    theirs, ours = pair(kind, number, "", tmp_path)
    ids, types = texts(ours, kind)
    hidden, at = ours(ids, types), 0
    for one, two in zip(ids, types, strict=True):
        found, rows = of_theirs(theirs, kind, one, two), hidden[at : at + len(one)]
        close(rows, found.last_hidden_state[0])
        if ours.outputs.pooler is not None:
            close(ours.outputs.pooler(rows, np.array([len(one)])), found.pooler_output)
        at += len(one)


@pytest.mark.parametrize("head", ["masked", "classes", "tags"])
@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind, number in SHAPES if number < 3])
def test_logits_of_heads_are_theirs(kind, number, head, tmp_path):
    theirs, ours = pair(kind, number, head, tmp_path)
    ids, types = texts(ours, kind)
    hidden, fresh = ours(ids, types), np.array([len(one) for one in ids])
    own = getattr(ours.outputs, head)
    logits = own(hidden, fresh) if head == "classes" else own(hidden)
    expected = [of_theirs(theirs, kind, one, two).logits for one, two in zip(ids, types, strict=True)]
    close(logits, torch.cat([one if head == "classes" else one[0] for one in expected]))


def test_buckets_are_theirs_at_every_distance():
    far = np.arange(-2000, 2001)
    theirs = transformers.models.mpnet.modeling_mpnet.MPNetEncoder.relative_position_bucket
    for count in (8, 32, 64):
        np.testing.assert_array_equal(buckets(far, count), theirs(torch.tensor(far), num_buckets=count).numpy())


def test_an_untied_head_is_its_own(tmp_path):
    theirs = made("bert", "masked", drawn("bert", 1) | {"tie_word_embeddings": False})
    theirs.save_pretrained(tmp_path)
    ours = build(open_model(tmp_path))
    ids, types = texts(ours, "bert")
    close(ours.outputs.masked(ours(ids[1:2], types[1:2])), of_theirs(theirs, "bert", ids[1], types[1]).logits[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_copy_stands_near(kind, tmp_path):
    _, ours = pair(kind, 1, "masked", tmp_path)
    ids, types = texts(ours, kind)
    exact, near = ours(ids, types), ours.quantised("int8")(ids, types)
    cosine = (exact * near).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(near, axis=1)
    assert cosine.min() > 0.99
