"""Tokenizers of GGUF metadata: what the keys say, and what they must not say."""

import numpy as np
import pytest

import tokenizer_helpers as helpers
from nextword.text.gguf_vocabulary import tokenizer_of_gguf

BYTES = [helpers.spelled(bytes([byte])) for byte in range(256)]
TOKENS = [*BYTES, "he", "Ġt", "Ġthe", "<s>", "<|user|>", "[PAD1]"]
METADATA = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [1] * 259 + [3, 4, 5],
    "tokenizer.ggml.merges": ["h e", "Ġ t", "Ġt he"],
}


def made(**changes):
    keys = {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return tokenizer_of_gguf({key: value for key, value in {**METADATA, **keys}.items() if value is not None})


def test_byte_level_bpe_takes_merges_types_and_pattern():
    tokenizer = made()
    assert tokenizer.encode(" the<|user|>12") == [258, 260, TOKENS.index("1"), TOKENS.index("2")]
    assert tokenizer.encode("<s> the", allowed_special="all") == [259, 258]
    assert tokenizer.special_tokens == {"<s>": 259}
    assert tokenizer.decode([259, 258, 260]) == "<s> the<|user|>"
    assert len(tokenizer) == 262


@pytest.mark.parametrize(
    ("pre", "pattern"), [("qwen2", "qwen2"), ("llama-bpe", "llama3"), ("gpt-2", "gpt2"), (None, "gpt2")]
)
def test_the_name_of_the_splitting_gives_the_pattern(pre, pattern):
    assert made(pre=pre).pattern == pattern


def test_tokens_begin_and_end_a_text_where_the_file_says_so():
    arrays = made(token_type=np.array(METADATA["tokenizer.ggml.token_type"], np.int32))
    assert (arrays.beginning, arrays.ending) == ((), ())
    assert made(bos_token_id=259).beginning == ()
    assert made(bos_token_id=259, pre="llama-bpe").beginning == (259,)
    assert made(bos_token_id=259, pre="llama-bpe", add_bos_token=False).beginning == ()
    both = made(bos_token_id=259, eos_token_id=np.uint32(260), add_bos_token=True, add_eos_token=True)
    assert both.encode(" the") == [259, 258, 260]


def test_llama_3_takes_a_piece_that_is_a_token_whole():
    """Text can become it though no merge makes it."""
    tokens = [*TOKENS, "zzz"]
    assert made(pre="llama-bpe", tokens=tokens, token_type=None).encode("zzz") == [262]
    assert made(tokens=tokens, token_type=None).encode("zzz") == [TOKENS.index("z")] * 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "bert"), ("model", 3), ("pre", "tekken"), ("pre", 1), ("tokens", None), ("tokens", "abc"),
        ("tokens", [1, 2]), ("tokens", []), ("token_type", [1]), ("token_type", [1] * 261 + [7]), ("token_type", ["a"]),
        ("merges", [3]), ("merges", ["a"]), ("merges", ["a b c"]), ("merges", ["a b"]), ("merges", ["▁ a"]),
        ("bos_token_id", 500), ("bos_token_id", -1), ("eos_token_id", "x"), ("add_bos_token", 1),
        ("add_bos_token", True),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_one_error(key, value):
    with pytest.raises(ValueError, match=r"tokenizer_of_gguf: tokenizer\.ggml|Tokenizer: GGUF vocabulary"):
        made(**{key: value})
