"""Memory is reckoned before it is taken: what is available, and an error wherever more would be needed."""

from __future__ import annotations

import numpy as np
import pytest

import nextword
from nextword.machine import memory
from nextword.models.cache import KVCache, cache_bytes
from strategies import random_model, tiny_config

GB = 10**9
HUGE = 10**9


# What there is


def files(monkeypatch, tmp_path, **contents):
    """A system with these files, control groups of version 2 in /cgroup, of the first for memory in /cgroup/memory;
    "__" stands for "/"."""
    contents["proc__self__mountinfo"] = ("30 23 0:26 / /cgroup rw - cgroup2 none rw\n"
                                         "31 23 0:27 / /cgroup/memory rw - cgroup none rw,memory\n")
    for name, text in contents.items():
        path = tmp_path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    return memory.available()


def test_the_system_says_what_is_available(monkeypatch, tmp_path):
    assert files(monkeypatch, tmp_path, proc__meminfo="MemTotal: 9 kB\nMemAvailable:  7 kB\n") == 7 * 1024


def test_the_limit_of_any_group_above_the_process_counts(monkeypatch, tmp_path):
    found = files(monkeypatch, tmp_path, proc__meminfo="MemAvailable: 9000 kB\n", proc__self__cgroup="0::/a/b\n",
                  cgroup__a__b__memory_max="")
    assert found == 9000 * 1024
    for folder, limit in (("cgroup/a/b", "max"), ("cgroup/a", "5000")):
        (tmp_path / folder / "memory.max").write_text(limit)
        (tmp_path / folder / "memory.current").write_text("3000")
        (tmp_path / folder / "memory.stat").write_text("anon 1\ninactive_file 1200\n")
    assert memory.available() == 5000 - 3000 + 1200


def test_the_first_version_of_control_groups_is_read(monkeypatch, tmp_path):
    files(monkeypatch, tmp_path, proc__meminfo="MemAvailable: 9000 kB\n",
          proc__self__cgroup="4:memory:/x\n3:cpu:/\n0::/\n", cgroup__memory__x__a="")
    (tmp_path / "cgroup/memory/x/memory.limit_in_bytes").write_text("5000")
    (tmp_path / "cgroup/memory/x/memory.usage_in_bytes").write_text("6000")
    assert memory.available() == 0
    (tmp_path / "cgroup/memory/x/memory.stat").write_text("total_inactive_file 4000\n")
    assert memory.available() == 3000


def test_a_small_need_reads_nothing_and_a_large_one_is_weighed(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: pytest.fail("read"))
    memory.require("x", "y", memory.SMALL, "z")
    monkeypatch.setattr(memory, "available", lambda: 2 * GB)
    memory.require("x", "y", 2 * GB, "z")
    with pytest.raises(MemoryError, match=r"^x: y would take 2\.5 GB of memory, and 2\.0 GB are available; z$"):
        memory.require("x", "y", 5 * GB // 2, "z")
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.require("x", "y", 10**20, "z")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("width", [1, 31, 64])
def test_the_bytes_of_a_cache_are_those_that_it_takes(dtype, width):
    cache = KVCache(nextword.ops, 3, 5, 2, width, 70, None, dtype)
    taken = sum(x.nbytes for arrays in (cache.keys, cache.values, cache.scales) for x in arrays)
    assert taken == cache_bytes(3, 5, 2, width, 70, dtype)


# Where it is asked for

TEXT = "Once upon a time"
CALLS = {
    "n": lambda lm: lm.generate(TEXT, n=HUGE, temperature=1),
    "best_of": lambda lm: lm.generate(TEXT, best_of=HUGE, temperature=1),
    "num_beams": lambda lm: lm.generate(TEXT, num_beams=HUGE),
    "num_beams of 10^5": lambda lm: lm.generate(TEXT, num_beams=10**5),
    "a cache": lambda lm: lm.model.cache(HUGE, 512),
    "a cache of many tokens": lambda lm: lm.model.cache(1, 10**15),
    "explain": lambda lm: lm.generate(TEXT, n=2000, temperature=1, explain=HUGE),
    "logprobs": lambda lm: lm.generate(TEXT, n=2000, temperature=1, logprobs=HUGE),
    "a prefix store": lambda lm: nextword.PrefixCache(lm.model, tokens=10**12),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_what_would_not_fit_is_an_error_that_says_what_there_is(demo, monkeypatch, call):
    monkeypatch.setattr(memory, "available", lambda: 2 * GB)
    with pytest.raises(MemoryError, match=r"would take .* GB of memory, and 2\.0 GB are available; (ask for|lower)"):
        call(demo)


@pytest.mark.parametrize("more", [{}, {"draft": "lookup"}, {"draft": "bfloat16"}, {"n": 3, "temperature": 2.0}])
def test_a_batch_for_which_there_is_no_memory_runs_in_waves_with_the_same_bits(monkeypatch, more):
    lm = nextword.LanguageModel(random_model(tiny_config(n_positions=96), seed=5))
    prompts = [[(i + j) % 37 for j in range(1 + 7 * i % 40)] for i in range(20)]
    settings = {"max_new_tokens": 9, "seed": 4, "logprobs": 1, **more}
    expected, made = lm.generate(prompts, **settings), []
    there = 4 * 512 * lm.model.widest + 20 * lm.model.cache_bytes(1, 64)

    def noted(cache, ops, layers, slots, heads, width, capacity, *rest):
        made.append((slots, layers, heads, width, capacity))
        init(cache, ops, layers, slots, heads, width, capacity, *rest)

    init = KVCache.__init__
    monkeypatch.setattr(KVCache, "__init__", noted)
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda: there)
    found = lm.generate(prompts, **settings)
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True) if "n" in more else [(one, other)]:
            assert (a.tokens, a.logprobs, a.finish_reason) == (b.tokens, b.logprobs, b.finish_reason)
    assert 0 < made[0][0] < len(prompts)
    taken = sum(cache_bytes(layers, slots, heads, width, tokens) for slots, layers, heads, width, tokens in made)
    assert taken <= there / 2


def test_what_fits_is_found(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2 * GB)
    assert memory.fitting(10, lambda count: count * GB // 5) == 10
    assert memory.fitting(11, lambda count: count * GB // 5) == 5
    assert memory.fitting(11, lambda count: count * 3 * GB) == 1
    monkeypatch.setattr(memory, "available", lambda: None)
    assert memory.fitting(10**6, lambda count: count * GB) == 10**6
    monkeypatch.setattr(memory, "available", lambda: pytest.fail("read"))
    assert memory.fitting(10, lambda count: count) == 10


def test_contrastive_search_and_logits_are_reckoned_too(demo, monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda: 10**6)
    for call, told in [(lambda: demo.generate(TEXT, penalty_alpha=0.5, top_k=4000), "contrastive_search: top_k=4000"),
                       (lambda: demo.logits([1] * 500), "logits: the logits of 500 tokens"),
                       (lambda: demo.session(TEXT, capacity=500).logits, "cache: 1 slots of 512 tokens"),
                       (lambda: demo.stream(TEXT, max_new_tokens=500, eos=None), "stream: 1 texts of up to")]:
        with pytest.raises(MemoryError, match=told):
            call()


def test_limits_on_what_may_come_take_no_memory(demo):
    out = demo.generate(TEXT, max_new_tokens=HUGE, on_overflow="stop", stop=".", logprobs=2)
    assert out.finish_reason in ("stop", "context")
    stream = demo.stream(TEXT, max_new_tokens=HUGE, on_overflow="slide", draft="lookup")
    assert len([piece for piece, _ in zip(stream, range(5), strict=False)]) == 5
    assert demo.generate(TEXT, max_new_tokens=2, logprobs=HUGE).logprobs[0].top[-1][1] < 0
    assert len(demo.generate(TEXT, max_new_tokens=1, temperature=1, top_k=HUGE).tokens) == 1


def test_many_beams_are_those_of_a_plain_search():
    """As many beams as there are continuations: the search is exhaustive."""
    model = random_model(tiny_config(n_positions=32), seed=5)
    lm = nextword.LanguageModel(model)
    out = lm.generate([1, 2], num_beams=37 * 37, max_new_tokens=2, n=3)
    logits = lm.logits([1, 2], last_only=True).astype(np.float64)
    first = logits - np.logaddexp.reduce(logits)
    second = lm.model([np.array([1, 2, i]) for i in range(37)], lm.model.cache(37, 32),
                      rows=np.arange(37) * 3 + 2).astype(np.float64)
    totals = first[:, None] + second - np.logaddexp.reduce(second, axis=1, keepdims=True)
    best = np.argsort(-totals, axis=None)[:3]
    assert [one.tokens for one in out] == [list(divmod(int(i), 37)) for i in best]
