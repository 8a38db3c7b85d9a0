"""cpu.py: choosing an instruction set and a thread count; forks and threads of Python do not disturb the bits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import nextword
from nextword import cpu
from nextword.machine import cgroups
from strategies import random_model, run, tiny_config


def python(code, timeout=60, **environment):
    """Run code in a fresh interpreter."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("NEXTWORD_")} | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=timeout)


def test_the_variants_are_among_the_compiled_and_end_with_the_baseline():
    assert cpu.variants()[-1] == "baseline"
    assert set(cpu.variants()) <= set(cpu.compiled())
    assert cpu.isa() in cpu.variants()


def test_the_best_variant_is_the_default():
    assert (
        python("from nextword import cpu; print(cpu.isa(), '-', cpu.why_isa())").stdout.split()[0] == cpu.variants()[0]
    )


def test_each_variant_can_be_chosen(isa):
    assert cpu.isa() == isa
    assert cpu.why_isa() == "set_isa"


@pytest.mark.parametrize("name", ["avx3", "", "AVX2", "baseline "])
def test_an_unknown_variant_is_an_error_that_lists_the_names_and_changes_nothing(name):
    before = cpu.isa()
    with pytest.raises(ValueError, match=f"set_isa: name must be one of {', '.join(cpu.variants())}.*got '{name}'"):
        cpu.set_isa(name)
    assert cpu.isa() == before


def test_variants_differ_only_by_rounding(isa):
    model = random_model(tiny_config())
    found = run(model, [[1, 2, 3]])
    cpu.set_isa("baseline")
    plain = run(model, [[1, 2, 3]])
    # both lie within the bound of test_gpt2.py; here only that they compute the same thing
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-4 * np.abs(plain).max())


@pytest.mark.parametrize("name", cpu.variants())
def test_the_environment_chooses_a_variant(name):
    out = python("from nextword import cpu; print(cpu.isa(), cpu.why_isa())", NEXTWORD_ISA=name)
    assert out.stdout.split() == [name, "NEXTWORD_ISA"]


def test_a_wrong_variant_in_the_environment_is_an_error_that_names_both():
    out = python("import nextword", NEXTWORD_ISA="avx3")
    assert out.returncode == 1
    assert out.stderr.rstrip().splitlines()[-1].startswith("ValueError: NEXTWORD_ISA: set_isa: name must be one of")
    assert "baseline" in out.stderr.rstrip().splitlines()[-1]


def test_the_environment_sets_the_thread_count():
    out = python(
        "from nextword import cpu; print(cpu.threads(), cpu.why_threads(), cpu.openmp())", NEXTWORD_THREADS="3"
    )
    expected = ["3", "NEXTWORD_THREADS", "True"] if cpu.openmp() else ["1", "built", "without", "OpenMP", "False"]
    assert out.stdout.split() == expected


@pytest.mark.parametrize("count", ["0", "-1", "1025", "two", "1.5", " 2", "9" * 30])
def test_a_wrong_thread_count_in_the_environment_is_an_error_that_names_it(count):
    out = python("import nextword", NEXTWORD_THREADS=count)
    assert out.returncode == 1
    assert f"ValueError: NEXTWORD_THREADS: expected a number 1 .. 1024, got '{count}'" in out.stderr


@pytest.mark.parametrize(("given", "expected"), [("3", "3"), ("4,2", "4"), (" 2 ", "2")])
def test_openmps_own_variable_sets_the_default_thread_count(given, expected):
    show = "from nextword import cpu; print(cpu.threads(), cpu.why_threads())"
    if not cpu.openmp():
        pytest.skip("built without OpenMP")
    assert python(show, OMP_NUM_THREADS=given).stdout.split() == [expected, "OMP_NUM_THREADS"]
    assert python(show, OMP_NUM_THREADS=given, NEXTWORD_THREADS="1").stdout.split() == ["1", "NEXTWORD_THREADS"]


@pytest.mark.parametrize("given", ["", "0", "many", "99999"])
def test_a_variable_of_openmp_that_is_no_thread_count_changes_nothing(given):
    show = "from nextword import cpu; print(cpu.threads())"
    plain = python(f"import os; os.environ.pop('OMP_NUM_THREADS', None); {show}").stdout
    assert python(show, OMP_NUM_THREADS=given).stdout == plain


@pytest.mark.parametrize(("given", "used"), [("on", True), ("off", False)])
def test_the_environment_chooses_how_weights_beyond_the_caches_are_read(given, used):
    show = "from nextword import cpu; print(*cpu.streaming())"
    assert python(show, NEXTWORD_STREAMING=given).stdout.split()[:2] == [str(used), "NEXTWORD_STREAMING"]
    out = python("import nextword", NEXTWORD_STREAMING="yes")
    assert out.returncode == 1
    assert "ValueError: NEXTWORD_STREAMING: expected on or off, got 'yes'" in out.stderr


def test_a_trial_decides_once_how_weights_beyond_the_caches_are_read():
    cpu.set_streaming(None)
    found = cpu.streaming()
    assert min(found.past, found.through) > 0
    assert found.used == (found.past >= 0.75 * found.through)
    assert cpu.streaming()[2:] == found[2:]  # made once
    for on in (True, False):
        cpu.set_streaming(on)
        assert cpu.streaming() == (on, "set_streaming", 0.0, 0.0)
    cpu.set_streaming(None)
    with pytest.raises(TypeError, match="set_streaming: on must be bool or None, got int"):
        cpu.set_streaming(1)


def test_bits_do_not_depend_on_how_weights_are_read(isa, demo):
    """Told of a small cache, the demo model exceeds it."""
    ids = list(range(40))
    try:
        found = []
        for size, on in ((1 << 40, None), (1, True), (1, False), (1, None)):
            cpu.set_last_level_cache(size)
            cpu.set_streaming(on)
            found.append(demo.generate(ids, max_new_tokens=8, eos=None).tokens)
            found.append(demo.logits(ids[:1], last_only=True).tobytes())
    finally:
        cpu.set_last_level_cache(0)
        cpu.set_streaming(None)
    assert found == found[:2] * 4


def test_the_size_of_the_cache_can_be_told():
    told = cpu.last_level_cache()
    cpu.set_last_level_cache(123)
    assert cpu.last_level_cache() == 123
    with pytest.raises(ValueError, match="set_last_level_cache: bytes must be at least 0, got -1"):
        cpu.set_last_level_cache(-1)
    cpu.set_last_level_cache(0)
    assert cpu.last_level_cache() == told


@pytest.mark.parametrize("name", ["NEXTWORD_ISA", "NEXTWORD_THREADS", "NEXTWORD_STREAMING"])
def test_an_empty_environment_variable_is_as_good_as_none(name):
    assert python("import nextword", **{name: ""}).returncode == 0


def test_the_environment_is_read_as_the_module_loads(monkeypatch, threads, isa):
    """What the tests above see from outside, in this process."""
    monkeypatch.setenv("NEXTWORD_ISA", "baseline")
    monkeypatch.setenv("NEXTWORD_THREADS", "2")
    cpu._from_environment()
    assert cpu.isa() == "baseline"
    assert cpu.threads() == (2 if cpu.openmp() else 1)
    monkeypatch.setenv("NEXTWORD_THREADS", "0")
    with pytest.raises(ValueError, match="NEXTWORD_THREADS: expected a number"):
        cpu._from_environment()
    monkeypatch.setenv("NEXTWORD_ISA", "avx3")
    with pytest.raises(ValueError, match="NEXTWORD_ISA: set_isa: name must be one of"):
        cpu._from_environment()


def test_the_default_thread_count_is_the_processors_of_this_process():
    if not cpu.openmp():
        pytest.skip("built without OpenMP")
    if cgroups.cpus() is not None or "OMP_NUM_THREADS" in os.environ:
        pytest.skip("this machine sets another default: a quota, or OMP_NUM_THREADS")
    out = python("from nextword import cpu; print(cpu.threads(), cpu.processors())").stdout.split()
    assert out[0] == out[1]
    if hasattr(os, "sched_getaffinity"):
        one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        one += "from nextword import cpu; print(cpu.threads())"
        assert int(out[0]) == len(os.sched_getaffinity(0))
        assert python(one).stdout.split() == ["1"]


def test_a_thread_count_is_kept_and_told(threads):
    threads(5)
    assert cpu.threads() == (5 if cpu.openmp() else 1)
    assert cpu.why_threads() == ("set_threads" if cpu.openmp() else "built without OpenMP")


@pytest.mark.parametrize("count", [0, -1, 1025])
def test_a_thread_count_out_of_range_is_an_error_that_changes_nothing(count):
    before = cpu.threads()
    with pytest.raises(ValueError, match=f"set_threads: count must be 1 .. 1024, got {count}"):
        cpu.set_threads(count)
    assert cpu.threads() == before


@pytest.mark.parametrize("count", [1.5, "2", None])
def test_a_thread_count_that_is_no_integer_is_a_type_error(count):
    with pytest.raises(TypeError):
        cpu.set_threads(count)


FORK = """
import os, sys, time, nextword
nextword.cpu.set_threads(2)
lm = nextword.load()
ids = [i * 7 % 4096 for i in range(200)]
before = lm.logits(ids).tobytes()
child = os.fork()
if child == 0:
    os._exit(0 if lm.logits(ids).tobytes() == before else 3)
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        assert lm.logits(ids).tobytes() == before
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.01)
os.kill(child, 9)
sys.exit(4)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_computes_the_same_bits_and_does_not_hang():
    out = python(FORK, timeout=90)
    assert out.returncode == 0, {3: "other bits", 4: "the child hangs"}.get(out.returncode, out.stderr)


def test_python_threads_that_compute_at_once_get_the_same_bits(isa, threads, demo):
    threads(2)
    prompts = [[i * k % 4096 for i in range(1, 120)] for k in (3, 5, 7, 11)]
    expected = [demo.logits(p) for p in prompts]
    found = [[] for _ in prompts]

    def work(at):
        for _ in range(3):
            found[at].append(demo.logits(prompts[at]))

    workers = [threading.Thread(target=work, args=(at,)) for at in range(len(prompts))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for many, one in zip(found, expected, strict=True):
        assert len(many) == 3
        for x in many:
            np.testing.assert_array_equal(x, one)


def test_computing_lets_other_python_threads_run(threads):
    """The GIL is released: a counter goes on while one long product is computed."""
    threads(1)
    x, w = np.ones((400, 1024), np.float32), nextword.ops.pack(np.ones((1024, 1024), np.float32))
    done, ticks = threading.Event(), []

    def count():
        while not done.is_set():
            ticks.append(None)
            done.wait(0.0005)

    ticker = threading.Thread(target=count)
    ticker.start()
    before = len(ticks)
    for _ in range(8):
        nextword.ops.matmul(x, w)
    during = len(ticks) - before
    done.set()
    ticker.join()
    assert during > 8  # a held GIL would let it run between the calls at most
