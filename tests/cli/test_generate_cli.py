"""cli/generate.py, next.py, arguments.py: every setting as a flag, several texts, the reasons, side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from dataclasses import fields

import pytest

import nextword
from model_files import write_model
from nextword import Sampling
from nextword.cli import arguments
from nextword.cli import generate as generate_cli
from nextword.cli import main as cli
from nextword.cli import next as next_cli
from nextword.decoding.results import Generation, Timings
from stand_in import Bytes, StandIn, Terminal
from strategies import random_tensors, tiny_config

GIVEN = {
    "logit_bias": (["--logit-bias", " cat=-5", "--logit-bias", "#262=-inf"], {" cat": -5.0, 262: float("-inf")}),
    "repetition_penalty": (["--repetition-penalty", "1.3"], 1.3),
    "frequency_penalty": (["--frequency-penalty=-0.5"], -0.5),
    "presence_penalty": (["--presence-penalty", "0.25"], 0.25),
    "no_repeat_ngram_size": (["--no-repeat-ngram-size", "3"], 3),
    "bad_words": (["--bad-words", "a", "--bad-words", " b"], ["a", " b"]),
    "min_new_tokens": (["--min-new-tokens", "3"], 3),
    "regex": (["--regex", "[a-z]+"], "[a-z]+"),
    "json_schema": (["--json-schema", '{"type": "integer"}'], {"type": "integer"}),
    "temperature": (["--temperature", "0.5"], 0.5),
    "top_k": (["--top-k", "3"], 3),
    "top_p": (["--top-p", "0.25"], 0.25),
    "min_p": (["--min-p", "0.1"], 0.1),
    "typical_p": (["--typical-p", "0.9"], 0.9),
    "uniform": (["--uniform"], True),
    "max_new_tokens": (["--max-new-tokens", "7"], 7),
    "stop": (["--stop", "END", "--stop", "."], ["END", "."]),
    "seed": (["--seed", str(2**64 - 1)], 2**64 - 1),
    "row": (["--row", "3"], 3),
    "n": (["--n", "2"], 2),
    "best_of": (["--best-of", "5"], 5),
    "logprobs": (["--logprobs", "4"], 4),
    "prompt_logprobs": (["--prompt-logprobs", "2"], 2),
    "num_beams": (["--num-beams", "4"], 4),
    "num_beam_groups": (["--num-beam-groups", "2"], 2),
    "diversity_penalty": (["--diversity-penalty", "0.5"], 0.5),
    "length_penalty": (["--length-penalty", "-1"], -1.0),
    "penalty_alpha": (["--penalty-alpha", "0.6"], 0.6),
    "early_stopping": (["--early-stopping", "never"], "never"),
}
IN_PYTHON_ONLY = {"processors"}


@pytest.fixture
def parser():
    made = argparse.ArgumentParser()
    generate_cli.add_arguments(made)
    return made


def test_every_setting_has_a_flag_of_its_name():
    assert {field.name for field in fields(Sampling)} == set(GIVEN) | IN_PYTHON_ONLY


@pytest.mark.parametrize("name", GIVEN)
def test_a_flag_gives_its_setting_and_nothing_else(parser, name):
    flags, expected = GIVEN[name]
    assert flags[0].startswith(arguments.flag(name))
    assert arguments.read_settings(parser.parse_args([*flags, "x"])) == {name: expected}
    assert arguments.read_settings(parser.parse_args(["x"])) == {}


def test_the_commands_defaults_for_sampling_do_not_reach_beam_search(parser):
    read = arguments.read_settings
    assert read(parser.parse_args(["--num-beams", "3", "x"]), **generate_cli.DEFAULTS) == {
        "num_beams": 3, "max_new_tokens": 120}  # fmt: skip
    assert read(parser.parse_args(["--num-beams", "1", "x"]), **generate_cli.DEFAULTS)["temperature"] == 0.8


@pytest.mark.parametrize(
    "flags",
    [["--min-p", "2"], ["--typical-p", "0"], ["--repetition-penalty", "0"], ["--n", "0"], ["--seed", str(2**64)],
     ["--logit-bias", "cat"], ["--logit-bias", "=3"], ["--logit-bias", "cat=x"], ["--early-stopping", "perhaps"],
     ["--frequency-penalty", "nan"], ["--num-beams", "1.5"]],
)  # fmt: skip
def test_a_wrong_flag_exits_with_2_and_is_named(capsys, flags):
    with pytest.raises(SystemExit) as caught:
        cli.main(["generate", *flags, "x"])
    assert caught.value.code == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [(["--n", "2", "--temperature", "0"], "greedy search gives one"),
     (["--best-of", "1", "--n", "2"], "--best-of must be at least --n"),
     (["--json-schema", "{nonsense"], "neither JSON nor a file of it"),
     (["--json-schema", "no-such-file"], "no-such-file"),
     (["--tree"], "add --num-beams")],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_one_line_and_exit_code_1(capsys, flags, told):
    assert cli.main(["generate", *flags, "--max-new-tokens", "3", "Once"]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_schema_may_come_from_a_file(parser, tmp_path):
    path = tmp_path / "schema.json"
    path.write_text('{"type": "array"}')
    assert arguments.read_settings(parser.parse_args(["--json-schema", str(path), "x"])) == {
        "json_schema": {"type": "array"}}  # fmt: skip


def test_several_texts_stand_under_their_numbers(capsys):
    assert cli.main(["generate", "--n", "3", "--seed", "1", "--max-new-tokens", "4", "Once"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if " of 3" in line] == ["1 of 3", "2 of 3", "3 of 3"]
    assert sum(line.startswith("Once") for line in lines) == 3


def test_a_text_of_several_is_repeated_alone(capsys, monkeypatch):
    command = ["generate", "--max-new-tokens", "6", "--temperature", "1", "Once upon a time"]
    assert cli.main([*command, "--json", "--n", "3"]) == 0
    texts = json.loads(capsys.readouterr().out)["texts"]
    assert [text["row"] for text in texts] == [0, 1, 2]
    for text in texts:
        again = [*command, "--json", "--seed", str(text["seed"]), "--row", str(text["row"])]
        assert cli.main(again) == 0
        assert json.loads(capsys.readouterr().out)["tokens"] == text["tokens"]
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert cli.main([*command, "--n", "3", "--seed", "5"]) == 0
    assert "--seed 5; the second alone: --row 1" in sys.stderr.getvalue()


def test_beams_show_their_scores_and_their_tree(capsys):
    command = ["generate", "--num-beams", "3", "--n", "2", "--max-new-tokens", "3", "Once upon a time"]
    assert cli.main(command) == 0
    plain = capsys.readouterr().out
    assert "1 of 2, score -" in plain
    assert cli.main([*command, "--tree"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(plain)
    assert "└─" in shown
    assert cli.main([*command, "--json"]) == 0
    texts = json.loads(capsys.readouterr().out)["texts"]
    assert texts[0]["score"] >= texts[1]["score"]


def test_json_has_logprobs_and_steps(capsys):
    arguments_ = ["--max-new-tokens", "3", "--seed", "2", "--logprobs", "2", "--explain", "4", "Once upon a time"]
    assert cli.main(["generate", "--json", *arguments_]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [t["token"] for t in found["logprobs"]] == found["tokens"] == [s["token"] for s in found["steps"]]
    assert len(found["logprobs"][0]["top"]) == 2
    assert "prompt_logprobs" not in found
    chosen = [c for c in found["steps"][0]["candidates"] if c["token"] == found["tokens"][0]]
    assert chosen[0]["probability"] == pytest.approx(found["steps"][0]["probability"], rel=1e-5)


def test_json_has_the_prompts_logprobs(capsys, demo):
    arguments_ = ["--max-new-tokens", "0", "--prompt-logprobs", "2", "Once upon a time"]
    assert cli.main(["generate", "--json", *arguments_]) == 0
    found = json.loads(capsys.readouterr().out)
    first, *told = found["prompt_logprobs"]
    assert (first, found["tokens"], found["text"]) == (None, [], "")
    assert [t["token"] for t in told] == found["prompt_tokens"][1:]
    assert [t["logprob"] for t in told] == demo.score(found["prompt_tokens"], start=None).logprobs[1:].tolist()
    assert all(len(t["top"]) == 2 for t in told)


def test_explain_shows_the_choice_and_what_was_cut(capsys):
    command = ["generate", "--explain", "5", "--max-new-tokens", "2", "--seed", "2", "--top-k", "3", "Once upon a time"]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "1. '" in out
    assert "2. '" in out
    assert "drawn with 0." in out
    assert sum(line.startswith(" > ") for line in out.splitlines()) == 2
    assert "cut by top_k" in out
    assert cli.main(["generate", "--explain", "2", "--temperature", "0", "--max-new-tokens", "1", "Once"]) == 0
    assert "the most probable" in capsys.readouterr().out


def test_explain_shows_the_numbers_that_rules_changed(capsys):
    lm = nextword.load()
    lm.tokenizer, words = None, lm.tokenizer
    out = lm.generate([281, 290], max_new_tokens=1, explain=2, logit_bias={5: 50.0}, presence_penalty=1.0)
    line = next(x for x in generate_cli.step_lines(lm, 1, out.steps[0]) if x.startswith(" > "))
    logit, biased = (f"{x:.2f}" for x in (out.steps[0].candidates[0].logit, out.steps[0].candidates[0].biased))
    assert line.split()[:4] == [">", "'5'", logit, biased]
    assert words is not None


def test_a_json_object_of_a_generation_holds_what_it_has():
    found = generate_cli.as_json(Generation("a", [1], [2], "stop", 3, Timings(1, 1, 0, 0),
                                            removed_mass=[0.5], score=-1.0), 0.25)
    assert (found["removed_mass"], found["score"], found["timings"]["load_seconds"]) == ([0.5], -1.0, 0.25)
    assert "logprobs" not in found


@pytest.mark.parametrize("flags", [
    ["--bad-words", " there"], ["--logit-bias", " there=-inf"], ["--top-k", "1", "--temperature", "1"],
    ["--min-new-tokens", "1"], ["--regex", " [a-z]+"], ["--num-beams", "2", "--logprobs", "4096"],
])  # fmt: skip
def test_json_holds_no_number_that_is_none(capsys, flags):
    command = ["generate", "--json", "--explain", "3", "--temperature", "0", "--max-new-tokens", "1", *flags]
    assert cli.main([*command, "Once upon a time"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_a_quantised_folders_configuration_is_json(tmp_path):
    config = {**tiny_config(), "scale": float("inf")}
    folder = write_model(tmp_path, config, random_tensors(tiny_config()))
    out = nextword.quantize(folder, "int8", tmp_path / "out")
    assert json.loads((out / "config.json").read_text(), parse_constant=pytest.fail)["scale"] is None


# Texts in flags, special tokens, the window


def test_escapes_in_flags_are_characters(parser):
    words = [r"a\n", r"\t\x41", r"\u00e9\\"]
    given = [part for word in words for part in ("--stop", word, "--bad-words", word, "--logit-bias", f"{word}=1")]
    read = arguments.read_settings(parser.parse_args([*given, "x"]))
    expected = ["a\n", "\tA", "é\\"]
    assert read == {"stop": expected, "bad_words": expected, "logit_bias": dict.fromkeys(expected, 1.0)}


def test_a_line_end_stops(capsys):
    lm = nextword.load()
    bias = {"\n": 1000.0}
    assert lm.generate("Once", max_new_tokens=9, logit_bias=bias).text == "\n" * 9
    command = ["generate", "--json", "--temperature", "0", "--logit-bias", r"\n=1000", "Once"]
    for more, text in (([], "\n" * 120), (["--stop", r"\n"], ""), (["--stop", r"\n\n"], "")):
        assert cli.main([*command, *more]) == 0
        assert json.loads(capsys.readouterr().out)["text"] == text


def test_bad_words_are_forbidden_with_and_without_a_blank(monkeypatch):
    lm = StandIn(Bytes())
    monkeypatch.setattr(nextword, "load", lambda *_, **__: lm)
    assert cli.main(["generate", "--bad-words", "cat", "--bad-words", " dog", "--bad-words", r"\n", "x"]) == 0
    assert lm.settings["bad_words"] == ["cat", " cat", " dog", "\n"]


def test_without_a_vocabulary_texts_in_flags_are_ids(monkeypatch, capsys):
    lm = StandIn()
    monkeypatch.setattr(nextword, "load", lambda *_, **__: lm)
    flags = ["--stop", "3", "--bad-words", "1 2", "--logit-bias", "4 5=1", "--logit-bias", "#6=2"]
    assert cli.main(["generate", *flags, "0"]) == 0
    assert {name: lm.settings[name] for name in ("stop", "bad_words", "logit_bias")} == {
        "stop": [3], "bad_words": [[1, 2]], "logit_bias": {(4, 5): 1.0, 6: 2.0}}  # fmt: skip
    for flag in ("--stop", "--bad-words", "--logit-bias"):
        assert cli.main(["generate", flag, "x=1", "0"]) == 1
        assert f"give {flag} as token ids" in capsys.readouterr().err


def test_without_a_vocabulary_an_empty_prompt_starts_as_in_python(monkeypatch):
    lm = StandIn()
    monkeypatch.setattr(nextword, "load", lambda *_, **__: lm)
    assert arguments.given_prompt([""], lm, None) == []


@pytest.mark.parametrize("word", ["#-1=-inf", "#²=1", "#1a=1"])
def test_what_is_meant_as_an_id_and_is_none_is_an_error(capsys, word):
    with contextlib.suppress(SystemExit):
        assert cli.main(["generate", "--logit-bias", word, "x"]) == 1
    assert "--logit-bias" in capsys.readouterr().err
    assert arguments._bias("#a=1") == ("#a", 1.0)


def test_a_prompt_longer_than_the_window(capsys):
    lm = nextword.load()
    prompt = "Once upon a time " * 200
    command = ["generate", "--temperature", "0", "--max-new-tokens", "3", "--json"]
    for flags in ([], ["--on-overflow", "stop"], ["--on-overflow", "error"]):
        assert cli.main([*command, *flags, prompt]) == 1
        err = capsys.readouterr().err
        assert "--on-overflow" in err
        assert "on_overflow" not in err
    assert cli.main([*command, "--on-overflow", "slide", prompt]) == 0
    expected = lm.generate(prompt, max_new_tokens=3, on_overflow="slide").tokens
    assert json.loads(capsys.readouterr().out)["tokens"] == expected
    assert cli.main(["generate", "--max-new-tokens", "600", "--on-overflow", "error", "Once"]) == 1
    assert "--max-new-tokens 600 must fit into the context window" in capsys.readouterr().err


# Drafts


@pytest.mark.parametrize("draft", ["lookup", str(nextword.DEMO)])
def test_a_draft_is_told_of_and_changes_no_text(capsys, monkeypatch, draft):
    monkeypatch.setattr(sys, "stderr", Terminal())
    command = ["generate", "--temperature", "0", "--max-new-tokens", "60", "Once upon a time"]
    assert cli.main(command) == 0
    plain = capsys.readouterr().out
    assert "drafted" not in sys.stderr.getvalue()
    assert cli.main([*command, "--draft", draft]) == 0
    assert capsys.readouterr().out == plain
    accepted, drafted = re.search(r"60 tokens, \d+ tokens/s, (\d+) of (\d+) drafted", sys.stderr.getvalue()).groups()
    assert cli.main([*command, "--draft", draft, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["accepted"], found["drafted"]) == (int(accepted), int(drafted))
    assert 0 < found["accepted"] <= found["drafted"]
    assert cli.main([*command, "--json"]) == 0
    assert not {"accepted", "drafted"} & json.loads(capsys.readouterr().out).keys()


def test_the_drafts_of_several_texts_are_told_of_together(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    command = ["generate", "--n", "2", "--seed", "1", "--max-new-tokens", "9", "--draft", str(nextword.DEMO), "Once"]
    assert cli.main(command) == 0
    assert re.search(r"2 texts in [\d.]+ s, (\d+) of \1 drafted tokens accepted", sys.stderr.getvalue())


@pytest.mark.parametrize(("flags", "told"), [
    (["--draft", "no-such-folder"], "no-such-folder"), (["--draft", "lookup", "--num-beams", "2"], "draft goes with"),
])  # fmt: skip
def test_a_draft_that_cannot_be_is_one_line_and_exit_code_1(capsys, monkeypatch, flags, told):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert cli.main(["generate", *flags, "Once"]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


# next


def test_next_shows_settings_side_by_side(capsys):
    assert cli.main(["next", "--top", "4", "--temperature", "0.2,1,2", "Once upon a time"]) == 0
    prompt, heads, *rows, others = capsys.readouterr().out.splitlines()
    assert prompt == "Once upon a time"
    assert heads.split() == ["temperature=0.2", "temperature=1", "temperature=2"]
    assert len(rows) == 4
    best = [float(part.rstrip("%")) for part in rows[0].split() if part.endswith("%")]
    assert best[0] > best[1] > best[2]
    assert others.split()[0] == "others"


def test_next_shows_what_a_filter_cuts(capsys):
    assert cli.main(["next", "--top", "4", "--top-k", "0,2", "--temperature", "1", "Once upon a time"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:-1]
    assert [row.rstrip().endswith("-") for row in rows] == [False, False, True, True]
    assert cli.main(["next", "--json", "--top", "3", "--top-p", "0.5,0.9", "--min-p", "0.01", "Once"]) == 0
    tables = json.loads(capsys.readouterr().out)["settings"]
    assert [(t["top_p"], t["min_p"]) for t in tables] == [(0.5, 0.01), (0.9, 0.01)]
    assert tables[0]["next"][0]["probability"] > tables[1]["next"][0]["probability"]


def test_next_with_one_filter_shows_only_what_stays(capsys):
    assert cli.main(["next", "--top-k", "2", "Once upon a time"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("flags", [["--temperature", "0"], ["--temperature", "1,,2"], ["--top-p", "0.5,2"]])
def test_next_refuses_wrong_lists(capsys, flags):
    with pytest.raises(SystemExit) as caught:
        cli.main(["next", *flags, "x"])
    assert caught.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_columns_are_as_wide_as_their_heads(monkeypatch):
    lines = list(next_cli.side_by_side([("'日本'", [0.5, 0.25]), ("'a'", [0.25, 0.0])], ["temperature=0.123456", "b"]))
    assert lines[1].index("25.00%") + 2 == lines[3].index("75.00%")  # two characters take two columns each
    assert lines[2].endswith("-")


def test_an_opening_is_picked_for_next(capsys, monkeypatch):
    lm = StandIn(Bytes())
    monkeypatch.setattr(nextword, "load", lambda *_, **__: lm)
    assert cli.main(["next"]) == 0
    assert capsys.readouterr().out.splitlines()[0] in arguments.OPENINGS
