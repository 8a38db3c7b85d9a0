"""rules.py against the logits processors of `transformers`, each by its own name, on any logits and texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nextword.decoding.rules import Rules
from nextword.decoding.settings import Sampling

torch = pytest.importorskip("torch", reason="needs torch: pip install '.[parity]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[parity]'")

VOCABULARY = 20
ids = st.integers(0, VOCABULARY - 1)
texts = st.lists(ids, min_size=1, max_size=20)
words = st.lists(ids, min_size=1, max_size=3)
logit_rows = st.lists(st.floats(-80, 80, width=32), min_size=VOCABULARY, max_size=VOCABULARY).map(np.float32)


def ours(settings, logits, prompt, new, end=()):
    rules = Rules(Sampling(**settings), VOCABULARY, end=end)
    return rules(logits, np.array(prompt, np.int64), np.array(new, np.int64))[0]


def theirs(processor, logits, text):
    return processor(torch.tensor([text]), torch.tensor(logits)[None].clone())[0].numpy()


def same(settings, processor, logits, text, split, end=()):
    """The processor sees prompt and new text as one; wherever it is split, ours gives the same bits."""
    split = min(split, len(text))
    np.testing.assert_array_equal(ours(settings, logits, text[:split], text[split:], end),
                                  theirs(processor, logits, text))


@given(logit_rows, texts, st.integers(0, 20), st.floats(0.125, 8, width=32))
def test_repetition_penalty(logits, text, split, penalty):
    same({"repetition_penalty": penalty}, transformers.RepetitionPenaltyLogitsProcessor(penalty), logits, text, split)


@given(logit_rows, texts, st.integers(0, 20), st.integers(1, 4))
def test_no_repeat_ngram_size(logits, text, split, size):
    same({"no_repeat_ngram_size": size}, transformers.NoRepeatNGramLogitsProcessor(size), logits, text, split)


@given(logit_rows, texts, st.integers(0, 20), st.lists(words, min_size=1, max_size=5))
def test_bad_words(logits, text, split, bad):
    assume(any(word != [VOCABULARY - 1] for word in bad))  # transformers refuses a list of nothing but the end
    ours_bad = [word for word in bad if word != [VOCABULARY - 1]]  # which is forbidden here, and passed over there
    same({"bad_words": ours_bad}, transformers.NoBadWordsLogitsProcessor(bad, eos_token_id=[VOCABULARY - 1]),
         logits, text, split, end=(VOCABULARY - 1,))


@given(logit_rows, texts, st.integers(0, 20), st.dictionaries(words.map(tuple), st.floats(-9, 9, width=32),
                                                              min_size=1, max_size=5))
def test_logit_bias_is_sequence_bias(logits, text, split, bias):
    # Several sequences that end in one token add in another order: whole numbers keep the sums exact.
    logits, bias = np.round(logits), {key: float(round(value)) for key, value in bias.items()}
    same({"logit_bias": bias}, transformers.SequenceBiasLogitsProcessor(bias), logits, text, split)


@given(logit_rows, texts, texts, st.integers(0, 25))
def test_min_new_tokens(logits, prompt, new, least):
    processor = transformers.MinNewTokensLengthLogitsProcessor(len(prompt), least, [3, 5], device="cpu")
    expected = theirs(processor, logits, [*prompt, *new])
    np.testing.assert_array_equal(ours({"min_new_tokens": least}, logits, prompt, new, (3, 5)), expected)
