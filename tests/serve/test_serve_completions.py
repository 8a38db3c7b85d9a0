"""/v1/completions: every parameter has the effect that `lm.generate` gives it, and streams tell the same."""

import json

import pytest

pytest.importorskip("msgspec", reason='needs msgspec: pip install "nextword[serve]"')
from serving import error_of, events_of

PROMPT = "Once upon a time there was a little"
PATH = "/v1/completions"


def asked(client, **fields):
    response = client.post(PATH, json={"prompt": PROMPT, "max_tokens": 12, "temperature": 0, **fields})
    assert response.status_code == 200, response.text
    return response.json()


def texts(found):
    return [choice["text"] for choice in found["choices"]]


SETTINGS = [
    ({"temperature": 0}, {}),
    ({"temperature": 0.9, "seed": 7}, {"temperature": 0.9, "seed": 7}),
    ({"temperature": None, "seed": 7}, {"temperature": 1.0, "seed": 7}),
    ({"temperature": 1, "seed": -1}, {"temperature": 1.0, "seed": 2**64 - 1}),
    ({"temperature": 1, "seed": 3, "top_p": 0.5}, {"temperature": 1.0, "seed": 3, "top_p": 0.5}),
    ({"temperature": 1, "seed": 3, "top_k": 4}, {"temperature": 1.0, "seed": 3, "top_k": 4}),
    ({"temperature": 1, "seed": 3, "min_p": 0.2}, {"temperature": 1.0, "seed": 3, "min_p": 0.2}),
    ({"temperature": 1, "seed": 3, "typical_p": 0.4}, {"temperature": 1.0, "seed": 3, "typical_p": 0.4}),
    ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
    ({"frequency_penalty": 1.5}, {"frequency_penalty": 1.5}),
    ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
    ({"logit_bias": {"670": 100, "12": -100}, "max_tokens": 3},
     {"logit_bias": {670: 100, 12: -100}, "max_new_tokens": 3}),
    ({"logit_bias": {}}, {}),
    ({"stop": "the"}, {"stop": "the"}),
    ({"stop": [" was", " and", "\n", ".", "zzz", "<|endoftext|>"]},
     {"stop": [" was", " and", "\n", ".", "zzz", "<|endoftext|>"]}),
    ({"stop_token_ids": [12]}, {"stop": [12]}),
    ({"min_tokens": 12}, {"min_new_tokens": 12}),
    ({"ignore_eos": True, "logit_bias": {"0": 100}, "max_tokens": 2},
     {"eos": None, "logit_bias": {0: 100}, "max_new_tokens": 2}),
    ({"max_tokens": None}, {"max_new_tokens": 16}),
    ({"max_tokens": 0}, {"max_new_tokens": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "settings"), SETTINGS, ids=lambda x: json.dumps(x)[:40])
def test_a_parameter_has_the_bits_of_the_library(client, lm, fields, settings):
    right = lm.generate(PROMPT, **{"max_new_tokens": 12, **settings})
    found = asked(client, **fields)
    assert texts(found) == [right.text]
    assert found["choices"][0]["finish_reason"] == right.finish_reason
    assert found["usage"]["prompt_tokens"] == len(right.prompt_tokens)
    assert found["usage"]["total_tokens"] == sum(found["usage"][f"{x}_tokens"] for x in ("prompt", "completion"))


def test_all_five_forms_of_a_prompt(client, lm):
    ids = lm.tokenizer.encode(PROMPT)
    one = lm.generate(PROMPT, max_new_tokens=12).text
    two = lm.generate("The king", max_new_tokens=12).text
    assert texts(asked(client, prompt=PROMPT)) == [one]
    assert texts(asked(client, prompt=[PROMPT, "The king"])) == [one, two]
    assert texts(asked(client, prompt=ids)) == [one]
    assert texts(asked(client, prompt=[ids, lm.tokenizer.encode("The king")])) == [one, two]
    empty = lm.generate("", max_new_tokens=12).text
    assert texts(asked(client, prompt=None)) == [empty]
    found = client.post(PATH, json={"max_tokens": 12, "temperature": 0}).json()
    assert texts(found) == [empty]
    assert found["usage"]["prompt_tokens"] == 1


def test_ids_written_as_numbers_with_a_point_are_integers(client, lm):
    ids = lm.tokenizer.encode(PROMPT)
    assert texts(asked(client, prompt=[float(i) for i in ids])) == texts(asked(client, prompt=ids))


def test_choice_i_of_a_seed_draws_as_row_i_and_says_so(client, lm):
    found = asked(client, prompt=[PROMPT, "The king"], n=2, temperature=1, seed=11)
    assert found["nextword"] == {"seed": 11, "rows": [0, 1, 2, 3]}
    right = [lm.generate(p, max_new_tokens=12, temperature=1, seed=11, row=r).text
             for r, p in enumerate([PROMPT, PROMPT, "The king", "The king"])]
    assert texts(found) == right
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2, 3]


def test_a_seed_that_was_drawn_is_told_and_repeats_the_text(client):
    first = asked(client, temperature=1)
    assert texts(asked(client, temperature=1, seed=first["nextword"]["seed"])) == texts(first)


def test_best_of_gives_the_most_probable(client, lm):
    found = asked(client, temperature=1, seed=2, n=2, best_of=5)
    right = lm.generate(PROMPT, max_new_tokens=12, temperature=1, seed=2, n=2, best_of=5)
    assert texts(found) == [one.text for one in right]


def test_logprobs_are_those_of_the_library_and_the_token_is_among_the_top(client, lm):
    right = lm.generate(PROMPT, max_new_tokens=6, temperature=1, seed=4, logprobs=3)
    told = asked(client, max_tokens=6, temperature=1, seed=4, logprobs=3)["choices"][0]["logprobs"]
    assert told["token_logprobs"] == [one.logprob for one in right.logprobs]
    for one, top, text in zip(right.logprobs, told["top_logprobs"], told["tokens"], strict=True):
        assert top[text] == one.logprob
        assert sorted(top.values(), reverse=True)[:3] == [value for _, value in one.top]
        assert len(top) in (3, 4)


def test_text_offsets_count_from_the_start_of_the_prompt_even_without_echo(client, lm):
    for echo in (False, True):
        found = asked(client, logprobs=0, echo=echo)["choices"][0]
        offsets = found["logprobs"]["text_offset"]
        assert offsets[0] == (0 if echo else len(PROMPT))
        whole = found["text"] if echo else PROMPT + found["text"]
        for token, begin in zip(found["logprobs"]["tokens"], offsets, strict=True):
            assert whole[begin:].startswith(token)


def test_echo_gives_the_prompt_and_with_max_tokens_0_nothing_else(client):
    assert texts(asked(client, echo=True, max_tokens=0)) == [PROMPT]
    assert texts(asked(client, echo=True, max_tokens=3))[0].startswith(PROMPT)


def test_lm_eval_finds_exactly_len_prompt_plus_1_entries_also_where_the_end_token_comes(client, lm):
    ids = lm.tokenizer.encode(PROMPT)
    for bias in ({}, {"0": 100}):  # the end token
        found = asked(client, prompt=[ids], max_tokens=1, logprobs=1, echo=True, seed=1234, logit_bias=bias)
        told = found["choices"][0]["logprobs"]
        assert len(told["token_logprobs"]) == len(told["tokens"]) == len(told["top_logprobs"]) == len(ids) + 1
        assert found["usage"]["completion_tokens"] == 1
        assert (told["tokens"][-1] == "") == bool(bias)


def test_the_end_token_counts_whether_logprobs_are_asked_for_or_not(client):
    for logprobs in (None, 0):
        assert asked(client, logit_bias={"0": 100}, logprobs=logprobs)["usage"]["completion_tokens"] == 1


def test_the_first_entry_of_an_echo_is_null(client):
    told = asked(client, echo=True, logprobs=1)["choices"][0]["logprobs"]
    assert told["token_logprobs"][0] is None
    assert told["top_logprobs"][0] is None
    assert None not in told["token_logprobs"][1:]


def test_greedy_flags_come_from_one_number(client):
    told = asked(client, echo=True, logprobs=1, max_tokens=8)["choices"][0]["logprobs"]
    for value, top in zip(told["token_logprobs"][-8:], told["top_logprobs"][-8:], strict=True):
        assert value == max(top.values())


def test_echoed_logprobs_are_those_of_score(client, lm):
    ids = lm.tokenizer.encode(PROMPT)
    told = asked(client, prompt=ids, echo=True, logprobs=0, max_tokens=0)["choices"][0]["logprobs"]
    assert told["token_logprobs"][1:] == lm.score(ids, start=None).logprobs[1:].tolist()


def test_of_tokens_with_one_text_the_most_probable_is_told(lm):
    from nextword.decoding.results import TokenLogprob
    from nextword.serve.telling import Told

    class Stub:
        pass

    stub = Stub()
    stub.lm, stub.token = lm, lambda token: "same" if token in (5, 6) else str(token)
    told = Told(stub, frozenset()).new([TokenLogprob(7, -3.0, ((5, -1.0), (6, -2.0)))])
    assert told.top_logprobs == [{"same": -1.0, "7": -3.0}]


def test_tokens_that_are_no_text_are_told_by_their_bytes(client):
    told = asked(client, prompt="é€", echo=True, logprobs=0, max_tokens=0)["choices"][0]
    assert told["text"] == "é€"
    assert all("\ufffd" not in token for token in told["logprobs"]["tokens"])


def test_a_prompt_of_the_window_less_1_and_one_token_fit_exactly(client, lm):
    window = lm.model.limit
    found = asked(client, prompt=[5] * (window - 1), max_tokens=1)
    assert found["usage"]["prompt_tokens"] == window - 1
    response = client.post(PATH, json={"prompt": [5] * window, "max_tokens": 2})
    assert error_of(response) == (400, "prompt", "context_length_exceeded")


def test_text_never_makes_special_tokens_unless_parse_special_asks_for_it(client):
    plain = asked(client, prompt="a<|endoftext|>")["usage"]["prompt_tokens"]
    assert plain > 2
    assert asked(client, prompt="a<|endoftext|>", parse_special=True)["usage"]["prompt_tokens"] == 2


def test_regex_and_json_schema_hold(client, lm):
    pytest.importorskip("llguidance", reason='needs llguidance: pip install "nextword[grammar]"')
    assert texts(asked(client, regex="(yes|no)!"))[0] in ("yes!", "no!")
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"],
              "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": False, "schema": schema}}
    assert json.loads(texts(asked(client, response_format=form))[0])["a"] in (1, 2)
    assert error_of(client.post(PATH, json={"regex": "("}))[:2] == (400, "regex")


@pytest.mark.parametrize("fields", [{}, {"echo": True}, {"logprobs": 2}, {"echo": True, "logprobs": 2},
                                    {"n": 3, "temperature": 1, "seed": 9}, {"stop": ["was"], "logprobs": 1},
                                    {"logit_bias": {"0": 100}, "logprobs": 1}, {"max_tokens": 0}])
def test_a_stream_tells_what_the_whole_answer_tells(client, fields):
    whole = asked(client, **fields)
    body = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0, **fields, "stream": True,
            "stream_options": {"include_usage": True}}
    found = events_of(client.post(PATH, json=body))
    assert found[-1] == "[DONE]"
    assert found[-2]["choices"] == []
    assert found[-2]["usage"] == whole["usage"]
    assert all(one["usage"] is None for one in found[:-2])
    for choice in whole["choices"]:
        mine = [one["choices"][0] for one in found[:-2] if one["choices"][0]["index"] == choice["index"]]
        assert "".join(one["text"] for one in mine) == choice["text"]
        assert [one["finish_reason"] for one in mine] == [None] * (len(mine) - 1) + [choice["finish_reason"]]
        assert mine[-1]["text"] == ""
        for name, value in (choice["logprobs"] or {}).items():
            assert [x for one in mine for x in one["logprobs"][name]] == value


def test_without_include_usage_chunks_have_none_and_obfuscation_fills_them(client):
    body = {"prompt": PROMPT, "max_tokens": 5, "temperature": 0, "stream": True}
    assert all("usage" not in one for one in events_of(client.post(PATH, json=body))[:-1])
    body["stream_options"] = {"include_obfuscation": True}
    for one in events_of(client.post(PATH, json=body))[:-1]:
        assert (len(one["obfuscation"]) + len(one["choices"][0]["text"].encode())) % 32 == 0
