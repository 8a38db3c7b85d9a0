"""grammar.py: masks are exactly the tokens that can still match, and what is made under them matches."""

from __future__ import annotations

import json
import re
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from byte_vocabulary import byte_tokenizer
from nextword.decoding import grammar as module
from nextword.decoding.grammar import Grammar
from nextword.text.tokenizer import Tokenizer

pytest.importorskip("llguidance", reason="needs the extra grammar")

# Every text that matches has a few characters at most.
REGEXES = [
    "(he|she|they) said",
    "[0-9]{1,3}(\\.[0-9]{2})?",
    "(?i)yes|no",
    "[A-Z][a-z]{0,8}( [a-z]{1,8}){0,3}[.!?]",
    "(ü|ß|日本|😀){1,4}",
    "[^a-z]{2}",
    "(a|ab)(c|bcd)(d*){0}",
    "",
]


def write(grammar, tokenizer, rng, steps=400):
    """Bytes of a text that random logits make under the mask; the end token weighs as much as all the others."""
    made = b""
    for _ in range(steps):
        allowed = grammar.mask()
        others = [int(i) for i in np.flatnonzero(allowed) if i not in grammar.ends]
        assert bool(others) or grammar.finished
        assert all(grammar.may_stop == allowed[end] for end in grammar.ends)
        if not others or (grammar.may_stop and rng.random() < 0.5):
            if grammar.ends:
                grammar.accept(int(rng.choice(grammar.ends)))
                assert grammar.finished
                assert not grammar.mask().any()
            return made
        token = others[int(rng.integers(len(others)))]
        grammar.accept(token)
        made += tokenizer.token_bytes(token)
    raise AssertionError(f"no end after {steps} steps: {made!r}")


# What is allowed


@given(regex=st.sampled_from(REGEXES), seed=st.integers(0, 2**32))
def test_what_is_made_under_the_mask_matches_the_regex(regex, seed):
    tokenizer = helpers.demo()
    made = write(Grammar(tokenizer, regex=regex), tokenizer, np.random.default_rng(seed)).decode()
    assert re.fullmatch(regex, made), made


@given(
    choices=st.lists(st.sampled_from(["he", "her", "there", " the", "über", "日本", "😀!", "a\n", '"\\', "\0", "|()"]),
                     min_size=1, max_size=5, unique=True),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_a_token_is_allowed_exactly_if_a_match_begins_so(choices, seed):
    """Also where it crosses the end of a character or is another tokenisation."""
    tokenizer, rng = helpers.demo(), np.random.default_rng(seed)
    grammar = Grammar(tokenizer, choices=choices)
    texts, made = [choice.encode() for choice in choices], b""
    while not grammar.finished:
        wanted = np.array([any(text.startswith(made + tokenizer.token_bytes(i)) for text in texts)
                           for i in range(len(tokenizer))])  # fmt: skip
        wanted[tokenizer.eos_id] = made in texts
        np.testing.assert_array_equal(grammar.mask(), wanted)
        assert grammar.may_stop == (made in texts)
        token = int(rng.choice(np.flatnonzero(wanted)))
        grammar.accept(token)
        made += b"" if token == tokenizer.eos_id else tokenizer.token_bytes(token)
    assert made in texts


def test_tokens_may_cross_the_borders_of_the_grammar():
    tokenizer = helpers.demo()
    for regex, text in [("(t)(h)(e) ?", "the"), ("( )(time|day)", " time"), ("[a-z]+( )[a-z]+", "upon a")]:
        grammar = Grammar(tokenizer, regex=regex)
        for token in tokenizer.encode(text):
            assert grammar.mask()[token]
            grammar.accept(token)
        assert grammar.may_stop


def test_a_character_may_come_in_parts(tmp_path):
    tokenizer = byte_tokenizer(tmp_path)
    grammar = Grammar(tokenizer, regex="[äö日]")
    assert np.flatnonzero(grammar.mask()).tolist() == [0xC3, 0xE6]
    grammar.accept(0xC3)
    assert not grammar.may_stop
    assert np.flatnonzero(grammar.mask()).tolist() == [0xA4, 0xB6]
    grammar.accept(0xB6)
    assert grammar.finished
    assert np.flatnonzero(grammar.mask()).tolist() == [256]


# JSON

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["cat", "dog", "Käfer"]},
        "likes": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}


@given(schema=st.sampled_from([SCHEMA, json.dumps(SCHEMA)]), seed=st.integers(0, 2**32))
def test_json_is_valid_by_its_schema(schema, seed):
    tokenizer = helpers.demo()
    made = write(Grammar(tokenizer, json_schema=schema), tokenizer, np.random.default_rng(seed)).decode()
    found = json.loads(made)
    assert [key for key in SCHEMA["properties"] if key in found] == list(found)
    assert {"name", "age", "kind"} <= found.keys() <= SCHEMA["properties"].keys()
    assert isinstance(found["name"], str)
    assert len(found["name"]) <= 6
    assert type(found["age"]) is int
    assert 0 <= found["age"] <= 120
    assert found["kind"] in SCHEMA["properties"]["kind"]["enum"]
    assert all(type(x) is bool for x in found.get("likes", []))
    assert len(found.get("likes", [])) <= 3
    assert not re.search(r"[\n\t]", made)


def test_json_is_written_as_json_dumps_does():
    tokenizer = helpers.demo()
    value = {"name": "Ö", "age": 7, "kind": "Käfer", "likes": [True, False]}
    grammar = Grammar(tokenizer, json_schema=SCHEMA)
    for token in tokenizer.encode(json.dumps(value, ensure_ascii=False)):
        grammar.accept(token)
    assert grammar.finished
    anything = Grammar(tokenizer, json_schema=True)
    for token in tokenizer.encode('[1, {"a": null}]'):
        anything.accept(token)
    assert anything.may_stop


# States


def test_a_token_that_is_not_allowed_leaves_the_state_alone():
    tokenizer = helpers.demo()
    grammar = Grammar(tokenizer, regex="the end")
    before = grammar.mask()
    for wrong in (tokenizer.id_of("x"), tokenizer.eos_id, len(tokenizer), -1):
        with pytest.raises(ValueError, match=f"token {wrong} is not allowed here"):
            grammar.accept(wrong)
        np.testing.assert_array_equal(grammar.mask(), before)
    for token in tokenizer.encode("the end"):
        grammar.accept(token)
    grammar.accept(tokenizer.eos_id)
    with pytest.raises(ValueError, match="not allowed"):
        grammar.accept(tokenizer.eos_id)
    assert grammar.may_stop


def test_a_copy_goes_its_own_way():
    tokenizer = helpers.demo()
    one = Grammar(tokenizer, choices=["ax", "by"])
    one.accept(tokenizer.id_of("a"))
    other = one.copy()
    one.accept(tokenizer.id_of("x"))
    assert one.finished
    assert not other.finished
    assert other.mask()[tokenizer.id_of("x")]
    other.accept(tokenizer.id_of("x"))
    other.accept(tokenizer.eos_id)
    assert not other.mask().any()
    assert one.mask()[tokenizer.eos_id]


def test_the_mask_has_the_size_of_a_padded_vocabulary(tmp_path):
    tokenizer = byte_tokenizer(tmp_path)
    grammar = Grammar(tokenizer, regex="(?s:.)*", size=300)
    allowed = grammar.mask()
    assert (allowed.shape, allowed.dtype) == ((300,), np.bool_)
    assert not allowed[257:].any()
    assert allowed[256]


def test_another_end_token_or_none(tmp_path):
    tokenizer = byte_tokenizer(tmp_path)
    grammar = Grammar(tokenizer, regex="a*", end=299, size=300)
    assert np.flatnonzero(grammar.mask()).tolist() == [97, 299]
    assert grammar.may_stop
    bare = Tokenizer.train(["zz"], 257, special_tokens=[], min_frequency=0)
    grammar = Grammar(bare, choices=["zz"])
    assert grammar.mask().shape == (257,)
    for _ in range(2):
        grammar.accept(bare.id_of("z"))
    assert grammar.finished
    assert not grammar.mask().any()
    assert write(Grammar(bare, regex="[a-c]{3}"), bare, np.random.default_rng(0)).isalpha()


def test_special_tokens_other_than_the_end_are_never_allowed(tmp_path):
    tokenizer = byte_tokenizer(tmp_path)
    grammar = Grammar(tokenizer, regex="(?s:.)*", end=299, size=300)
    assert not grammar.mask()[256]


# What is refused


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({}, ValueError, "exactly one of regex, json_schema and choices, got none"),
        ({"regex": "a", "choices": ["b"]}, ValueError, "exactly one"),
        ({"regex": "("}, ValueError, r"regex '\(': unclosed group$"),
        ({"regex": "a(?=b)"}, ValueError, "look-around"),
        ({"regex": r"(a)\1"}, ValueError, "backreferences are not supported"),
        ({"regex": r"[^\s\S]"}, ValueError, "nothing can match it"),
        ({"regex": "a\ud800"}, ValueError, "lone surrogate at index 1"),
        ({"regex": 3}, TypeError, "regex must be a string, got int"),
        ({"choices": []}, ValueError, "at least one text"),
        ({"choices": ["a", ""]}, ValueError, "none that is empty"),
        ({"choices": "ab"}, TypeError, "must be a list of texts"),
        ({"choices": ["a", 3]}, TypeError, "must be a list of texts"),
        ({"json_schema": {"type": "blah"}}, ValueError, "json_schema: .*Invalid type: blah$"),
        ({"json_schema": {"not": {}}}, ValueError, "Unimplemented keys"),
        ({"json_schema": False}, ValueError, "json_schema: "),
        ({"json_schema": "{"}, ValueError, "json_schema is not JSON"),
        ({"json_schema": "[]"}, ValueError, "must be an object, got list"),
        ({"regex": "a", "end": 5000}, ValueError, "end must be a token id 0 .. 4095"),
    ],
)
def test_what_is_wrong_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        Grammar(helpers.demo(), **wrong)


def test_a_grammar_that_becomes_too_complex_says_so(monkeypatch):
    grammar = Grammar(helpers.demo(), regex="a*")

    class TooComplex:
        def compute_logit_bias(self):
            return bytes(len(helpers.demo()))

        def is_error(self):
            return True

        def get_error(self):
            return "too many items\n<state>"

    grammar._matcher = TooComplex()
    with pytest.raises(ValueError, match=r"Grammar: too many items$"):
        grammar.mask()


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ImportError, match=r'pip install "nextword\[grammar\]"'):
        Grammar(helpers.demo(), regex="a")
    assert module._reason("at 1(8): what is wrong\n more") == "what is wrong"


# Bounds


def nested(levels):
    schema = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema, "maxItems": 1}
    return schema


def round_trip():
    schema = {"type": "object"}
    schema["properties"] = {"self": schema}
    return schema


def doubled(times):
    schema = {"type": "integer"}
    for _ in range(times):
        schema = {"prefixItems": [schema, schema]}
    return schema


PATTERNS = [{"pattern": f"a{'.' * i}b"} for i in range(30)]
THROUGH_REF = {"$defs": {f"p{i}": one for i, one in enumerate(PATTERNS)},
               "allOf": [{"$ref": f"#/$defs/p{i}"} for i in range(30)]}


@pytest.mark.parametrize(("schema", "told"), [
    (nested(1000), "nested deeper than 120 levels"),
    (json.dumps(nested(400)), "nested deeper than 120 levels"),
    ("[" * 100_000 + "]" * 100_000, "nested deeper than 120 levels"),
    (round_trip(), "nested deeper than 120 levels"),
    (doubled(40), "at most 1,000,000 values"),
    ({"type": "string", "allOf": PATTERNS}, "at most 16 patterns"),
    ({"allOf": [{"properties": {"x": {"type": "string", **one}}} for one in PATTERNS]}, "at most 16 patterns"),
    ({"allOf": [{"items": one} for one in PATTERNS]}, "at most 16 patterns"),
    ({"allOf": [{"anyOf": PATTERNS[i : i + 2]} for i in range(20)]}, "at most 16 patterns"),
    ({"type": "object", "properties": {"a": {"allOf": [{"allOf": PATTERNS[:15]}, {"allOf": PATTERNS[15:]}]}}},
     "at most 16 patterns"),
    (THROUGH_REF, "at most 16 patterns"),
    ({"type": "integer", "multipleOf": 999_983}, "multipleOf must be at most 100,000"),
    ({"allOf": [{"type": "integer", "multipleOf": k} for k in (2, 3, 5, 7, 11, 13, 17)]}, "multipleOf must be at most"),
])  # fmt: skip
def test_a_schema_that_is_too_large_is_an_error_at_once(demo, schema, told):
    start = time.process_time()
    with pytest.raises(ValueError, match="Grammar: json_schema") as caught:
        Grammar(demo.tokenizer, json_schema=schema)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.process_time() - start < 10  # a million values are walked


@pytest.mark.parametrize("schema", [
    nested(100), {"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "b$"}]},
    {"type": "number", "multipleOf": 0.01}, {"allOf": [{"type": "integer", "multipleOf": k} for k in (4, 6)]},
    {"$defs": {"tree": {"allOf": [{"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"},
                                                                    "right": {"$ref": "#/$defs/tree"}}}]}},
     "$ref": "#/$defs/tree"},
])  # fmt: skip
def test_what_stays_within_the_bounds_compiles(demo, schema):
    assert Grammar(demo.tokenizer, json_schema=schema).mask().any()


@pytest.mark.parametrize("regex", ["(a{1000}){1000}", "((((a{100}){100}){100}){100})", "(a|b)*a(a|b){24}",
                                   "(" * 1000 + "a" + ")" * 1000, "a" * 10**6, "|".join(map(str, range(10**5)))])
def test_a_large_regex_is_bounded(demo, regex):
    start, told = time.process_time(), ""
    try:
        grammar = Grammar(demo.tokenizer, regex=regex)
        rng = np.random.default_rng(0)
        for _ in range(30):
            grammar.accept(int(rng.choice(np.flatnonzero(grammar.mask())[1:])))
    except ValueError as error:
        told = str(error)
    assert len(told) < 500
    assert time.process_time() - start < 30


def test_a_grammar_that_grows_too_complex_says_so(demo):
    grammar = Grammar(demo.tokenizer, json_schema={
        "type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(3000)}})
    with pytest.raises(ValueError, match="Grammar: Parser Error: Current row has"):
        grammar.accept(demo.tokenizer.id_of("{"))
