"""The shape of the code, as assertions: who imports whom, twins, exported symbols, sizes, flags, docstrings."""

from __future__ import annotations

import ast
import inspect
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nextword
from nextword import ops, reference

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CSRC, CMAKE = ROOT / "python" / "nextword", ROOT / "csrc", ROOT / "CMakeLists.txt"
PYTHON_FILES = sorted(PACKAGE.rglob("*.py"))
CPP_FILES = sorted(path for kind in ("*.h", "*.cpp") for path in CSRC.rglob(kind))

# Python: module -> modules of the package that it may import. A new module needs a row.
MAY_IMPORT = {
    "formats": set(),
    "digest": set(),
    "reference": {"digest", "formats"},
    "trace": set(),
    "settings": {"surrogates"},
    "stops": set(),
    "memory": {"cgroups"},
    "guard": set(),
    "texts": {"no_vocabulary", "settings", "surrogates", "tokenizer"},
    "defaults": {"models", "settings", "tokenizer"},
    "calls": {"defaults", "grammar", "layers", "memory", "models", "no_vocabulary", "row", "rules", "run", "settings",
              "texts", "tokenizer"},
    "searches": {"beams", "calls", "contrastive", "layers", "models", "results", "row", "settings", "texts"},
    "sampling": {"ops", "settings"},
    "rules": {"no_vocabulary", "settings"},
    "explain": {"ops", "rules", "sampling", "settings"},
    "results": {"explain"},
    "json_text": set(),
    "terminal": {"json_text"},
    "vectors": set(),
    "_core": set(),
    "cgroups": set(),
    "cpu": {"_core", "cgroups"},
    "machine": {"_core", "cpu"},
    "ops": {"_core"},
    "added_tokens": set(),
    "no_vocabulary": set(),
    "surrogates": set(),
    "files": set(),
    "tokenizer_files": {"_core", "files", "added_tokens", "normalizer"},
    "tokenizer_json": {"_core", "added_tokens", "tokenizer_files"},
    "tokenizer_folder": {"_core", "added_tokens", "files", "tokenizer_json"},
    "tokenizer": {"_core", "added_tokens", "normalizer", "surrogates", "tokenizer_files", "tokenizer_folder"},
    "normalizer": set(),
    "packed_file": {"formats"},
    "hub": set(),
    "weight_names": set(),
    "weights": {"files", "formats", "packed_file", "hub", "weight_names"},
    "quantized": {"files", "formats", "json_text", "models", "ops", "packed_file", "weights"},
    "layers": {"guard", "memory", "ops", "trace"},
    "models": {"formats", "layers", "ops", "trace", "models", "weight_names"},
    "beam_tree": set(),
    "search": {"models", "layers", "beam_tree", "settings"},
    "beams": {"memory", "ops", "models", "layers", "beam_tree", "search", "settings"},
    "contrastive": {"memory", "models", "layers", "beam_tree", "search", "settings", "trace"},
    "beginnings": {"layers"},
    "row": {"layers", "tokenizer", "ops", "settings", "rules", "sampling", "explain", "results", "grammar", "stops"},
    "speculation": {"formats", "models", "layers", "tokenizer", "sampling", "beginnings", "row"},
    "run": {"guard", "memory", "models", "layers", "explain", "results", "prefix", "beginnings", "row", "speculation",
            "trace"},
    "generate": {"", "calls", "choose", "defaults", "layers", "memory", "models", "no_vocabulary", "prefix", "results",
                 "run", "sampling", "score", "searches", "session", "settings", "speculation", "texts", "tokenizer"},
    "prefix": {"memory", "models", "layers"},
    "fingerprint": {"models", "ops", "tokenizer"},
    "session_file": {"files", "fingerprint", "models", "layers", "tokenizer"},
    "session": {"generate", "guard", "layers", "models", "prefix", "results", "row", "run", "session_file", "settings",
                "texts", "trace"},
    "startup": set(),
    "streams": set(),
    "user_text": {"terminal"},
    "usage": set(),
    "arguments": {"", "formats", "generate", "settings", "terminal", "user_text"},
    "generate_cli": {"", "arguments", "beam_tree", "generate", "explain", "results", "speculation", "terminal"},
    "next_cli": {"arguments", "ops", "sampling", "settings", "terminal"},
    "choose_cli": {"arguments", "terminal", "user_text"},
    "score_cli": {"arguments", "generate", "score", "terminal", "user_text"},
    "tokenize_cli": {"arguments", "tokenizer", "terminal", "user_text"},
    "doctor_cli": {"cpu", "terminal"},
    "bench_cli": {"", "arguments", "cpu", "formats", "generate", "machine", "models", "terminal"},
    "quantize_cli": {"", "arguments", "formats", "quantized", "terminal"},
    "cli": {"bench_cli", "choose_cli", "doctor_cli", "generate_cli", "next_cli", "quantize_cli", "score_cli",
            "tokenize_cli", "startup", "streams", "usage"},
    "grammar": {"schemas", "settings", "surrogates", "tokenizer"},
    "schemas": {"settings"},
    "score": {"defaults", "models", "layers", "sampling", "settings", "texts", "tokenizer"},
    "choose": {"defaults", "models", "sampling", "texts", "tokenizer"},
    "__main__": {"cli"},
    "": {"defaults", "formats", "cpu", "ops", "reference", "generate", "models", "prefix", "quantized", "settings",
         "results", "startup", "tokenizer", "trace", "weights", "_core"},
}
# What may be imported from outside of the standard library; extras only inside of functions.
LIBRARIES = {"weights": {"numpy", "safetensors"}, "hub": {"huggingface_hub"}, "grammar": {"numpy", "llguidance"},
             "session_file": {"numpy", "safetensors"}}

# Files that stand for one row: splitting text into words knows nothing of byte-pair encoding, which stands on it.
GROUPS = {"pretokenize": ("pretokenize", "unicode_", "byte_blocks"), "bpe": ("bpe", "byte_alphabet", "json")}

# C++: file, group, or folder with all of its files -> files, groups and folders that it may include.
MAY_INCLUDE = {
    "formats.h": set(),
    "kernels.h": {"formats.h"},
    "simd": {"simd"},
    "kernels": {"kernels.h", "formats.h", "kernels"},
    "isa": {"simd", "kernels/all.h"},
    "interrupt": set(),
    "shown": set(),
    "parallel": {"interrupt.h"},
    "cpu": {"kernels.h", "shown.h"},
    "machine": {"interrupt.h", "kernels.h", "formats.h", "packed.h", "cpu.h", "parallel.h"},
    "streaming": {"kernels.h", "packed.h", "cpu.h"},
    "encode": {"formats.h"},
    "digest": {"interrupt.h", "parallel.h"},
    "packed": {"formats.h", "encode.h", "interrupt.h", "parallel.h"},
    "pool": {"packed.h"},
    "ops": {"kernels.h", "formats.h", "encode.h", "packed.h", "cpu.h", "parallel.h", "pool.h",
            "streaming.h"},
    "attention": {"kernels.h", "formats.h", "cpu.h", "parallel.h", "pool.h"},
    "network": {"attention.h", "ops.h", "parallel.h", "pool.h"},
    "philox": set(),
    "draw": {"sampling.h"},
    "sampling": {"kernels.h", "cpu.h"},
    "pretokenize": {"pretokenize", "parallel.h", "shown.h"},
    "raw_buffer": set(),
    "utf8": set(),
    "bpe": {"bpe", "interrupt.h", "pretokenize.h", "unicode_chars.h", "parallel.h", "raw_buffer.h"},
    "bindings": {"kernels.h", "ops.h", "attention.h", "network.h", "sampling.h", "philox.h", "bpe", "pretokenize",
                 "cpu.h", "machine.h", "streaming.h", "digest.h", "formats.h", "encode.h", "packed.h", "interrupt.h",
                 "parallel.h", "pool.h", "raw_buffer.h", "shown.h", "utf8.h", "bindings"},
}


def module_of(path):
    """ "generate" for generate.py, "models" for all of models/, "" for the package itself."""
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imports(path):
    """(dotted name, whether inside of a function) of each import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in late


def inner_name(dotted):
    """The module of the package that an import names; "" if it is a name of nextword/__init__.py."""
    parts = dotted.split(".")[1:]
    return parts[0] if parts and parts[0] in MAY_IMPORT else ""


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_python_imports_follow_the_arrows(path):
    me = module_of(path)
    assert me in MAY_IMPORT, f"{path.name} needs a row in MAY_IMPORT"
    for dotted, _ in imports(path):
        if dotted.split(".")[0] == "nextword":
            assert inner_name(dotted) in MAY_IMPORT[me], f"{path.name} must not import {dotted}"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_numpy_and_safetensors_are_needed_at_import(path):
    for dotted, late in imports(path):
        top = dotted.split(".")[0]
        if top == "nextword" or top in sys.stdlib_module_names:
            continue
        assert top in LIBRARIES.get(module_of(path), {"numpy"}), f"{path.name} must not import {dotted}"
        assert top in ("numpy", "safetensors") or late, f"{path.name}: {dotted} is an extra; import it where it is used"


@pytest.mark.parametrize("name", ["models", "layers", "sampling", "trace", "reference"])
def test_models_and_what_they_stand_on_read_no_files(name):
    files = [path for path in PYTHON_FILES if module_of(path) == name]
    assert files
    for path in files:
        tops = {dotted.split(".")[0] for dotted, _ in imports(path)}
        assert not tops & {"os", "io", "pathlib", "mmap", "json", "safetensors"}, path.name
        assert not re.search(r"\bopen\(", path.read_text(encoding="utf-8")), path.name


def owner(path):
    """The row of MAY_INCLUDE that a C++ file belongs to."""
    parts = path.relative_to(CSRC).parts
    group = next((group for group, starts in GROUPS.items() if parts[0].startswith(starts)), path.stem)
    return parts[0] if len(parts) > 1 or parts[0] in MAY_INCLUDE else group


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(CSRC)))
def test_cpp_includes_follow_the_arrows(path):
    me = owner(path)
    assert me in MAY_INCLUDE, f"{path.name} needs a row in MAY_INCLUDE"
    for name in re.findall(r'#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8")):
        near, far = (path.parent / name).resolve(), (CSRC / name).resolve()
        target = near if near.exists() else far
        assert target.exists(), f"{path.name} includes {name}, which is not in csrc"
        inside = target.relative_to(CSRC)
        own = target.stem == path.stem and inside.parent == path.relative_to(CSRC).parent
        assert own or {str(inside), inside.parts[0], owner(target)} & MAY_INCLUDE[me], (
            f"{path.name} must not include {name}"
        )


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(CSRC)))
def test_system_headers_stay_where_they_belong(path):
    system, me = set(re.findall(r"#\s*include\s+<([^>]+)>", path.read_text(encoding="utf-8"))), owner(path)
    if me in ("simd", "kernels", "isa", "kernels.h", "formats.h"):
        # C++ headers bring inline functions, which the linker may take from the wrong instruction set.
        assert system <= {"stdint.h", "stddef.h", "math.h", "string.h", "float.h", "immintrin.h", "arm_neon.h"}
    if me != "parallel":
        assert "omp.h" not in system
        assert "#pragma omp" not in path.read_text(encoding="utf-8")
    if me != "bindings":
        assert not any(name.startswith(("pybind11", "Python.h", "numpy")) for name in system)


def test_an_isa_file_includes_its_own_registers_and_all_kernels():
    for path in (CSRC / "isa").glob("*.cpp"):
        own = "generic" if path.stem == "baseline" else path.stem
        assert re.findall(r'#include "([^"]+)"', path.read_text()) == [f"../simd/{own}.h", "../kernels/all.h"]


# Twins


def functions(module):
    return {
        name: inspect.signature(f)
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and not name.startswith("_")
    }


def test_every_operation_has_a_twin_of_the_same_signature():
    mine, twin = functions(ops), functions(reference)
    assert mine.keys() == twin.keys()
    assert set(ops.__all__) == {*mine, "Network", "Packed"}
    for name in mine:
        a, b = ([(p.name, p.kind, p.default) for p in s.parameters.values()] for s in (mine[name], twin[name]))
        assert a == b, name


# Symbols and flags


def isa_table():
    """{variant: its flags} for this processor, from the table in CMakeLists.txt."""
    text = CMAKE.read_text()
    flags = {
        name: value.strip('"').split()
        for name, value in re.findall(r"set\(isa_(\w+) ([^)]*)\)", text)
        if name != "files"
    }
    families = {"x86_64": ["avx2", "avx512"], "aarch64": ["neon"]}
    lines = [line.split() for line in re.findall(r"set\(variants ([^)]*)\)", text)]
    assert {"baseline", *(name for line in lines for name in line)} == set(flags)
    rows = next((line for line in lines if set(families.get(platform.machine(), [])) <= set(line)), [])
    return {name: flags[name] for name in [*rows, "baseline"]}


def test_every_isa_file_is_in_the_table():
    listed = set(re.findall(r"set\(isa_(\w+) ", CMAKE.read_text())) - {"files"}
    assert {path.stem for path in (CSRC / "isa").glob("*.cpp")} == listed


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("variant", isa_table())
def test_an_isa_object_exports_its_table_and_nothing_else(tmp_path, variant, level):
    """An inline function that it exported could replace the baseline's copy at link time. -O0 inlines nothing."""
    compiler = shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if not compiler or not shutil.which("nm"):
        pytest.skip("needs a C++ compiler and nm")
    out = tmp_path / "object.o"
    flags = ["-std=c++17", level, "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden"]
    source = CSRC / "isa" / f"{variant}.cpp"
    command = [compiler, *flags, *isa_table()[variant], f"-I{CSRC}", "-c", str(source), "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    table = subprocess.run(["nm", "-C", "--defined-only", str(out)], check=True, capture_output=True, text=True).stdout
    symbols = [line.split(maxsplit=2)[1:] for line in table.splitlines()]
    exported = [name for kind, name in symbols if kind.isupper() or kind in "uvw"]
    assert exported == [f"kernels_{variant}"]


def test_no_flag_reaches_the_whole_build_that_changes_what_numbers_are():
    code = "\n".join(line.split("#")[0] for line in CMAKE.read_text().splitlines())
    for flag in (
        "-ffast-math",
        "-Ofast",
        "-funsafe",
        "-flto",
        "INTERPROCEDURAL",
        "-mtune",
        "-ffp-contract=fast",
    ):
        assert flag not in code
    assert "-ffp-contract=off" in code
    outside = "\n".join(line for line in code.splitlines() if not line.strip().startswith("set(isa_"))
    assert not re.search(r"\s-m\w", outside)  # -march among them


# Sizes and texts


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(CSRC)))
def test_one_file_gives_up_the_interpreter_lock(path):
    """What takes it back elsewhere would abort where the interpreter has ended; see bindings/unlocked.h."""
    found = re.findall(r"gil_scoped_\w+|PyEval_(?:Save|Restore)Thread|PyGILState_\w+|Py_BEGIN_ALLOW_THREADS",
                       path.read_text(encoding="utf-8"))  # fmt: skip
    assert not found or path.name == "unlocked.h", found


@pytest.mark.parametrize(
    ("path", "ceiling"),
    [
        *((path, 400) for path in PYTHON_FILES),
        *((path, 500) for path in CPP_FILES),
        (CMAKE, 90),
    ],
    ids=lambda x: str(x.relative_to(ROOT)) if isinstance(x, Path) else str(x),
)
def test_a_file_stays_below_its_ceiling(path, ceiling):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= ceiling, f"{path.name} has {lines} lines; move a second concept out"


def test_everything_public_has_a_docstring():
    """Of modules with an __all__, what it lists; of the command line's modules, what each of them holds."""
    bare = []
    for path in PYTHON_FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = [] if module_of(path) in ("cli", "doctor_cli", "terminal") else list(public(tree))
        bare += [
            f"{path.name}: {getattr(node, 'name', 'the module')}"
            for node in [tree, *nodes]
            if not ast.get_docstring(node)
        ]
    assert bare == []


def public(tree):
    """Public functions and classes of a module, and their public methods; the bodies of @overload have no text."""
    lists = [ast.literal_eval(node.value) for node in tree.body
             if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"]  # fmt: skip
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            overload = any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
            if not overload and (not lists or node.name in lists[0]):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from public(node)


def test_the_names_that_users_rely_on_are_there():
    assert {"load", "trace", "ops", "reference", "cpu", "Tokenizer"} <= set(nextword.__all__)
    assert all(hasattr(nextword, name) for name in nextword.__all__)
    for name in ("variants", "set_isa", "threads", "set_threads", "isa"):
        assert callable(getattr(nextword.cpu, name))
    for name in ("config", "tokenizer", "model", "logits", "generate", "stream"):
        assert hasattr(nextword.load(), name)


def test_every_cpp_file_says_first_what_it_holds():
    silent = [
        str(p.relative_to(CSRC))
        for p in CPP_FILES
        if p.suffix == ".h" and not p.read_text(encoding="utf-8").startswith(("//", "/*"))
    ]
    assert silent == []


def test_tracked_files_name_no_place_of_one_machine():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    home = re.compile(rb"(?<![\w.~$}/])/(?:home|root|work|Users|mnt)/[\w.-]+")
    found = []
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file() and b"\0" not in (raw := path.read_bytes()):
            found += [f"{name}: {m.decode()}" for m in home.findall(raw)]
    assert found == []
