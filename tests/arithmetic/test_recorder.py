"""recorder.py and the programs that it makes: the operations' bits, whatever is made of them, and what is refused."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import cpu, ops
from nextword.arithmetic import recorder
from nextword.arithmetic.formats import DTYPES
from nextword.models.cache import KVCache

VOCABULARY = 40


class Graph:
    """Random weights and a random graph, the same for each twin of the operations."""

    ACTIVATIONS = ("gelu_tanh", "gelu_erf", "quick_gelu", "relu", "silu", "tanh")
    STEPS = ("layer_norm", "rms_norm", "softmax", "activate", "matmul", "matmul_residual", "matmul_activated",
             "matmul_times", "add", "multiply", "columns", "rotate", "attention", "wanted")  # fmt: skip

    def __init__(self, seed, widths, steps, dtype, heads=2):
        self.seed, self.rng, self.heads = seed, np.random.default_rng(seed), heads
        self.widths, self.steps, self.dtype = widths, steps, dtype
        self.places = self.normal(64, widths[0])
        self.tokens = ops.pack_transposed(self.normal(VOCABULARY, widths[0]))
        self.weights = {}

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def of_step(self, at, name, make):
        """The same weights whenever the graph is called."""
        if (at, name) not in self.weights:
            self.weights[at, name] = make()
        return self.weights[at, name]

    def __call__(self, twin, ids, places, wanted, cache, slots, fresh):
        choose = np.random.default_rng(self.seed)
        values = [twin.embedding(ids, places, self.tokens, self.places)]
        of_tokens, layer = True, 0
        for at, step in enumerate(self.steps):
            x = values[int(choose.integers(len(values)))]
            cols = x.shape[1]
            if step == "layer_norm":
                by = self.of_step(at, "norm", lambda n=cols: (self.normal(n), self.normal(n)))
                y = twin.layer_norm(x, *by)
            elif step == "rms_norm":
                part, runs = x[:, cols % 4 :] if cols > 4 else x, 4 if cols > 4 else 1  # its rows may lie apart
                width = part.shape[1] // runs
                y = twin.rms_norm(part, self.of_step(at, "rms", lambda n=width: self.normal(n)), 1e-5)
            elif step == "rotate" and of_tokens and cols > 1:
                part = x[:, cols % 2 :]
                pairs = part.shape[1] // 2 if cols % 3 else 1
                turns = self.of_step(at, "turns", lambda n=pairs: self.normal(64, n, 2))
                y = twin.rotate(part, places, turns, bool(at % 2))
            elif step == "matmul_times":
                gate, up = (self.of_step(at, name, lambda cols=cols: ops.pack(self.normal(cols, 512), self.dtype))
                            for name in ("gate", "up"))  # fmt: skip
                y = twin.matmul_times(x, up, None, twin.matmul_activated(x, gate, None, "silu"))
                y = y * y  # whose rows may lie apart: a product's do not
            elif step == "softmax":
                y = twin.softmax(x)
            elif step == "activate":
                y = getattr(twin, self.ACTIVATIONS[at % 6])(x)
            elif step in ("add", "multiply"):
                alike = [v for v in values if v.shape[1] == cols]
                y = (operator.add if step == "add" else operator.mul)(x, alike[int(choose.integers(len(alike)))])
            elif step == "columns":
                n = max(1, cols // 3)  # their rows lie apart
                by = self.of_step(at, "part", lambda n=n: ops.pack(self.normal(n, 24), self.dtype))
                y = twin.matmul(x[:, cols - n :], by, None)
            elif step == "attention" and of_tokens:
                n, group, window = self.heads * 8, 1 + at % 3, (0, 5, 40)[at // 3 % 3]
                qkv = self.of_step(at, "qkv", lambda n=(2 + group) * n, cols=cols: self.normal(cols, n))
                qkv = twin.matmul(x, self.of_step(at, "packed", lambda w=qkv: ops.pack(w, self.dtype)), None)
                keys, held, scales, *before = cache.of_layer(layer)
                past, layer = cache.held(slots), layer + 1
                twin.append(qkv[:, :n], qkv[:, n : 2 * n], keys, held, slots, past, fresh, scales)
                where = keys, held, slots, past, fresh
                y = twin.attention(qkv[:, 2 * n :], *where, 0.3, *before[:2], scales, before[2], window)
            elif step == "wanted" and of_tokens:
                values, of_tokens = [v[wanted] for v in values], False
                continue
            else:
                out = self.widths[at % len(self.widths)] if step != "matmul_residual" else cols
                if step not in ("matmul_residual", "matmul_activated"):
                    step = "matmul"
                by = self.of_step(at, "w", lambda n=out, cols=cols: ops.pack(self.normal(cols, n), self.dtype))
                bias = self.of_step(at, "b", lambda n=out: self.normal(n))
                if step == "matmul_residual":
                    y = twin.matmul_residual(x, by, bias, x)
                elif step == "matmul_activated":
                    y = twin.matmul_activated(x, by, None, self.ACTIVATIONS[at % 6])
                    y = y + y  # whose rows may lie apart: a sum's do not
                else:
                    y = twin.matmul(x, by, bias)
            values.append(y)
        return values[-1]


def cache_of(graph, tokens):
    of_tokens = graph.steps[: graph.steps.index("wanted")] if "wanted" in graph.steps else graph.steps
    return KVCache(ops, of_tokens.count("attention"), 3, graph.heads, 8, tokens)


def recorded(graph):
    program = ops.Program()
    numbers = [recorder.Numbers(program, name) for name in ("ids", "places", "wanted")]
    out = graph(recorder, *numbers, recorder.Cache(0), None, None)
    program.close(out.view)
    return program


def run(program, ids, slots, fresh, wanted, *caches, seconds=None):
    given_caches = [(c.lengths, c.keys, c.values, c.scales, c.before) for c in caches]
    return program.run(ids, slots, fresh, wanted, given_caches, seconds)


@given(
    seed=st.integers(0, 2**16),
    widths=st.lists(st.sampled_from([1, 7, 32, 48, 512]), min_size=1, max_size=3),
    steps=st.lists(st.sampled_from(Graph.STEPS), min_size=1, max_size=14),
    dtype=st.sampled_from(DTYPES),
    fresh=st.lists(st.integers(0, 20), min_size=1, max_size=3),
    data=st.data(),
)
def test_any_graph_has_the_same_bits_recorded_and_called(isa, seed, widths, steps, dtype, fresh, data):
    """Registers are shared by values in turns: one that was given away too early would show in the bits."""
    graph = Graph(seed, widths, steps, dtype)
    program = recorded(graph)
    caches = [cache_of(graph, 64), cache_of(graph, 64)]
    rng, slots, fresh = np.random.default_rng(seed), np.arange(len(fresh))[::-1].copy(), np.array(fresh)
    for _ in range(2):
        ids = rng.integers(0, VOCABULARY, fresh.sum())
        most = max(0, len(ids) - 1)
        wanted = np.array(data.draw(st.lists(st.integers(0, most), max_size=40 if len(ids) else 0)), np.int64)
        starts = caches[1].lengths[slots]
        places = np.concatenate([np.arange(n) + start for n, start in zip(fresh, starts, strict=True)])
        with np.errstate(over="ignore", invalid="ignore"):
            expected = graph(ops, ids, places, wanted, caches[1], slots, fresh)
        caches[1].lengths[slots] += fresh
        found = run(program, ids, slots, fresh, wanted, caches[0])
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(caches[0].lengths, caches[1].lengths)


@given(seed=st.integers(0, 2**16), dtype=st.sampled_from(DTYPES), pieces=st.lists(st.integers(1, 20), max_size=9))
def test_windows_and_groups_have_the_same_bits_behind_a_shared_prefix_and_however_a_text_is_cut(
    isa, threads, seed, dtype, pieces
):
    graph = Graph(seed, [48], ["rms_norm", "rotate", "rms_norm", "rotate", "attention", "matmul_times", "rotate",
                               "rms_norm", "attention"], dtype)  # fmt: skip
    program, rng, none = recorded(graph), np.random.default_rng(seed), np.empty(0, np.int64)
    ids, slot, held = rng.integers(0, VOCABULARY, 64), np.array([0]), 32
    whole = run(program, ids, slot, np.array([64]), none, KVCache(ops, 2, 1, graph.heads, 8, 64))
    prefix = KVCache(ops, 2, 1, graph.heads, 8, held)
    run(program, ids[:held], slot, np.array([held]), none, prefix)
    cache = KVCache(ops, 2, 1, graph.heads, 8, 64, prefix)
    cpu.set_threads(1 + seed % 4)
    for n in [*pieces, 64]:
        fresh = ids[held : held + n]
        np.testing.assert_array_equal(
            run(program, fresh, slot, np.array([len(fresh)]), none, cache), whole[held : held + n]
        )
        held += len(fresh)


def program_and_value(width=6):
    program = ops.Program()
    tokens = ops.pack_transposed(np.arange(4 * width, dtype=np.float32).reshape(4, width))
    return program, recorder.embedding(recorder.Numbers(program, "ids"), None, tokens, None)


DECISIONS = {
    "bool": bool, "not": operator.not_, "float": float, "int": int, "len": len, "list": list, "sum": sum, "max": max,
    "asarray": np.asarray, "exp": np.exp, "concatenate": lambda x: np.concatenate([x]), "less": lambda x: x < 1,
    "equal": lambda x: x == 0, "among": lambda x: x in [1, 2], "has": lambda x: 1 in x, "range": lambda x: range(x),
    "index": lambda x: [1, 2][x], "rows": lambda x: bool(x.shape[0]), "times": lambda x: 2 * x, "plus": lambda x: x + 1,
    "one row": lambda x: x[0], "some rows": lambda x: x[1:3], "every second column": lambda x: x[:, ::2],
    "array first": lambda x: np.ones(6, "f") * x, "hash": hash, "complex": complex,
    "write": lambda x: operator.iadd(x, x), "write a product": lambda x: operator.imul(x, x),
    "write rows": lambda x: operator.setitem(x, 0, x),
}  # fmt: skip


@pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)
def test_a_graph_that_decides_by_values_is_a_type_error(decide):
    _, x = program_and_value()
    with pytest.raises(TypeError):
        decide(x)


@pytest.mark.parametrize("what", [bool, np.asarray, lambda x: x > 0, lambda x: x.shape[0] > 3])
def test_the_words_say_that_numbers_are_not_known_yet(what):
    _, x = program_and_value()
    with pytest.raises(TypeError, match=r"Value \[tokens, 6\] are not known while a graph is recorded; a graph must"):
        what(x)


OUTSIDE = ("attention_weights", "chances", "digest", "distribution", "empty", "log_probabilities", "log_sum_exp",
           "pack", "pack_transposed", "packed", "packed_bytes", "philox", "sample", "to_float32", "top",
           "unpack")  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_operation_that_gives_no_activation_has_no_place_in_a_graph(name):
    with pytest.raises(TypeError, match=f"recorder: {name} has no place in a graph"):
        getattr(recorder, name)(1)


def weight(depth=6, cols=4):
    return ops.pack(np.ones((depth, cols), "f"))


def numbers(x, name):
    return recorder.Numbers(x.program, name)


def append(x, layer=0):
    held = recorder.Held(0, layer)
    recorder.append(x, x, held, held, None, None, None, held)


def attention(x, window=0):
    held = recorder.Held(0, 0)
    return recorder.attention(x, held, held, None, None, None, 1.0, None, None, held, None, window)


ones = np.ones
WRONG = {
    "depth": (lambda x: recorder.matmul(x, weight(5), None), r"matmul: x must be \[tokens, 5\], got \[tokens, 6\]"),
    "bias": (lambda x: recorder.matmul(x, weight(), ones(3, "f")),
             r"matmul: bias must be float32 \[4\], got float32 \[3\]"),
    "bias of two": (lambda x: recorder.matmul(x, weight(), ones((1, 4), "f")), r"matmul: bias must be float32 \[4\]"),
    "float64": (lambda x: recorder.matmul(x, weight(), ones(4)),
                r"matmul: weights must be float32 \[cols\], got float64 \[4\]; pass np"),
    "weight": (lambda x: recorder.matmul(x, ones((6, 4), "f"), None),
               "matmul: weight must be Packed, got ndarray; make it with"),
    "residual": (lambda x: recorder.matmul_residual(x, weight(), None, x),
                 r"matmul_residual: residual must be \[tokens, 4\], got \[tokens, 6\]"),
    "wanted rows": (lambda x: x + x[numbers(x, "wanted")], r"add: y must be \[tokens, 6\], got \[wanted, 6\]"),
    "wanted twice": (lambda x: x[numbers(x, "wanted")][numbers(x, "wanted")], "gather: x and the index must be"),
    "rows by ids": (lambda x: x[numbers(x, "ids")], r"gather: x and the index must be .* and wanted"),
    "name": (lambda x: x[numbers(x, "rows")], "indices must be some of ids, places, types, wanted, got 'rows'"),
    "activation": (lambda x: recorder.matmul_activated(x, weight(), None, "sin"),
                   "activation must be one of gelu_tanh"),
    "norm": (lambda x: recorder.layer_norm(x, ones(6, "f"), ones(5, "f")), r"layer_norm: bias must be float32 \[6\]"),
    "no norm": (lambda x: recorder.layer_norm(x, None, ones(6, "f")),
                r"layer_norm: weight must be float32 \[6\], got None"),
    "columns": (lambda x: recorder.softmax(x[:, 1:4]),
                "softmax: its operand must be a whole value of 6 columns, got 3 of them"),
    "no columns": (lambda x: recorder.matmul(x[:, 3:3], weight(), None), r"columns must be some of 0 \.\. 5"),
    "positions": (lambda x: recorder.embedding(numbers(x, "ids"), numbers(x, "places"), weight(), ones((3, 5), "f")),
                  r"embedding: positions must be float32 \[places, 6\], got float32 \[3, 5\]"),
    "ids": (lambda x: recorder.embedding(numbers(x, "wanted"), None, weight(), None),
            "embedding: ids must be of the tokens, got wanted"),
    "heads": (lambda x: append(x) or attention(x[:, :4]),
              r"attention: q must be \[tokens, n \* 6\], got \[tokens, 4\]"),
    "window": (lambda x: append(x) or attention(x, -1), r"attention: window must be 0 \(all tokens\) or more, got -1"),
    "factor": (lambda x: recorder.matmul_times(x, weight(), None, x),
               r"matmul_times: factor must be \[tokens, 4\], got \[tokens, 6\]"),
    "runs": (lambda x: recorder.rms_norm(x, ones(4, "f")),
             r"rms_norm: weight must be float32 \[width\], 6 being a multiple of it, got float32 \[4\]"),
    "turns": (lambda x: recorder.rotate(x, numbers(x, "places"), ones((9, 2, 2), "f")),
              r"rotate: turns must be float32 \[positions, pairs, 2\], 6 being a multiple .* got float32 \[9, 2, 2\]"),
    "no pairs": (lambda x: recorder.rotate(x, numbers(x, "places"), ones((9, 6), "f"), True),
                 r"rotate_interleaved: turns must be .* got float32 \[9, 6\]"),
    "places": (lambda x: recorder.rotate(x, numbers(x, "wanted"), ones((9, 3, 2), "f")),
               "rotate: places must be of the tokens, got wanted"),
    "layer": (lambda x: append(x, 1 << 20), "append: cache must be a number below 8 and a layer below 65536"),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "words"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_where_it_is_recorded(wrong, words):
    _, x = program_and_value()
    with pytest.raises((ValueError, TypeError), match=words):
        wrong(x)


def test_operands_are_values_of_one_program():
    _, x = program_and_value()
    _, y = program_and_value()
    with pytest.raises(ValueError, match="recorder: add takes values of one program"):
        x + y
    with pytest.raises(TypeError, match="recorder: matmul takes what is computed from the ids of a pass, got ndarray"):
        recorder.matmul(np.ones((2, 6), "f"), weight(), None)
    with pytest.raises(TypeError, match="recorder: append takes keys, values and scales of one layer"):
        recorder.append(x, x, np.ones(3), np.ones(3), None, None, None, None)


def test_a_program_runs_once_it_is_closed_and_takes_nothing_more_then():
    program, x = program_and_value()
    cache = KVCache(ops, 0, 1, 1, 8, 32)
    ids, one = np.array([2, 0]), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="program: it must be closed before it runs"):
        run(program, ids, one, np.array([2]), ids, cache)
    y = x + x
    with pytest.raises(ValueError, match="program: the result must be a whole value"):
        program.close(y[:, 1:].view)
    program.close(y.view)
    for more in (lambda: x + x, lambda: program.close(y.view)):
        with pytest.raises(ValueError, match=r"program: (operations are added before|it is closed)"):
            more()
    found = run(program, ids, one, np.array([2]), ids[:0], cache)  # the result has a row for each token
    np.testing.assert_array_equal(found, 2 * np.arange(24, dtype=np.float32).reshape(4, 6)[ids])


def test_what_is_refused_leaves_no_trace_in_the_program():
    program, x = program_and_value()
    with pytest.raises(ValueError, match=r"append: v must be \[tokens, 6\], got \[tokens, 2\]"):
        recorder.append(x, x[:, :2], *[recorder.Held(7, 3)] * 2, 0, 0, 0, recorder.Held(7, 3))
    program.close(x.view)  # a program without caches, as before
    cache, one = KVCache(ops, 0, 1, 1, 8, 32), np.array([1])
    np.testing.assert_array_equal(run(program, one, one - 1, one, one[:0], cache), [np.arange(6, 12)])


def test_turns_are_read_when_a_pass_needs_them_and_limit_its_places():
    program, x = program_and_value()
    turns = np.full((64, 3, 2), np.nan, np.float32)
    program.close(recorder.rotate(x, numbers(x, "places"), turns).view)
    turns[:2] = [0, 1]  # by 90 degrees; what comes later is not there yet
    cache, one = KVCache(ops, 0, 1, 1, 8, 96), np.array([1])
    assert run(program, np.array([0, 1]), one - 1, one + 1, one[:0], cache).tolist() == [
        [-3, -4, -5, 0, 1, 2], [-9, -10, -11, 6, 7, 8]]  # fmt: skip
    cache.lengths[:] = 64
    with pytest.raises(IndexError, match=r"rotate: places must be 0 \.\. 63, got 64 at 0"):
        run(program, one, one - 1, one, one[:0], cache)


def test_weights_without_rows_are_no_vector():
    _, x = program_and_value()
    none = np.empty((0, 6), np.float32)
    with pytest.raises(ValueError, match=r"layer_norm: weights must not be empty, got float32 \[0, 6\]"):
        recorder.layer_norm(x, none, none)
    with pytest.raises(ValueError, match=r"matmul: weights must not be empty, got float32 \[0, 6\]"):
        recorder.matmul(x, ops.pack(np.ones((6, 6), np.float32)), none)


def test_a_pass_is_refused_whole():
    program, x = program_and_value()
    program.close((x[recorder.Numbers(program, "wanted")]).view)
    cache = KVCache(ops, 0, 1, 1, 8, 32)
    good = {"ids": np.array([1, 2]), "slots": np.array([0]), "fresh": np.array([2]), "wanted": np.array([1])}
    for change, kind, words in (
        ({"ids": np.array([1, 4])}, IndexError, r"embedding: ids must be 0 \.\. 3, got 4 at 1"),
        ({"ids": np.array([1])}, ValueError, r"program: ids must be int64 \[2\], got int64 \[1\]"),
        ({"fresh": np.array([2**62])}, ValueError, r"program: ids must be int64 \[3\], got int64 \[2\]"),
        ({"fresh": np.array([-1])}, IndexError, r"program: fresh must be 0 or more, got -1 at 0"),
        ({"wanted": np.array([2])}, IndexError, r"model: rows must be 0 \.\. 1, got 2 at 0"),
        ({"slots": np.array([1])}, IndexError, r"program: slots must be 0 \.\. 0, got 1 at 0"),
    ):
        with pytest.raises(kind, match=words):
            run(program, *(good | change).values(), cache)
        assert cache.lengths.tolist() == [0]
    with pytest.raises(ValueError, match="program: caches must be 1, got 2"):
        run(program, *good.values(), cache, cache)
    np.testing.assert_array_equal(run(program, *good.values(), cache), np.arange(12, 18, dtype=np.float32)[None])


READERS = {
    "matmul": lambda twin, x, by, wanted: twin.matmul(x, by, None),
    "columns": lambda twin, x, by, wanted: twin.matmul(x[:, :6], weight(), None),
    "residual": lambda twin, x, by, wanted: twin.matmul_residual(x, by, None, x),
    "layer_norm": lambda twin, x, by, wanted: twin.layer_norm(x, np.full(512, 2, "f"), ones(512, "f")),
    "softmax": lambda twin, x, by, wanted: twin.softmax(x),
    "relu": lambda twin, x, by, wanted: twin.relu(x),
    "rows": lambda twin, x, by, wanted: x[wanted],
    "sum": lambda twin, x, by, wanted: x + x,
    "itself": lambda twin, x, by, wanted: x,
}  # fmt: skip


@pytest.mark.parametrize("tokens", [3, 20])
@pytest.mark.parametrize("first", READERS)
@pytest.mark.parametrize("second", ["matmul", "softmax"])
def test_rows_lie_apart_only_where_all_that_read_them_can_step_over_gaps(first, second, tokens):
    """From 16 rows on, matmul_activated lays rows of 512 numbers apart for the next matmul."""
    rng = np.random.default_rng(5)
    table = ops.pack_transposed(rng.standard_normal((9, 24)).astype(np.float32))
    up, square = (ops.pack(rng.standard_normal((depth, 512)).astype(np.float32)) for depth in (24, 512))

    def graph(twin, ids, wanted, close):
        x = close(twin.matmul_activated(twin.embedding(ids, None, table, None), up, None, "tanh"))
        return READERS[first](twin, x, square, wanted), READERS[second](twin, x, square, wanted)

    ids, wanted = rng.integers(0, 9, tokens), np.array([2, 0, 2])
    expected = graph(ops, ids, wanted, np.ascontiguousarray)
    for which in (0, 1):  # either may be the result
        program = ops.Program()
        numbers_of = [recorder.Numbers(program, name) for name in ("ids", "wanted")]
        program.close(graph(recorder, *numbers_of, lambda x: x)[which].view)
        found = run(program, ids, np.array([0]), np.array([tokens]), wanted, KVCache(ops, 0, 1, 1, 8, 32))
        np.testing.assert_array_equal(found, expected[which])


def test_layers_may_lie_in_caches_of_several_shapes():
    """Each cache has lengths and a prefix of its own; both go on by what is new."""
    rng = np.random.default_rng(3)
    tokens = ops.pack_transposed(rng.standard_normal((9, 48)).astype(np.float32))
    ids = rng.integers(0, 9, 40)

    def graph(twin, ids, caches, slots, fresh):
        x = twin.embedding(ids, None, tokens, None)
        for cache in caches:
            keys, values, scales, *before = cache.of_layer(0)
            past = cache.held(slots)
            twin.append(x, x, keys, values, slots, past, fresh, scales)
            x = twin.attention(x, keys, values, slots, past, fresh, 0.5, *before[:2], scales, before[2])
        return x

    program = ops.Program()
    program.close(graph(recorder, recorder.Numbers(program, "ids"), [recorder.Cache(0), recorder.Cache(1)], 0, 0).view)

    def caches():
        prefix = KVCache(ops, 1, 1, 6, 8, 32)
        fill = np.sin(np.arange(32 * 48, dtype=np.float32)).reshape(32, 48)
        ops.append(fill, fill, *prefix.of_layer(0)[:2], np.zeros(1, int), np.zeros(1, int), np.array([32]))
        prefix.lengths[:] = 32
        return KVCache(ops, 1, 2, 3, 16, 40, dtype="int8"), KVCache(ops, 1, 2, 6, 8, 80, prefix)

    mine, twins = caches(), caches()
    slots = np.array([1, 0])
    for fresh in (np.array([3, 5]), np.array([1, 1]), np.array([0, 7])):
        some, ids = ids[: fresh.sum()], ids[fresh.sum() :]
        expected = graph(ops, some, twins, slots, fresh)
        for cache in twins:
            cache.lengths[slots] += fresh
        np.testing.assert_array_equal(run(program, some, slots, fresh, some[:0], *mine), expected)
        for a, b in zip(mine, twins, strict=True):
            np.testing.assert_array_equal(a.lengths, b.lengths)


def test_a_program_tells_its_operations_and_times_each():
    program, x = program_and_value(8)
    matrix = ops.pack(np.ones((8, 5), "f"), "int8")
    y = recorder.matmul(recorder.tanh(x)[recorder.Numbers(program, "wanted")], matrix, None)
    program.close(y.view)
    assert program.operations() == [
        ("embedding", "tokens", 8, 0, 0), ("activate", "tokens", 8, 0, 0), ("gather", "wanted", 8, 0, 0),
        ("matmul", "wanted", 5, matrix.nbytes, 40)]  # fmt: skip
    assert len(program) == 4
    cache, ids, seconds = KVCache(ops, 0, 1, 1, 8, 600), np.zeros(300, np.int64), np.zeros(4)
    for _ in range(2):
        before = seconds.copy()
        run(program, ids, np.array([0]), np.array([300]), ids, cache, seconds=seconds)
        assert (seconds > before).any()
        assert (seconds >= before).all()
    assert seconds.sum() < 60
