"""The calls of the page: numbers are the library's, errors name what is wrong, answers have the declared shape."""

import json
import re
import types
import typing
from pathlib import Path

import numpy as np
import pytest

import nextword
from nextword.files.json_text import json_text
from nextword.inside.rules import Value
from nextword.page import answers, view_answers
from nextword.page.calls import Page
from nextword.page.errors import CODES, Refused, refused
from nextword.page.table import CALLS, READS, RUN_CALLS, RUN_STREAMS, STREAMS
from page.live_examples import page_examples

EXAMPLES = Path(__file__).parent / "examples"
ROOT = Path(__file__).resolve().parents[2]
PROMPT = "Once upon a time there was a little"
HOSTILE = ["</script><img src=x onerror=alert(1)>", "\u2028\u2029", "\0\x01\x7f", "😀\ud7ff\ue000", "<!--", "{{a|b}}",
           "a" * 400, "\r\n\t", "<|endoftext|>", "ẞ́‮"]
SHAPES = {"model": "ModelAnswer", "tokenize": "TokenizeAnswer", "run": "RunAnswer", "lens": "LensAnswer",
          "choose": "StepAnswer", "ablate": "AblateAnswer", "cell": "CellAnswer", "attribute": "AttributeAnswer",
          "neurons": "NeuronsAnswer", "neighbours": "NearAnswer", "analogy": "NearAnswer",
          "similarity": "SimilarityAnswer", "pull": "PullAnswer", "compare": "CompareAnswer"}


def conforms(value, kind, where="answer"):
    """Assert that a JSON value is of a type made of TypedDict, list, dict, Union and plain types."""
    origin = typing.get_origin(kind)
    if kind is typing.Any:
        return
    if origin in (typing.Union, types.UnionType):
        errors = []
        for one in typing.get_args(kind):
            try:
                return conforms(value, one, where)
            except AssertionError as error:
                errors.append(str(error))
        raise AssertionError("; ".join(errors))
    if origin is list:
        assert isinstance(value, list), where
        for i, one in enumerate(value):
            conforms(one, typing.get_args(kind)[0], f"{where}[{i}]")
    elif origin is dict:
        assert isinstance(value, dict), where
        for key, one in value.items():
            conforms(one, typing.get_args(kind)[1], f"{where}.{key}")
    elif typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind, None, {"NotRequired": typing.Optional})
        assert set(value) <= set(hints), (where, set(value) - set(hints))
        optional = {name for name, text in kind.__annotations__.items() if "NotRequired" in str(text)}
        assert set(hints) - optional <= set(value), (where, set(hints) - set(value))
        for name, one in value.items():
            conforms(one, hints[name], f"{where}.{name}")
    elif kind is float:
        assert type(value) in (int, float), where
    else:
        assert isinstance(value, kind or type(None)), (where, value, kind)


@pytest.mark.parametrize("name", SHAPES)
def test_the_examples_have_the_shape_that_is_declared(name):
    found = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    conforms(found["answer"], getattr(answers, SHAPES[name], None) or getattr(view_answers, SHAPES[name]))


def test_the_examples_are_what_the_calls_answer_now(page):
    """Texts and structure; numbers as far as instruction sets agree."""
    found = page_examples(page)
    assert {f"{name}.json" for name in found} == {path.name for path in EXAMPLES.iterdir()}
    assert {*CALLS, *RUN_CALLS, *STREAMS, *RUN_STREAMS} <= set(found)
    for name, one in found.items():
        same(json.loads((EXAMPLES / f"{name}.json").read_text("utf-8")), json.loads(json_text(one)), name)


def same(old, new, where):
    assert type(old) is type(new) or {type(old), type(new)} <= {int, float}, where
    if isinstance(old, dict):
        assert set(old) == set(new), where
        for key in old:
            if key != "base64":
                same(old[key], new[key], f"{where}.{key}")
    elif isinstance(old, list):
        assert len(old) == len(new), where
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif isinstance(old, str) and "." not in where.rpartition("texts")[2]:
        assert old == new, where


def test_a_run_tells_the_numbers_of_the_library(lm, page):
    answer = page.run({"prompt": PROMPT, "lens": {"top": 3}})
    ids = lm.tokenizer.encode(PROMPT)
    assert [token["id"] for token in answer["tokens"]] == ids
    logits = lm.logits(ids, last_only=True)
    for word in answer["next"]:
        assert np.float32(word["logit"]) == logits[word["id"]]
    assert [word["id"] for word in answer["next"]] == nextword.ops.top(logits, 20).tolist()
    last = answer["lens"]
    assert last["ids"][-1][-1] == [word["id"] for word in answer["next"][:3]]
    assert last["p"][-1][-1] == [word["p"] for word in answer["next"][:3]]


@pytest.mark.parametrize("prompt", ["Hausboot", " 😀", "naïve ẞ", "日本語", "a\u0301"])
def test_tokens_have_their_place_in_the_text_and_groups_are_whole_characters(page, prompt):
    answer = page.tokenize({"prompt": prompt, "merges": True})
    data = prompt.encode()
    assert b"".join(bytes.fromhex(token["bytes"]) for token in answer["tokens"]) == data
    for token in answer["tokens"]:
        assert data[token["start"] : token["end"]].hex() == token["bytes"]
        group = answer["groups"][token["group"]]
        assert answer["tokens"].index(token) in range(group["first"], group["last"])
    assert "".join(group["text"] for group in answer["groups"]) == prompt
    for piece in answer["pieces"]:
        assert [len(step["parts"]) for step in piece["steps"]] == list(range(len(piece["steps"][0]["parts"]),
                                                                             len(piece["steps"][-1]["parts"]) - 1, -1))


def test_merges_are_told_as_they_happen(page):
    steps = page.tokenize({"prompt": " the", "merges": True})["pieces"][0]["steps"]
    assert [step["parts"] for step in steps] == [[" ", "t", "h", "e"], [" ", "t", "he"], [" t", "he"], [" the"]]
    assert [step["at"] for step in steps] == [2, 0, 0, None]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_hostile_prompts_are_text(page, prompt):
    """What is in a prompt comes back as it was, and as JSON that a page can read."""
    if any("\ud800" <= c <= "\udfff" for c in prompt):
        prompt = prompt.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    answer = page.run({"prompt": prompt, "lens": {}})
    assert json.loads(json_text(answer))["prompt"] == prompt


def test_settings_give_the_choice_that_generate_makes(lm, page):
    run = page.run({"prompt": PROMPT})["run"]
    for seed in range(20):
        settings = {"temperature": 1.3, "top_k": 40, "top_p": 0.9, "frequency_penalty": 0.5}
        step = page.choose(run, {"settings": settings, "seed": seed})
        made = lm.generate(PROMPT, max_new_tokens=1, seed=seed, explain=True, **settings).steps[0]
        assert (step["token"], step["drawn"], step["p"], step["kept"]) == (made.token, made.drawn, made.probability,
                                                                         made.kept)
        chosen = next(span for span in step["spans"] if span["id"] == step["token"])
        assert chosen["low"] <= step["drawn"] < chosen["high"]


def test_a_later_step_draws_and_penalises_as_generate_does(lm, page):
    settings = {"temperature": 0.9, "frequency_penalty": 1.5, "repetition_penalty": 1.2}
    whole = lm.generate(PROMPT, max_new_tokens=6, seed=3, explain=True, eos=None, **settings)
    ids = whole.prompt_tokens + whole.tokens[:5]
    run = page.run({"ids": ids})["run"]
    step = page.choose(run, {"settings": settings, "seed": 3, "step": 5})
    assert (step["token"], step["drawn"]) == (whole.tokens[5], whole.steps[5].drawn)


def test_generate_tells_each_token_and_ends(lm, page):
    events = list(page.generate({"prompt": PROMPT, "settings": {"temperature": 0.8, "max_new_tokens": 8}, "seed": 5,
                                 "explain": 2}))
    whole = lm.generate(PROMPT, temperature=0.8, max_new_tokens=8, seed=5)
    assert [data["token"] for name, data in events if name == "step"] == whole.tokens
    assert "".join(data["piece"] for name, data in events if name == "step") == whole.text
    assert events[-1][0] == "end"
    assert events[-1][1]["text"] == whole.text
    for name, data in events[:-1]:
        conforms(json.loads(json_text(data)), answers.GenerateEvent, name)


def test_interventions_are_part_of_a_run_and_of_what_is_generated(lm, page):
    rule = {"name": "h.3.attn.out", "how": "zero"}
    plain, changed = page.run({"prompt": PROMPT}), page.run({"prompt": PROMPT, "interventions": [rule]})
    assert plain["run"] != changed["run"]
    assert not plain["changes"]
    assert changed["changes"]
    assert changed["texts"][str(changed["next"][0]["id"])] == " boy"
    told = page.ablate(plain["run"], {"interventions": [rule], "top": 3})
    assert told["run"] == changed["run"]
    library = lm.ablate(PROMPT, attentions=[3])
    assert told["kl"] == library.kl
    assert [one["id"] for one in told["movers"]] == [one.token for one in library.movers(3)]
    events = page.generate({"prompt": PROMPT, "settings": {"max_new_tokens": 1}, "interventions": [rule]})
    assert next(iter(events))[1]["token"] == changed["next"][0]["id"]


def test_an_intervention_that_changes_nothing_says_so(page):
    rule = {"name": "h.3.attn.z", "how": "scale", "factor": 1.0}
    assert page.run({"prompt": PROMPT, "interventions": [rule]})["changes"] is False


def rows_of(events):
    """layer -> its numbers, of the events of a scan."""
    found = {}
    for name, data in events[:-1]:
        assert name == "row"
        conforms(json.loads(json_text(data)), view_answers.ScanEvent, name)
        row = found.setdefault(data["layer"], [])
        assert data["first"] == len(row)
        row += data["values"]
    assert events[-1][0] == "end"
    return found


@pytest.mark.parametrize("asked", [{}, {"over": "layers", "measure": "logprob", "how": "mean"}, {"measure": "kl"},
                                   {"over": "neurons", "layers": [2]}, {"layers": [3, 1]}])
def test_a_scan_is_the_librarys(lm, page, asked):
    run = page.run({"prompt": PROMPT})["run"]
    found = rows_of(list(RUN_STREAMS["scan"](page, run, {"target": " girl", **asked})))
    expected = lm.ablations(PROMPT, " girl", **{**asked, "layers": sorted(asked.get("layers", range(4)))})
    assert list(found.values()) == expected.values.tolist()
    assert [str(layer) for layer in found] == list(expected.rows)


def test_a_patch_is_the_librarys_and_a_wrong_one_is_told_before_the_first_event(lm, page):
    clean, corrupted = (page.run({"prompt": text})["run"] for text in ("The king said that", "The queen said that"))
    for asked in ({}, {"at": "attn.z", "over": "head", "layers": [1, 2]}, {"at": "mlp.out", "over": "layer"}):
        sent = {"other": corrupted, "measure": [" he", " she"], **asked}
        events = list(RUN_STREAMS["patch"](page, clean, sent))
        expected = lm.patch("The king said that", "The queen said that", measure=(" he", " she"), **asked)
        assert list(rows_of(events).values()) == expected.values.tolist()
        assert (events[-1][1]["clean"], events[-1][1]["corrupted"]) == (expected.clean, expected.corrupted)
    for sent, said in [({"other": page.run({"prompt": "The"})["run"]}, "as many tokens"),
                       ({"other": clean}, "must tell clean from corrupted"),
                       ({"other": corrupted, "over": "head"}, "at must be one of"),
                       ({"other": corrupted, "layers": [4]}, "layers must be whole numbers 0 .. 3")]:
        with pytest.raises((Refused, ValueError), match=said):
            RUN_STREAMS["patch"](page, clean, sent)


def test_positions_are_masked_and_tokens_replaced_as_the_library_does_it(lm, page):
    """A masked position has no weight in any row that sees another; what is left sums to 1."""
    ids = lm.tokenizer.encode(PROMPT)
    masked = page.run({"prompt": PROMPT, "interventions": [{"how": "mask", "name": "h.*.attn.scores",
                                                            "columns": [2, 5]}]})
    for layer in range(4):
        weights = page.runs[masked["run"]].activation(f"h.{layer}.attn.weights")
        assert not weights[:, :, [2, 5]].any()
        assert np.abs(weights.sum(-1, dtype=np.float64) - 1).max() < len(ids) * 2.0**-23
    first = page.run({"prompt": PROMPT, "interventions": [{"how": "mask", "name": "h.1.attn.scores", "columns": [0]}]})
    assert page.runs[first["run"]].activation("h.1.attn.weights")[:, 0, 0].tolist() == [1.0] * 4
    word = lm.tokenizer.encode(" old")[0]
    for token in (word, " old"):
        rule = {"how": "token", "name": "wte", "positions": [8], "token": token}
        told = page.run({"prompt": PROMPT, "interventions": [rule]})
        np.testing.assert_array_equal(page.runs[told["run"]].last, lm.logits([*ids[:8], word], last_only=True))


def test_values_of_another_prompt_are_put_in_their_place(lm, page):
    second = "Once upon a time there were two little girls"
    clean = lm.inside(second)
    for told, rule in [
        ({"name": "h.1.resid_post", "positions": [6, 7]},
         Value("h.1.resid_post", positions=[6, 7], value=clean["h.1.resid_post"][[6, 7]])),
        ({"name": "h.2.attn.z", "heads": [1, 3]}, Value("h.2.attn.z", heads=[1, 3], value=clean["h.2.attn.z"][[1, 3]])),
        ({"name": "h.0.mlp.act", "columns": [5]},
         Value("h.0.mlp.act", columns=[5], value=clean["h.0.mlp.act"][:, [5]])),
    ]:
        run = page.run({"prompt": PROMPT, "interventions": [{"how": "prompt", "prompt": second, **told}]})
        expected = lm.inside(PROMPT, interventions=[rule])["logits"][-1]
        np.testing.assert_array_equal(page.runs[run["run"]].last, expected)
    whole = page.run({"prompt": PROMPT, "interventions": [{"how": "prompt", "prompt": "The king", "name": "embed"}]})
    x = page.runs[whole["run"]].activation("embed")
    np.testing.assert_array_equal(x[:2], lm.inside("The king")["embed"])
    np.testing.assert_array_equal(x[2:], lm.inside(PROMPT)["embed"][2:])


@pytest.mark.parametrize(("rule", "said"), [
    ({"how": "mask", "name": "h.0.attn.z", "columns": [1]}, "must be of attn.scores for mask"),
    ({"how": "mask", "name": "h.0.attn.scores", "columns": [9]}, "columns must be whole numbers 0 .. 8"),
    ({"how": "mask", "name": "h.0.attn.scores", "columns": [1], "heads": [0]}, "heads must be one of"),
    ({"how": "token", "name": "wpe", "positions": [1], "token": 5}, "must be of the tokens' embeddings for token"),
    ({"how": "token", "name": "wte", "positions": [1], "token": 4096}, "token must be a token id 0 .. 4095"),
    ({"how": "token", "name": "wte", "positions": [1], "token": " hippopotamus"}, "must be one token"),
    ({"how": "prompt", "name": "h.0.mlp.out", "prompt": ""}, "prompt must be 1 .. 512 tokens, got 0"),
    ({"how": "prompt", "name": "h.0.mlp.out", "prompt": "The king", "positions": [2]}, "numbers 0 .. 1"),
    ({"how": "prompt", "name": "h.0.mlp.out", "prompt": "The king", "heads": [0]}, "heads must be"),
    ({"how": "prompt", "name": "h.0.attn.weights", "prompt": "The king"}, "none of scores or weights"),
    ({"how": "zero", "name": "h.*.attn"}, "interventions must name activations"),
])
def test_a_wrong_intervention_of_the_page_is_one_clear_error(page, rule, said):
    with pytest.raises(Refused, match=re.escape(said)):
        page.run({"prompt": PROMPT, "interventions": [rule]})


def test_the_watched_token_of_a_change_is_the_librarys(lm, page):
    run = page.run({"prompt": PROMPT})["run"]
    library = lm.ablate(PROMPT, attentions=[3])
    for target in (" boy", None):
        told = page.ablate(run, {"interventions": [{"name": "h.3.attn.out", "how": "zero"}], "target": target})
        token = lm.tokenizer.encode(target or " girl")[0]
        assert told["target"]["id"] == token
        assert told["target"]["logit"] == library.logit(token)
        change = np.log(library.after[token]) - np.log(library.before[token])
        assert told["target"]["logprob"] == pytest.approx(change, abs=1e-12)  # exp and log of numbers near 1
        assert [one["logit"] for one in told["movers"]] == [one.logit for one in library.movers(20)]


def test_weights_times_values_are_the_librarys(lm, page):
    run = page.runs[page.run({"prompt": PROMPT})["run"]]
    expected = lm.inside(PROMPT).attention(2).value_weighted().astype(np.float32)
    np.testing.assert_array_equal(run.activation("h.2.attn.value_weighted"), expected)
    with pytest.raises(Refused, match="name must be an activation"):
        run.activation("h.4.attn.value_weighted")


def test_a_page_tells_of_the_model_that_it_is_compared_with(lm):
    assert Page(lm, against=Page(lm)).model()["start"]["against"] == "demo"
    assert "against" not in Page(lm).model()["start"]


def test_cells_are_those_of_the_library_and_can_be_followed(lm, page):
    answer = page.run({"prompt": PROMPT})
    x, rng = lm.inside(PROMPT), np.random.default_rng(0)
    for name, shape in answer["names"].items():
        index = [int(rng.integers(size)) for size in shape]
        told = RUN_CALLS["cell"](page, answer["run"], {"name": name, "index": index})
        value = x[name][tuple(index)]
        assert np.float32(told["value"]) == value
        conforms(json.loads(json_text(told)), view_answers.CellAnswer if np.isfinite(value) else dict)
        if told["terms"] and np.isfinite(value):
            total = sum(term["product"] for term in told["terms"]) + told["rest"]
            assert abs(total - told["computed"]) <= 1e-12 * (1 + abs(total) + sum(abs(t["product"])
                                                                                for t in told["terms"]))
            assert abs(told["computed"] - float(value)) <= told["bound"]
        assert eval(told["python"], {"lm": lm}) == value


def test_parts_sum_to_the_logit(page):
    run = page.run({"prompt": PROMPT})["run"]
    for by in ("part", "head", "source", "neuron"):
        told = RUN_CALLS["attribute"](page, run, {"target": " girl", "by": by})
        total = sum(part["value"] for part in told["parts"]) + told["others"]
        assert abs(total - told["logit"]) <= told["bound"] + 1e-9
        assert len(told["parts"]) <= 1000


# Runs


def test_runs_are_the_last_eight_and_come_back_under_their_names(page):
    names = [page.run({"prompt": f"{'a ' * i}a"})["run"] for i in range(9)]
    with pytest.raises(Refused) as error:
        page.runs[names[0]]
    assert (error.value.code, error.value.status) == ("gone", 410)
    assert page.runs[names[8]].id == names[8]
    assert page.run({"prompt": "a"})["run"] == names[0]


def test_an_activation_that_is_computed_again_has_the_same_bits(lm, page):
    run = page.runs[page.run({"prompt": PROMPT})["run"]]
    before = {name: run.activation(name).tobytes() for name in run.names}
    for i in range(8):
        page.run({"prompt": "b " * (i + 1)})
    again = page.runs[page.run({"prompt": PROMPT})["run"]]
    assert again is not run
    assert {name: again.activation(name).tobytes() for name in again.names} == before


# Arrays


def test_a_tensor_is_the_activation_and_its_cuts(lm, page):
    run = page.run({"prompt": PROMPT})["run"]
    x = lm.inside(PROMPT)
    for name in ("h.1.attn.weights", "h.0.attn.q", "h.2.mlp.act", "logits"):
        whole = READS["tensor"](page, run, {"name": name})
        assert whole.data == x[name].tobytes()
        assert whole.header["shape"] == list(x[name].shape)
    cut = READS["tensor"](page, run, {"name": "h.1.attn.weights", "head": "-1", "rows": "-1:", "cols": "2:5"})
    assert np.frombuffer(cut.data, "<f4").tolist() == x["h.1.attn.weights"][-1, -1, 2:5].tolist()


@pytest.mark.parametrize("name", ["h.1.attn.weights", "h.1.attn.scores", "h.0.resid_post"])
def test_bytes_of_a_picture_are_within_their_step(lm, page, name):
    run = page.run({"prompt": PROMPT})["run"]
    x = lm.inside(PROMPT)[name]
    told = READS["tensor"](page, run, {"name": name, "as": "u8"})
    header, data = told.header, np.frombuffer(told.data, np.uint8).reshape(x.shape).astype(np.float64)
    bound = header["bound"]
    back = (data / 255) ** 2 * header["max"] if header["scale"] == "sqrt" else (data - 128) / 127 * bound
    finite = np.isfinite(x)
    assert np.abs(back - x)[finite].max() <= header["step"] * (1 + 1e-5)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 8])
def test_pooling_keeps_the_largest_of_each_rectangle(lm, page, most):
    run = page.run({"prompt": PROMPT})["run"]
    x = lm.inside(PROMPT)["h.1.attn.weights"][0]
    told = READS["tensor"](page, run, {"name": "h.1.attn.weights", "head": "0", "max": str(most)})
    step = told.header["pool"][0]
    back = np.frombuffer(told.data, "<f4").reshape(told.header["shape"])
    assert max(back.shape) <= most
    for (row, col), value in np.ndenumerate(back):
        assert value == x[row * step : (row + 1) * step, col * step : (col + 1) * step].max()


def test_heads_are_small_pictures_and_last_rows(lm, page):
    run = page.run({"prompt": PROMPT})["run"]
    told = READS["heads"](page, run, {"size": "4"})
    header, x = told.header, lm.inside(PROMPT)
    last = np.frombuffer(told.data[header["last"] :], "<f4").reshape(4, 4, header["tokens"])
    assert all(np.array_equal(last[layer], x[f"h.{layer}.attn.weights"][:, -1]) for layer in range(4))
    assert header["size"] <= 4
    assert header["last"] - 16 * header["size"] ** 2 in range(4)


# Errors


@pytest.mark.parametrize(("call", "body", "code", "argument"), [
    ("run", {"prompt": ""}, "empty_prompt", None),
    ("run", {"prompt": "a " * 600}, "too_long", None),
    ("run", {"prompt": 3}, "bad_argument", "prompt"),
    ("run", {}, "bad_argument", "prompt"),
    ("run", {"prompt": "a", "nonsense": 1}, "bad_argument", "nonsense"),
    ("run", {"prompt": "\ud800"}, "bad_argument", "prompt"),
    ("run", {"ids": [4096]}, "bad_argument", "ids"),
    ("run", {"ids": [True]}, "bad_argument", "ids"),
    ("run", {"ids": []}, "empty_prompt", None),
    ("run", {"prompt": "a", "next": 10**9}, "bad_argument", "next"),
    ("run", {"prompt": "a", "lens": {"top": 0}}, "bad_argument", "top"),
    ("run", {"prompt": "a", "lens": {"positions": [1]}}, "bad_argument", "positions"),
    ("run", {"prompt": "a", "lens": {"at": "h.0"}}, "bad_argument", "at"),
    ("run", {"prompt": "a", "lens": {"watch": "two words"}}, "not_one_token", "watch"),
    ("run", {"prompt": "a", "interventions": [{"name": "h.9.attn.z", "how": "zero"}]}, "unknown_intervention",
     "interventions"),
    ("run", {"prompt": "a", "interventions": [{"name": "h.0.attn.z", "how": "explode"}]}, "bad_argument",
     "interventions"),
    ("run", {"prompt": "a", "interventions": [{"name": "h.0.attn.z", "how": "zero", "heads": [99]}]}, "bad_argument",
     None),
    ("run", {"prompt": "a", "interventions": [{}] * 101}, "bad_argument", "interventions"),
    ("run", [], "bad_argument", None),
    ("neighbours", {"word": " kings and queens"}, "not_one_token", "word"),
    ("neighbours", {"word": " king", "count": -1}, "bad_argument", "count"),
    ("analogy", {"a": 1, "b": 2, "c": 10**6}, "bad_argument", "c"),
    ("similarity", {"words": []}, "bad_argument", "words"),
    ("similarity", {"words": [1.5]}, "bad_argument", "words"),
    ("compare", {"prompts": ["a"], "continuations": []}, "bad_argument", "continuations"),
    ("compare", {"prompts": ["{a|b|c}" * 5], "continuations": [" a"]}, "bad_argument", "prompts"),
    ("compare", {"prompts": ["{a"], "continuations": [" a"]}, "bad_argument", None),
    ("generate", {"prompt": "a", "settings": {"max_new_tokens": 10**6}}, "bad_argument", "max_new_tokens"),
    ("generate", {"prompt": "a", "settings": {"num_beams": 9}}, "bad_argument", "num_beams"),
    ("generate", {"prompt": "a", "settings": {"regex": "(a*)*b"}}, "bad_argument", "regex"),
    ("generate", {"prompt": "a", "settings": {"temperature": -1}}, "bad_argument", "temperature"),
])
def test_each_error_has_a_code_and_names_the_field(page, call, body, code, argument):
    with pytest.raises(Exception) as error:  # noqa: PT011 - refused() tells which
        {**CALLS, **STREAMS}[call](page, body)
    told = refused(error.value)
    assert (told.code, told.more.get("argument")) == (code, argument), str(told)


@pytest.mark.parametrize(("query", "argument"), [
    ({"name": "h.9.ln_1"}, "name"), ({}, "name"), ({"name": "logits", "head": "0"}, "head"),
    ({"name": "h.0.attn.q", "head": "4"}, "head"), ({"name": "h.0.attn.q", "rows": "3:3"}, "rows"),
    ({"name": "h.0.attn.q", "cols": "a:b"}, "cols"), ({"name": "h.0.attn.q", "as": "f64"}, "as"),
    ({"name": "h.0.attn.q", "max": "0"}, "max"), ({"name": "h.0.attn.q", "max": "9" * 30}, "max"),
    ({"name": "h.0.attn.q", "other": "1"}, "other"), ({"name": "h.0.attn.q", "head": "٣"}, "head"),
])
def test_wrong_parameters_of_a_tensor_are_named(page, query, argument):
    run = page.run({"prompt": PROMPT})["run"]
    with pytest.raises(Refused) as error:
        READS["tensor"](page, run, query)
    assert (error.value.code, error.value.more["argument"]) == ("bad_argument", argument)


def test_a_model_that_gives_nan_names_the_first_activation(lm):
    from copy import deepcopy

    broken = nextword.LanguageModel(deepcopy(lm.model), lm.tokenizer)
    broken.model.blocks[1].ln_2.weight = np.full_like(broken.model.blocks[1].ln_2.weight, np.nan)
    with pytest.raises(Refused) as error:
        Page(broken).run({"prompt": "a b"})
    assert (error.value.code, error.value.more["name"]) == ("not_finite", "h.1.ln_2")


def test_a_model_without_a_vocabulary_takes_ids(lm):
    page = Page(nextword.LanguageModel(lm.model))
    with pytest.raises(Refused) as error:
        page.run({"prompt": "a"})
    assert error.value.code == "no_tokenizer"
    assert page.run({"ids": [1, 2]})["prompt"] == "[1][2]"


def test_the_page_words_every_code_in_every_language():
    for path in (ROOT / "python" / "nextword" / "page" / "static" / "text").glob("*.json"):
        words = json.loads(path.read_text("utf-8"))
        assert [code for code in CODES if f"error.{code}" not in words] == [], path.name


def test_faults_of_the_program_tell_nothing():
    assert refused(KeyError("secret")).answer() == {"error": {"code": "internal", "message": "KeyError"}}
