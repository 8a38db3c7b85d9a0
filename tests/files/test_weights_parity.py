"""What a folder's files say together, as transformers and peft understand it: the same logits, or one clear error."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nextword

torch = pytest.importorskip("torch", reason='needs torch: pip install "nextword[parity]"')
transformers = pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')

# Two OpenMP runtimes, torch's and ours, would wait for each other's threads on a small machine.
torch.set_num_threads(1)

# Of these libraries about each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

IDS = [1, 2, 3, 5, 8, 13, 21, 34]
WTE, HEAD = "transformer.wte.weight", "lm_head.weight"


def new_model(**settings):
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 48, "n_positions": 64, "vocab_size": 77}
    config = transformers.GPT2Config(**{**shape, "bos_token_id": 0, "eos_token_id": 0, **settings})
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for x in model.parameters():
            x.add_(torch.randn_like(x) * 0.2)
    return model


def save(folder, model, tensors=None, **changes):
    """The folder as save_pretrained writes it, with other tensors and fields; None takes a field out."""
    from safetensors.torch import save_file

    model.save_pretrained(folder)
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps({name: x for name, x in config.items() if x is not None}))
    if tensors is not None:
        save_file({name: x.contiguous().clone() for name, x in tensors.items()}, folder / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip
    return folder


def theirs(folder):
    with torch.no_grad():
        model = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
        return model(torch.tensor([IDS])).logits[0].numpy()


def assert_theirs(folder):
    expected = theirs(folder)
    assert np.abs(nextword.load(folder).logits(IDS) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("tie", [True, None, False])
@pytest.mark.parametrize("stored", ["own", "equal", "embedding", "head"])
def test_a_head_that_is_stored_and_tied_in_any_way_gives_their_logits(tmp_path, tie, stored):
    model = new_model()
    tensors = dict(model.state_dict())
    if stored == "own":
        tensors[HEAD] = torch.randn_like(tensors[HEAD])
    elif stored != "equal":
        del tensors[HEAD if stored == "embedding" else WTE]
    folder = save(tmp_path, model, tensors, tie_word_embeddings=tie)
    if tie is False and stored in ("embedding", "head"):  # they draw the missing matrix at random
        with pytest.raises(ValueError, match="is missing"):
            nextword.load(folder)
    else:
        assert_theirs(folder)


def test_what_save_model_leaves_of_a_tied_model_gives_their_logits(tmp_path):
    from safetensors.torch import save_model

    model = new_model()
    model.save_pretrained(tmp_path)
    save_model(model, str(tmp_path / "model.safetensors"))
    assert_theirs(tmp_path)


@pytest.mark.parametrize("change", [
    {"n_layer": None, "num_hidden_layers": 2}, {"n_head": None, "num_attention_heads": 2},
    {"n_embd": None, "hidden_size": 48}, {"n_positions": None, "max_position_embeddings": 64},
    {"reorder_and_upcast_attn": True}, {"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True},
    {"layer_norm_epsilon": 0.3}, {"n_ctx": 3}, {"head_dim": 8}, {"hidden_act": "relu"}, {"layer_norm_eps": 0.1},
    {"position_embedding_type": "relative_key"}, {"layer_types": ["full_attention"] * 2},
    {"sliding_window": None}, {"final_logit_softcapping": 1.0}, {"tie_encoder_decoder": True}, {"attn_pdrop": 0.9},
])  # fmt: skip
def test_a_field_changes_logits_as_it_does_theirs(tmp_path, change):
    assert_theirs(save(tmp_path, new_model(), **change))


@pytest.mark.parametrize("change", [
    {"is_causal": False}, {"sliding_window": 2}, {"layer_types": ["sliding_attention"] * 2, "sliding_window": 2},
    {"add_cross_attention": True}, {"quantization_config": {"load_in_8bit": True}}, {"n_layer": 1},
    {"hidden_size": 24}, {"num_hidden_layers": 1},
])  # fmt: skip
def test_a_field_that_would_change_them_otherwise_is_refused(tmp_path, change):
    folder = save(tmp_path, new_model(), **change)
    with pytest.raises(ValueError, match=f"config: ({'|'.join(change)}) must be|has no place|the same as"):
        nextword.load(folder)


@pytest.mark.parametrize("cls", ["GPT2ForSequenceClassification", "GPT2ForTokenClassification", "GPT2DoubleHeadsModel",
                                 "GPT2ForQuestionAnswering"])  # fmt: skip
def test_another_head_is_named_and_the_logits_are_theirs(tmp_path, cls):
    config = new_model().config
    config.summary_type = "cls_index"
    getattr(transformers, cls)(config).save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="load: not used, as no logit depends on it"):
        found = nextword.load(tmp_path).logits(IDS)
    expected = theirs(tmp_path)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_model_without_a_head_of_its_own_gives_their_logits(tmp_path):
    new_model().transformer.save_pretrained(tmp_path)
    assert_theirs(tmp_path)


@pytest.mark.parametrize("wrap", [
    torch.compile, torch.nn.DataParallel, lambda model: torch.nn.DataParallel(torch.compile(model)),
    lambda model: torch.nn.ModuleDict({"model": model}),
])  # fmt: skip
def test_wrappers_around_a_model_change_no_logit(tmp_path, wrap):
    model = new_model()
    expected = theirs(save(tmp_path, model))
    save(tmp_path, model, wrap(model).state_dict())
    assert np.abs(nextword.load(tmp_path).logits(IDS) - expected).max() <= 1e-4 * np.abs(expected).max()


def lora(model):
    peft = pytest.importorskip("peft", reason="needs peft")
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True)
    return peft.get_peft_model(model, config)


def test_an_adapter_is_refused_until_it_is_merged(tmp_path):
    wrapped = lora(new_model())
    whole = save(tmp_path / "whole", new_model(), wrapped.state_dict())
    with pytest.raises(ValueError, match=r"(?s)model\.safetensors holds .*(base_layer|lora_).*merge_and_unload"):
        nextword.load(whole)
    beside = save(tmp_path / "beside", new_model())
    wrapped.save_pretrained(beside)
    with pytest.raises(ValueError, match=r"beside holds adapter_config\.json, which belongs .*merge_and_unload"):
        nextword.load(beside)
    with torch.no_grad():
        expected = wrapped.eval()(torch.tensor([IDS])).logits[0].numpy()
    wrapped.merge_and_unload().save_pretrained(tmp_path / "merged")
    found = nextword.load(tmp_path / "merged").logits(IDS)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
