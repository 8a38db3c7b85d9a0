"""A real model in a GGUF file, SmolLM2-135M-Instruct: what is known of it holds."""

from __future__ import annotations

import numpy as np
import pytest

import nextword
from nextword.files.weights import open_model
from real_models import real_model

PROMPT, IDS = "The capital of France is", [504, 3575, 282, 4649, 314]


@pytest.fixture(scope="module")
def path():
    return real_model("smollm2")


@pytest.fixture(scope="module")
def lm(path):
    return nextword.load(path)


def test_the_file_says_what_the_model_is(lm):
    assert repr(lm) == ("LanguageModel(llama: 30 layers, 9 heads, width 576, vocabulary 49152, context 8192; "
                        "int8 of Q4_1)")
    assert lm.config.rope.rope_theta == 100000.0
    assert lm.config.key_heads == 3
    assert lm.config.tie_word_embeddings is True


def test_a_text_has_its_known_ids(lm):
    assert lm.tokenizer.encode(PROMPT) == IDS
    assert lm.tokenizer.decode(IDS) == PROMPT


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_the_capital_of_france_is_paris(lm, path, dtype):
    one = lm if dtype is None else nextword.load(path, dtype)
    assert one.generate(PROMPT, max_new_tokens=1).text == " Paris"


@pytest.mark.parametrize(("start", "minus", "plus", "found"), [
    (" king", " man", " woman", " queen"), (" Paris", " France", " Germany", " Berlin")])
def test_words_are_vectors(lm, path, start, minus, plus, found):
    """Nearest by the cosine, once the mean of all embeddings is taken from each."""
    x = np.array(open_model(path)["model.embed_tokens.weight"])
    x -= x.mean(0, dtype=np.float64).astype(np.float32)
    a, b, c = ids = [lm.tokenizer.encode(word)[0] for word in (start, minus, plus)]
    nearness = x @ (x[a] - x[b] + x[c]) / np.linalg.norm(x, axis=1)
    nearness[ids] = -np.inf
    assert lm.tokenizer.decode([int(nearness.argmax())]) == found


def test_a_question_is_answered_by_the_files_template_and_ends(lm, path, tmp_path):
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = lm.chat_template.render(messages)
    assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert prompt.endswith("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    answer = lm.chat(messages, max_new_tokens=40)
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    folder = nextword.load(nextword.quantize(path, "int8", tmp_path / "small"))
    assert folder.chat(messages, max_new_tokens=40).tokens == answer.tokens
