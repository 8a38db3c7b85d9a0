"""cli/bench.py: what is measured and shown, never how fast."""

from __future__ import annotations

import json
import re
import types

import numpy as np
import pytest

import nextword
from model_files import write_model
from nextword import cpu, reference
from nextword.cli import bench as bench_cli
from nextword.cli import main as cli
from nextword.cli.bench import DTYPES, Measured
from nextword.models.gpt2 import GPT2
from strategies import random_model, random_tensors, tiny_config

KEYS = {
    "dtype", "threads", "prompt", "prefill_tokens_per_second", "decode_tokens_per_second", "weight_bytes",
    "multiply_adds", "read_bytes_per_second", "multiply_adds_per_second", "prefill_share", "decode_share",
}  # fmt: skip


@pytest.fixture
def tiny_shape(monkeypatch):
    """Random weights of a tiny shape in the place of GPT-2's, and short looks at the machine."""
    monkeypatch.setattr(bench_cli, "random_model", lambda shape, **options: random_model(tiny_config(), **options))
    monkeypatch.setattr(bench_cli, "LOOK", 0.001)
    return tiny_config()


def counts():
    return [1, 2] if cpu.openmp() else [1]


def test_json_has_a_row_for_each_dtype_and_thread_count(capsys, tiny_shape):
    before = cpu.threads()
    threads = ",".join(map(str, counts()))
    assert cli.main(["bench", "--json", "--tokens", "3", "--threads", threads, "--dtypes", ",".join(DTYPES)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"model", "isa", "rows", "recommended"}
    assert found["isa"] == cpu.isa()
    assert [(row["dtype"], row["threads"]) for row in found["rows"]] == [(d, n) for d in DTYPES for n in counts()]
    for row in found["rows"]:
        assert row.keys() == KEYS
        assert row["prompt"] == tiny_shape["n_positions"]
        assert min(row[name] for name in KEYS - {"dtype"}) > 0
        decode = row["weight_bytes"] * row["decode_tokens_per_second"] / row["read_bytes_per_second"]
        assert row["decode_share"] == pytest.approx(decode)
        prefill = row["multiply_adds"] * row["prefill_tokens_per_second"] / row["multiply_adds_per_second"]
        assert row["prefill_share"] == pytest.approx(prefill)
    assert found["recommended"] in [{"dtype": row["dtype"], "threads": row["threads"]} for row in found["rows"]]
    assert cpu.threads() == before


@pytest.mark.parametrize(("asked", "expected"), [([], "gpt2-124m"), (["--shape", "smollm2-135m"], "smollm2-135m")])
def test_random_weights_are_of_the_shape_that_is_asked_for(capsys, monkeypatch, asked, expected):
    shapes = []

    def made(shape, **options):
        shapes.append(shape)
        return random_model(tiny_config(), **options)

    monkeypatch.setattr(bench_cli, "random_model", made)
    monkeypatch.setattr(bench_cli, "LOOK", 0.001)
    assert cli.main(["bench", "--tokens", "2", "--threads", "1", "--dtypes", "int8", "--json", *asked]) == 0
    assert shapes == [expected]
    with pytest.raises(SystemExit):
        cli.main(["bench", "--shape", "gpt2-124m", "--model", "x"])
    capsys.readouterr()


def test_the_table_has_a_line_for_each_dtype_and_thread_count_of_a_model(capsys, tiny_shape, tmp_path):
    folder = write_model(tmp_path, tiny_config(), random_tensors(tiny_config()))
    assert cli.main(["bench", "--model", str(folder), "--tokens", "2"]) == 0
    first, head, *rows, gap, last = capsys.readouterr().out.splitlines()
    assert str(folder) in first
    assert "2 layers" in first
    assert head.split()[:2] == ["dtype", "threads"]
    threads = sorted({1, max(1, cpu.threads() // 2), cpu.threads()})
    assert [row.split()[:2] for row in rows] == [[dtype, str(n)] for dtype in DTYPES for n in threads]
    assert gap == ""
    assert re.match(r"Take \w+ on \d+ threads?, nextword.load", last)


def test_the_dtypes_are_those_that_load_takes():
    with pytest.raises(ValueError, match="load: dtype must be") as caught:
        nextword.load(dtype="none")
    assert tuple(re.findall(r"[a-z]+\d+", str(caught.value))) == DTYPES


def test_a_token_reads_every_packed_matrix_once():
    """float32 matrices are stored as whole panels of 32 columns; the tied output matrix is one of them."""
    config = tiny_config()
    row = bench_cli.measure(nextword.LanguageModel(random_model(config)), "float32", 1, 0.0)
    stored = {name: x for name, x in random_tensors(config).items() if x.ndim == 2 and name != "wpe.weight"}
    sides = [x.shape[::-1] if name == "wte.weight" else x.shape for name, x in stored.items()]
    assert row.weight_bytes == sum(4 * depth * -(-cols // 32) * 32 for depth, cols in sides)


@pytest.mark.parametrize("prompt", [1, 7, 24])
def test_multiply_adds_are_those_that_the_graph_does(prompt):
    done = []

    def counted(operation):
        def wrapper(x, weight, *more):
            done.append(x.shape[0] * weight.shape[0] * weight.shape[1])
            return operation(x, weight, *more)

        return wrapper

    ops = types.SimpleNamespace(**vars(reference))
    for name in [name for name in vars(ops) if name.startswith("matmul")]:
        setattr(ops, name, counted(getattr(ops, name)))
    model = GPT2(random_tensors(tiny_config()), tiny_config(), ops=ops)
    model([np.arange(prompt)], model.cache(1), rows=[prompt - 1])
    c = model.config
    attention = c.n_layer * sum(2 * c.n_embd * (t + 0.5) for t in range(prompt))  # of its own place, half
    assert prompt * bench_cli.multiply_adds(model, prompt) == pytest.approx(sum(done) + attention)


def rows(*speeds):
    return [Measured(dtype, threads, 8, 1.0, speed, 1, 1.0, 1.0, 1.0) for dtype, threads, speed in speeds]


def test_the_fastest_dtype_is_taken_on_the_fewest_threads_that_are_hardly_slower():
    found = rows(("a", 1, 50.0), ("a", 2, 80.0), ("b", 1, 60.0), ("b", 2, 96.0), ("b", 4, 100.0))
    assert bench_cli.recommended(found) == found[3]
    assert bench_cli.recommended(found[:3]) == found[1]


def test_the_advice_names_the_call_and_what_fewer_bits_cost():
    found = rows(("float32", 1, 20.0), ("int8", 2, 50.0))
    text = bench_cli.advice(found, found[1])
    assert 'nextword.load(..., dtype="int8", threads=2)' in text
    assert "2.5 times as many as float32" in text
    assert "docs/quantisation.md" in text
    assert bench_cli.advice(found, found[0]).endswith("20.0 new tokens a second.")
    assert "times as many" not in bench_cli.advice(found[1:], found[1])


def test_measuring_ends_after_one_repetition_when_time_is_up(monkeypatch, tiny_shape):
    looks = []
    monkeypatch.setattr(bench_cli.speed, "multiply_add_rate", lambda seconds, dtype: looks.append(dtype) or 1.0)
    lm = nextword.LanguageModel(random_model(tiny_config()))
    bench_cli.measure(lm, "float32", 1, 0.0)
    assert looks == ["float32"]
    bench_cli.measure(lm, "float32", 1, 1e9)
    assert len(looks) == 1 + bench_cli.ROUNDS


def test_more_tokens_than_the_context_holds_are_one_clear_error(capsys, tiny_shape):
    before = cpu.threads()
    assert cli.main(["bench", "--tokens", "24"]) == 1
    assert "bench: --tokens must be below the model's context of 24, got 24" in capsys.readouterr().err
    assert cpu.threads() == before
    assert cli.main(["bench", "--tokens", "23", "--threads", "1"]) == 0


def test_without_openmp_more_threads_than_one_are_refused(capsys, monkeypatch):
    monkeypatch.setattr(cpu, "openmp", lambda: False)
    with pytest.raises(SystemExit):
        cli.main(["bench", "--threads", "2"])
    assert "built without OpenMP" in capsys.readouterr().err


# Operations


def test_every_operation_is_counted_once_and_its_work_is_that_of_the_model(capsys, tiny_shape):
    assert cli.main(["bench", "--operations", "--json", "--tokens", "3", "--threads", "1", "--dtypes", "int8"]) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert (row["dtype"], row["threads"], found["isa"]) == ("int8", 1, cpu.isa())
    model = random_model(tiny_config(), dtype="int8")
    step, prompt = row["passes"]
    weights = sum(layer.weight.nbytes for layer in [*model.linears(), model.head])
    products = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in model.linears())
    head = model.width * model.vocabulary
    for one, tokens in ((step, 1), (prompt, tiny_shape["n_positions"])):
        operations = one["operations"]
        assert sum(spent["times"] for spent in operations) == len(model.operations())
        linear = [spent for spent in operations if spent["operation"].startswith("matmul")]
        assert sum(spent["bytes"] for spent in linear) == weights
        assert sum(spent["multiply_adds"] for spent in linear) == tokens * products + head
        for spent in operations:
            assert 0 <= spent["seconds"] <= one["seconds"]
            assert spent["share"] == pytest.approx(spent["seconds"] / one["seconds"])
            rate = spent[one["by"]] / spent["seconds"] if spent["seconds"] else 0.0
            assert spent["share_of_limit"] == pytest.approx(rate / one["limit"])
        assert sum(spent["seconds"] for spent in operations) <= one["seconds"]


def test_attention_multiplies_each_query_by_the_keys_that_it_sees(capsys, tiny_shape):
    assert cli.main(["bench", "--operations", "--json", "--tokens", "3", "--threads", "1", "--dtypes", "float32"]) == 0
    prompt = json.loads(capsys.readouterr().out)["rows"][0]["passes"][1]
    (attention,) = [one for one in prompt["operations"] if one["operation"] == "attention"]
    pairs = sum(range(1, tiny_shape["n_positions"] + 1))
    assert attention["multiply_adds"] == 2 * pairs * tiny_shape["n_embd"] * tiny_shape["n_layer"]


def test_the_tables_of_operations_have_a_line_for_each(capsys, tiny_shape):
    before = cpu.threads()
    assert cli.main(["bench", "--operations", "--tokens", "3", "--dtypes", "float32,int4"]) == 0
    text = capsys.readouterr().out
    assert text.count("a step after 8 tokens: ") == text.count("a prompt of 24 tokens: ") == 2
    assert len(re.findall(r"^attention +2 +[\d.]+ +[\d.]+%", text, re.MULTILINE)) == 4
    assert len(re.findall(r"^checks, Python +[\d.]+ +[\d.]+%$", text, re.MULTILINE)) == 4
    assert cpu.threads() == before
