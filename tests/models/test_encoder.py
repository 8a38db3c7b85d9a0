"""Encoders: bits of a text whatever stands beside it, the program against the graph, NumPy, taps, and what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from nextword import reference
from nextword.models import ENCODERS
from nextword.models.config import ACTIVATIONS
from nextword.models.tap import shapes
from small_encoders import SMALL, small_encoder


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return small_encoder(request.param)


def drawn(data, encoder, most=6):
    """Ids and types of some texts."""
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=most))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    ids = [rng.integers(0, encoder.vocabulary, n) for n in lengths]
    return ids, [rng.integers(0, max(1, encoder.types), n) for n in lengths]


def cut(rows, texts):
    """The rows of each text."""
    return np.split(rows, np.cumsum([len(one) for one in texts])[:-1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
@given(data=st.data())
def test_a_texts_bits_depend_on_nothing_beside_it(isa, threads, dtype, data):
    encoder = small_encoder(data.draw(st.sampled_from(list(ENCODERS))), dtype=dtype)
    ids, types = drawn(data, encoder)
    threads(data.draw(st.integers(1, 3)))
    together = cut(encoder(ids, types), ids)
    threads(1)
    for number, (one, two) in enumerate(zip(ids, types, strict=True)):
        np.testing.assert_array_equal(encoder([one], [two]), together[number])


def test_the_program_has_the_bits_of_the_graph(isa, encoder):
    ids = [np.arange(3) % encoder.vocabulary, np.arange(30) % encoder.vocabulary]
    program = encoder(ids)
    with nextword.trace(encoder, []):
        np.testing.assert_array_equal(encoder(ids), program)
    with nextword.trace(encoder, "*") as t:
        np.testing.assert_array_equal(encoder(ids), program)
    assert set(shapes(encoder)) == set(t)


def test_numpy_gives_the_same_within_rounding(isa, encoder):
    ids = [np.arange(30) % encoder.vocabulary]
    expected = small_encoder(encoder.kind, ops=reference)(ids)
    np.testing.assert_allclose(encoder(ids), expected, atol=2e-5 * np.abs(expected).max())


def test_every_token_sees_both_sides(encoder):
    ids = np.arange(12) % encoder.vocabulary
    with nextword.trace(encoder, "h.*.attn.*") as t:
        encoder([ids])
    weights = t["h.0.attn.weights"]
    assert weights.shape == (encoder.heads, 12, 12)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(2), 1, rtol=1e-5)
    np.testing.assert_array_equal(t["h.1.attn.scores"].argmax(2), t["h.1.attn.weights"].argmax(2))
    assert t["h.0.attn.q"].shape == t["h.0.attn.z"].shape == (encoder.heads, 12, encoder.head_width)


def test_activations_are_whole_texts(encoder):
    ids = [np.arange(5) % encoder.vocabulary, np.arange(9) % encoder.vocabulary]
    with nextword.trace(encoder, ["hidden", "h.0.attn.weights"]) as t:
        rows = encoder(ids)
    for number, part in enumerate(cut(rows, ids)):
        np.testing.assert_array_equal(t.whole("hidden", number), part)
        assert t.whole("h.0.attn.weights", number).shape == (encoder.heads, len(part), len(part))


def test_replaced_weights_of_attention_give_another_mixture(encoder):
    ids, uniform = [np.arange(6) % encoder.vocabulary], np.full((encoder.heads, 6, 6), 1 / 6, np.float32)
    with nextword.trace(encoder, ["h.0.attn.z", "h.0.attn.v"], replace={"h.0.attn.weights": uniform}) as t:
        encoder(ids)
    mean = t["h.0.attn.v"].mean(1, keepdims=True)
    np.testing.assert_allclose(t["h.0.attn.z"], np.broadcast_to(mean, t["h.0.attn.z"].shape), rtol=1e-4, atol=1e-5)


def test_tensors_make_the_same_encoder_again(encoder):
    again = type(encoder)(_unpacked(encoder), encoder.config)
    ids = [np.arange(20) % encoder.vocabulary]
    np.testing.assert_array_equal(again(ids), encoder(ids))


def _unpacked(encoder):
    """Its tensors as PackedBytes, as a folder of packed weights holds them."""
    from nextword import ops
    from nextword.arithmetic.formats import PackedBytes

    return {name: PackedBytes(ops.packed_bytes(x), x.dtype, *x.shape) if isinstance(x, ops.Packed) else x
            for name, x in encoder.tensors().items()}  # fmt: skip


@pytest.mark.parametrize(("batch", "types", "kind", "words"), [
    ([[99]], None, IndexError, "ids must be 0 .. 36, got 99 .. 99"),
    ([[]], None, ValueError, "a text must have 1 .. 48 tokens, got 0 .. 0"),
    ([[1] * 49], None, IndexError, "a text must have 1 .. 48 tokens, got 49 .. 49"),
    ([[1, 2]], [[0]], ValueError, r"types must have the \[2\] tokens of the texts, got \[1\]"),
    ([[1]], [[2]], IndexError, "types must be 0 .. 1, got 2 .. 2"),
    ([[1.5]], None, ValueError, "ids must be integers"),
])  # fmt: skip
def test_what_is_wrong_with_a_pass_is_told(batch, types, kind, words):
    encoder = small_encoder("bert")
    with pytest.raises(kind, match=words):
        encoder([np.array(one) for one in batch], types and [np.array(one) for one in types])


@pytest.mark.parametrize(("kind", "field", "value"), [
    ("bert", "is_decoder", True), ("bert", "add_cross_attention", True), ("bert", "hidden_act", "mish"),
    ("bert", "position_embedding_type", "relative_key"), ("bert", "pruned_heads", {"0": [1]}),
    ("bert", "hidden_size", 21), ("bert", "problem_type", "ranking"), ("bert", "id2label", {"1": "a"}),
    ("bert", "vocab_size", 0), ("bert", "type_vocab_size", -1), ("bert", "layer_norm_eps", 0),
    ("bert", "architectures", "BertModel"), ("distilbert", "layer_norm_eps", 1e-5), ("roberta", "pad_token_id", 47),
    ("mpnet", "relative_attention_num_buckets", 16), ("albert", "num_hidden_groups", 3),
    ("electra", "embedding_size", 0),
])  # fmt: skip
def test_fields_that_are_wrong_or_not_supported_are_named(kind, field, value):
    with pytest.raises(ValueError, match=f"config: {field} must"):
        small_encoder(kind, config={field: value})


def test_every_activation_of_a_configuration_runs():
    for name in ACTIVATIONS:
        assert np.isfinite(small_encoder("bert", config={"hidden_act": name})([np.arange(9)])).all()


def test_an_operation_list_is_given_as_of_decoders():
    names = [one.name for one in small_encoder("bert").operations()]
    assert names[:3] == ["embedding", "add_rows", "layer_norm"]
    assert names.count("attention_within") == 2
    assert len(small_encoder("albert").linears()) == 2 * 4 + 1


def stored(encoder, **changes):
    """Its tensors as float32 by Hugging Face's names, with changes; None takes one out."""
    named = {name: nextword.ops.unpack(x).T if isinstance(x, nextword.ops.Packed) else x
             for name, x in encoder.tensors().items()}  # fmt: skip
    return {name: x for name, x in (named | changes).items() if x is not None}


def test_prefixes_and_older_names_of_norms_are_understood():
    encoder = small_encoder("bert")
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    class Renamed(dict):
        def renamed(self, own_name):
            return {own: x for name, x in self.items() if (own := own_name(name)) is not None}

    named = Renamed()
    for name, x in stored(encoder).items():
        end = next((one for one in older if name.endswith(one)), "")
        named["bert." + (name.removesuffix(end) + older[end] if end else name)] = x
    named["bert.embeddings.position_ids"] = np.arange(48)
    again, ids = type(encoder)(named, encoder.config), [np.arange(9)]
    np.testing.assert_array_equal(again(ids), encoder(ids))


def test_heads_that_are_not_read_are_told_and_other_tensors_refused():
    encoder = small_encoder("bert")
    more = {"qa_outputs.weight": np.ones((2, 20), np.float32)}
    with pytest.warns(UserWarning, match=r"not used, as no logit depends on it: .*qa_outputs\.weight"):
        type(encoder)(stored(encoder, **more), encoder.config)
    with pytest.raises(ValueError, match="'stranger' has no place in a BERT of this configuration"):
        type(encoder)(stored(encoder, stranger=np.ones(1, np.float32)), encoder.config)
    with pytest.raises(ValueError, match=r"'embeddings\.LayerNorm\.bias' is missing"):
        type(encoder)(stored(encoder, **{"embeddings.LayerNorm.bias": None}), encoder.config)


def test_a_classifier_is_of_texts_or_of_tokens_by_the_architecture_or_else_by_its_pooler():
    encoder = small_encoder("bert")
    pooler = {"pooler.dense.weight": np.ones((20, 20), np.float32), "pooler.dense.bias": np.ones(20, np.float32)}
    classifier = {"classifier.weight": np.ones((2, 20), np.float32), "classifier.bias": np.ones(2, np.float32)}
    config = {"model_type": "bert", **SMALL}
    for name, more, head in (
            ("BertForSequenceClassification", pooler, "classes"), ("BertForTokenClassification", pooler, "tags"),
            (None, pooler, "classes"), (None, {}, "tags")):  # fmt: skip
        known = config if name is None else config | {"architectures": [name]}
        found = type(encoder)(stored(encoder, **classifier, **more), known).outputs
        assert getattr(found, head) is not None
        assert (found.classes is None) != (found.tags is None)
        assert (found.pooler is not None) == bool(more)
