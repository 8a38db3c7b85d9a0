"""openai's client: each of its parameters is obeyed or refused, and what it gives is what the library gives."""

import base64
import inspect
import json

import numpy as np
import pytest
from spawned import needs

needs("openai")

PROMPT = "Once upon a time there was a little"
MESSAGES = [{"role": "system", "content": "Tell stories."}, {"role": "user", "content": "Once upon a time"}]
WRITTEN = "System: Tell stories.\nUser: Once upon a time\nAssistant:"
STOPS = ["\nUser:", "\nSystem:"]
NO_PARAMETERS = {"extra_headers", "extra_query", "extra_body", "timeout"}


@pytest.fixture(scope="module")
def client(address):
    import openai

    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as one:
        yield one


# What a parameter of both endpoints does, in words of the library.
SHARED = [
    ({"temperature": 0}, {}),
    ({"temperature": 0.9, "seed": 7}, {"temperature": 0.9, "seed": 7}),
    ({"temperature": 1, "seed": 3, "top_p": 0.5}, {"temperature": 1.0, "seed": 3, "top_p": 0.5}),
    ({"frequency_penalty": 1.5}, {"frequency_penalty": 1.5}),
    ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
    ({"logit_bias": {"670": 100, "12": -100}, "max_tokens": 3},
     {"logit_bias": {670: 100, 12: -100}, "max_new_tokens": 3}),
    ({"stop": "the"}, {"stop": ["the"]}),
    ({"stop": [" was", "."]}, {"stop": [" was", "."]}),
    ({"max_tokens": 5, "user": "somebody"}, {"max_new_tokens": 5}),
    ({"extra_body": {"top_k": 4, "min_p": 0.01}, "temperature": 1, "seed": 2},
     {"top_k": 4, "min_p": 0.01, "temperature": 1.0, "seed": 2}),
]  # fmt: skip
# Where other tests of this module show what a parameter does.
ELSEWHERE = {"model", "prompt", "messages", "n", "best_of", "echo", "logprobs", "top_logprobs", "stream",
             "stream_options", "response_format", "max_completion_tokens"}
REFUSED = {
    "completions": {"suffix": "."},
    "chat": {
        "audio": {"format": "wav", "voice": "alloy"}, "function_call": "none", "functions": [{"name": "f"}],
        "metadata": {"a": "b"}, "modalities": ["text"], "moderation": {"model": "any"}, "parallel_tool_calls": True,
        "prediction": {"type": "content", "content": "a"}, "reasoning_effort": "low", "service_tier": "flex",
        "store": True, "tool_choice": "none", "verbosity": "low", "web_search_options": {},
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
}  # fmt: skip

# Of chat: what never changes an answer of OpenAI's.
TAKEN = {"prompt_cache_key": "a", "prompt_cache_options": {"ttl": "30m"}, "prompt_cache_retention": "24h",
         "safety_identifier": "a", "service_tier": "auto"}  # fmt: skip


def called(client, endpoint):
    return client.completions.create if endpoint == "completions" else client.chat.completions.create


def given(endpoint, **fields):
    start = {"prompt": PROMPT} if endpoint == "completions" else {"messages": MESSAGES}
    return {"model": "demo", "max_tokens": 12, "temperature": 0, **start, **fields}


def text_of(endpoint, choice):
    return choice.text if endpoint == "completions" else choice.message.content


def right_of(lm, endpoint, **settings):
    settings = {"max_new_tokens": 12, **settings}
    if endpoint == "completions":
        return lm.generate(PROMPT, **settings)
    return lm.generate(WRITTEN, **{**settings, "stop": [*settings.get("stop", []), *STOPS]})


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_each_parameter_of_the_client_is_tried_or_refused_here(client, endpoint):
    names = set(inspect.signature(called(client, endpoint)).parameters) - NO_PARAMETERS
    tried = {name for fields, _ in SHARED for name in fields} | ELSEWHERE | set(REFUSED[endpoint]) | set(TAKEN)
    assert names <= tried, names - tried


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
@pytest.mark.parametrize(("fields", "settings"), SHARED, ids=lambda x: json.dumps(x)[:40])
def test_a_parameter_has_the_bits_of_the_library_whole_and_in_a_stream(client, lm, endpoint, fields, settings):
    right, call = right_of(lm, endpoint, **settings), called(client, endpoint)
    found = call(**given(endpoint, **fields))
    assert text_of(endpoint, found.choices[0]) == right.text
    assert found.choices[0].finish_reason == ("stop" if right.finish_reason == "stop" else "length")
    assert found.usage.prompt_tokens == len(right.prompt_tokens)
    text, ends = "", []
    for chunk in call(**given(endpoint, **fields), stream=True):
        one = chunk.choices[0]
        text += (one.text if endpoint == "completions" else one.delta.content) or ""
        ends += [one.finish_reason] if one.finish_reason else []
    assert text == right.text
    assert ends == [found.choices[0].finish_reason]


@pytest.mark.parametrize(("endpoint", "name"), [(e, name) for e, names in REFUSED.items() for name in names])
def test_a_parameter_that_the_server_does_not_have_is_refused_by_its_name(client, endpoint, name):
    import openai

    with pytest.raises(openai.BadRequestError) as caught:
        called(client, endpoint)(**given(endpoint, **{name: REFUSED[endpoint][name]}))
    assert caught.value.param == name
    assert caught.value.code in ("unsupported_parameter", "unknown_parameter")
    assert name in caught.value.message


@pytest.mark.parametrize("name", TAKEN)
def test_what_never_changes_an_answer_is_taken_and_changes_none(client, lm, name):
    found = called(client, "chat")(**given("chat", **{name: TAKEN[name]}))
    assert found.choices[0].message.content == right_of(lm, "chat").text


def test_all_forms_of_a_prompt(client, lm):
    ids = lm.tokenizer.encode(PROMPT)
    one, two = (lm.generate(text, max_new_tokens=12).text for text in (PROMPT, "The king"))
    for prompt, right in ((PROMPT, [one]), ([PROMPT, "The king"], [one, two]), (ids, [one]),
                          ([ids, lm.tokenizer.encode("The king")], [one, two])):
        found = client.completions.create(model="demo", prompt=prompt, max_tokens=12, temperature=0)
        assert [choice.text for choice in found.choices] == right
    found = client.completions.create(model="demo", prompt=None, max_tokens=12, temperature=0)
    assert found.choices[0].text == lm.generate("", max_new_tokens=12).text


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_n_texts_are_rows_of_one_seed_whole_and_in_a_stream(client, lm, endpoint):
    fields = given(endpoint, n=3, temperature=1, seed=11)
    rows = [right_of(lm, endpoint, temperature=1.0, seed=11, row=row).text for row in range(3)]
    found = called(client, endpoint)(**fields)
    assert [text_of(endpoint, one) for one in found.choices] == rows
    assert found.nextword == {"seed": 11, "rows": [0, 1, 2]}
    texts = ["", "", ""]
    for chunk in called(client, endpoint)(**fields, stream=True):
        for one in chunk.choices:
            texts[one.index] += (one.text if endpoint == "completions" else one.delta.content) or ""
    assert texts == rows


def test_best_of_gives_the_most_probable_and_not_in_a_stream(client, lm):
    import openai

    found = client.completions.create(**given("completions", temperature=1, seed=2, n=2, best_of=5))
    right = lm.generate(PROMPT, max_new_tokens=12, temperature=1, seed=2, n=2, best_of=5)
    assert [one.text for one in found.choices] == [one.text for one in right]
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**given("completions", temperature=1, best_of=2, stream=True))
    assert (caught.value.param, caught.value.code) == ("best_of", "unsupported_parameter")


def test_echo_with_logprobs_has_the_bits_of_score_whole_and_in_a_stream(client, lm):
    fields = given("completions", echo=True, logprobs=2, max_tokens=4)
    right = lm.generate(PROMPT, max_new_tokens=4)
    ids = [*right.prompt_tokens, *right.tokens]
    values = lm.score(ids, start=None).logprobs[1:].tolist()
    found = client.completions.create(**fields).choices[0]
    assert found.text == PROMPT + right.text
    assert found.logprobs.token_logprobs == [None, *values]
    assert found.logprobs.tokens == [lm.tokenizer.decode([one]) for one in ids]
    told, text = [], ""
    for chunk in client.completions.create(**fields, stream=True):
        told += chunk.choices[0].logprobs.token_logprobs
        text += chunk.choices[0].text
    assert told == [None, *values]
    assert text == found.text


def test_chat_tells_logprobs_of_bytes_whole_and_in_a_stream(client, lm):
    fields = given("chat", logprobs=True, top_logprobs=3, max_tokens=6)
    right = right_of(lm, "chat", max_new_tokens=6, logprobs=3)
    found = client.chat.completions.create(**fields).choices[0].logprobs
    assert [one.logprob for one in found.content] == [one.logprob for one in right.logprobs]
    assert [[top.logprob for top in one.top_logprobs] for one in found.content] == [
        [value for _, value in one.top] for one in right.logprobs]
    assert b"".join(bytes(one.bytes) for one in found.content).decode().startswith(right.text)
    told = [one for chunk in client.chat.completions.create(**fields, stream=True)
            for one in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])]
    assert told == found.content


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_include_usage_ends_a_stream_with_the_totals(client, endpoint):
    fields = given(endpoint)
    chunks = list(called(client, endpoint)(**fields, stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage.model_dump() == called(client, endpoint)(**fields).usage.model_dump()
    hidden = list(called(client, endpoint)(**fields, stream=True, stream_options={"include_obfuscation": True}))
    assert all(chunk.obfuscation for chunk in hidden)


SCHEMA = {"type": "object", "properties": {"tale": {"enum": ["long", "short"]}, "pages": {"enum": [1, 20]}},
          "required": ["tale", "pages"], "additionalProperties": False}  # fmt: skip


@pytest.mark.parametrize("endpoint", ["completions", "chat"])
def test_json_schema_holds(client, endpoint):
    needs("llguidance")
    form = {"type": "json_schema", "json_schema": {"name": "book", "schema": SCHEMA, "strict": True}}
    fields = given(endpoint, max_tokens=60)
    if endpoint == "completions":
        found = client.completions.create(**fields, extra_body={"response_format": form})
    else:
        found = client.chat.completions.create(**fields, response_format=form)
    told = json.loads(text_of(endpoint, found.choices[0]))
    assert told["tale"] in ("long", "short")
    assert told["pages"] in (1, 20)


def test_parse_gives_an_object_and_a_text_that_is_cut_an_error(client):
    needs("llguidance", "pydantic")
    from typing import Literal

    import openai
    import pydantic

    class Book(pydantic.BaseModel):
        tale: Literal["long", "short"]
        pages: Literal[1, 20]

    found = client.chat.completions.parse(model="demo", messages=MESSAGES, response_format=Book, temperature=0)
    assert isinstance(found.choices[0].message.parsed, Book)
    with client.chat.completions.stream(model="demo", messages=MESSAGES, response_format=Book, temperature=0) as told:
        assert told.get_final_completion().choices[0].message.parsed == found.choices[0].message.parsed
    cut = {"model": "demo", "messages": MESSAGES, "response_format": Book, "max_completion_tokens": 2}
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**cut)
    with pytest.raises(openai.LengthFinishReasonError), client.chat.completions.stream(**cut) as told:
        told.get_final_completion()


def test_max_completion_tokens_is_max_tokens_and_without_either_the_window_bounds_the_text(client, lm):
    found = client.chat.completions.create(model="demo", messages=MESSAGES, temperature=0, max_completion_tokens=7)
    assert found.usage.completion_tokens <= 7
    assert found.choices[0].message.content == right_of(lm, "chat", max_new_tokens=7).text
    whole = client.chat.completions.create(model="demo", messages=MESSAGES, temperature=0)
    room = lm.model.limit + 1 - whole.usage.prompt_tokens
    assert whole.usage.completion_tokens <= room
    assert whole.choices[0].message.content == right_of(lm, "chat", max_new_tokens=room).text


def test_embeddings_are_the_same_as_base64_and_as_numbers(client, lm):
    texts = ["The king", PROMPT]
    found = client.embeddings.create(model="demo", input=texts)  # the client asks for base64
    floats = client.embeddings.create(model="demo", input=texts, encoding_format="float", user="somebody")
    plain = client.embeddings.create(model="demo", input=texts, encoding_format="base64")
    assert len(found.data[0].embedding) == lm.model.width
    for one, two, three in zip(found.data, floats.data, plain.data, strict=True):
        assert one.embedding == two.embedding
        assert np.frombuffer(base64.b64decode(three.embedding), "<f4").tolist() == one.embedding
    assert found.usage.prompt_tokens == sum(len(lm.tokenizer.encode(text)) for text in texts)
    short = client.embeddings.create(model="demo", input=lm.tokenizer.encode(PROMPT), dimensions=8).data[0].embedding
    head = np.float64(found.data[1].embedding[:8])
    np.testing.assert_allclose(short, head / np.linalg.norm(head), rtol=2 * np.finfo(np.float32).eps)


def test_each_parameter_of_embeddings_is_tried_here(client):
    names = set(inspect.signature(client.embeddings.create).parameters) - NO_PARAMETERS
    assert names == {"model", "input", "dimensions", "encoding_format", "user"}


def test_models_are_listed_with_their_window(client, lm):
    assert [one.id for one in client.models.list()] == ["demo"]
    one = client.models.retrieve("demo")
    assert (one.id, one.object, one.max_model_len) == ("demo", "model", lm.model.limit)
