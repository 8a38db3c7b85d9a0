"""LangChain: chat, completion, streams, structured output and embeddings."""

import json

import pytest
from spawned import needs

needs("langchain-openai")

pytestmark = pytest.mark.filterwarnings("default")  # of LangChain's own code

PROMPT = "Once upon a time"
WRITTEN = f"User: {PROMPT}\nAssistant:"
STOPS = ["\nUser:", "\nSystem:"]


@pytest.fixture(scope="module")
def options(address):
    return {"base_url": f"{address}/v1", "api_key": "none", "model": "demo", "max_retries": 0}


def test_chat_whole_and_in_a_stream(options, lm):
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(**options, temperature=0, max_tokens=12, stream_usage=True)
    right = lm.generate(WRITTEN, max_new_tokens=12, stop=STOPS)
    found = chat.invoke(PROMPT)
    assert found.content == right.text
    assert found.usage_metadata["input_tokens"] == len(right.prompt_tokens)
    chunks = list(chat.stream(PROMPT))
    assert "".join(chunk.content for chunk in chunks) == right.text
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [one["output_tokens"] for one in usage] == [found.usage_metadata["output_tokens"]]


def test_a_chat_with_no_bound_is_bounded_by_the_window(options, lm):
    from langchain_openai import ChatOpenAI

    found = ChatOpenAI(**options, temperature=0).invoke(PROMPT)
    assert found.usage_metadata["total_tokens"] <= lm.model.limit + 1


def test_completion_whole_and_in_a_stream(options, lm):
    from langchain_openai import OpenAI

    model = OpenAI(**options, temperature=0, max_tokens=12)
    right = lm.generate(PROMPT, max_new_tokens=12).text
    assert model.invoke(PROMPT) == right
    assert "".join(model.stream(PROMPT)) == right
    drawn = OpenAI(**options, temperature=0.8, seed=5, max_tokens=12, n=2, best_of=3).generate([PROMPT])
    texts = [one.text for one in drawn.generations[0]]
    best = lm.generate(PROMPT, max_new_tokens=12, temperature=0.8, seed=5, n=2, best_of=3)
    assert texts == [one.text for one in best]


def test_structured_output_by_json_schema(options):
    needs("llguidance")
    from typing import Literal

    import pydantic
    from langchain_openai import ChatOpenAI

    class Book(pydantic.BaseModel):
        """A book."""

        tale: Literal["long", "short"]
        pages: Literal[1, 20]

    model = ChatOpenAI(**options, temperature=0)
    assert isinstance(model.with_structured_output(Book, method="json_schema").invoke(PROMPT), Book)
    told = model.with_structured_output(Book, method="json_schema", include_raw=True, strict=True).invoke(PROMPT)
    assert told["parsing_error"] is None
    assert json.loads(told["raw"].content) == told["parsed"].model_dump()


def test_embeddings(options, lm):
    from langchain_openai import OpenAIEmbeddings

    texts = [PROMPT, "The king"]
    model = OpenAIEmbeddings(**options, check_embedding_ctx_length=False)
    found = model.embed_documents(texts)
    assert [len(one) for one in found] == [lm.model.width] * 2
    assert model.embed_query("The king") == found[1]


def test_ids_of_another_vocabulary_are_refused_with_the_way_out(options, lm):
    import openai

    with openai.OpenAI(base_url=options["base_url"], api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as caught:  # as OpenAIEmbeddings sends them by itself
            client.embeddings.create(model="demo", input=[[12805, 5304, 264, 892]])
        assert "check_embedding_ctx_length=False" in caught.value.message
