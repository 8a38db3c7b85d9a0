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
from nextword.arithmetic import recorder
from nextword.models import ARCHITECTURES, ENCODERS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CSRC, CMAKE = ROOT / "python" / "nextword", ROOT / "csrc", ROOT / "CMakeLists.txt"
PYTHON_FILES = sorted(PACKAGE.rglob("*.py"))
CPP_FILES = sorted(path for kind in ("*.h", "*.cpp") for path in CSRC.rglob(kind))

# Python: room -> rooms that it may import, itself not named. Arrows go up this list only.
ROOMS = {
    "machine": set(),
    "arithmetic": {"machine"},
    "files": {"machine", "arithmetic"},
    "text": {"machine", "files"},
    "models": {"machine", "arithmetic"},
    "decoding": {"machine", "arithmetic", "text", "models"},
    "inside": {"machine", "arithmetic", "text", "models", "decoding"},
    "tasks": {"machine", "arithmetic", "files", "text", "models", "decoding", "inside"},
    "page": {"machine", "arithmetic", "files", "text", "models", "decoding", "inside", "tasks"},
    "serve": {"machine", "arithmetic", "files", "text", "models", "decoding", "inside", "tasks", "page"},
    "cli": {"machine", "arithmetic", "files", "text", "models", "decoding", "inside", "tasks", "page", "serve"},
    "demo": set(),
}
# What may be imported from outside of the standard library beside numpy; extras only inside of functions.
LIBRARIES = {"files": {"safetensors", "huggingface_hub"}, "tasks": {"safetensors"}, "decoding": {"llguidance"},
             "inside": {"matplotlib"}, "page": {"anywidget", "starlette", "traitlets", "uvicorn"},
             "serve": {"uvicorn", "msgspec"}, "text": {"jinja2"}}  # fmt: skip
# A room may be an extra as a whole: its libraries are imported where its modules are, and it only inside of functions.
EXTRA_ROOMS = {"serve": {"msgspec", "uvicorn"}}

# C++: room -> rooms that it may include, itself not named. Arrows go up this list only.
CPP_ROOMS = {
    "simd": set(),
    "kernels": set(),
    "isa": {"simd", "kernels"},
    "machine": {"kernels"},
    "arithmetic": {"kernels", "machine"},
    "text": {"machine"},
    "bindings": {"kernels", "machine", "arithmetic", "text"},
}


def room_of(path, root):
    """The folder of a file, "" for what stands in none."""
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("rooms", [ROOMS, CPP_ROOMS], ids=["python", "cpp"])
def test_arrows_go_up_the_list_only(rooms):
    above = set()
    for room, may in rooms.items():
        assert may <= above, f"{room} may import {may - above}, which stand below it"
        above.add(room)


def test_every_folder_is_a_room():
    assert {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"} == set(ROOMS)
    assert {p.name for p in CSRC.iterdir()} == set(CPP_ROOMS)
    assert {room_of(path, PACKAGE) for path in PYTHON_FILES} <= {"", *ROOMS}
    assert [path.name for path in PYTHON_FILES if not room_of(path, PACKAGE)] == ["__init__.py", "__main__.py"]


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


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_python_imports_follow_the_arrows(path):
    me = room_of(path, PACKAGE)
    may = {me, *(ROOMS[me] if me else ROOMS)}
    for dotted, late in imports(path):
        top, _, inner = dotted.partition(".")
        if top == "nextword" and inner.split(".")[0] != "_core":  # the compiled core stands under all rooms
            room = inner.split(".")[0]
            public = room not in ROOMS and (me == "cli" or (me == "tasks" and late))  # a name of nextword itself
            assert room in may or public, f"{path.name} must not import {dotted}"


def test_no_module_imports_itself_in_a_circle():
    names = {".".join(("nextword", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in PYTHON_FILES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    arrows = {
        name: {next((n for n in (dotted, dotted.rpartition(".")[0]) if n in names), "nextword")
               for dotted, _ in imports(path)} - {name, "nextword"}
        for name, path in names.items()
    }  # fmt: skip

    def reach(name, seen):
        for other in arrows[name] - seen:
            seen |= {other}
            reach(other, seen)
        return seen

    assert [name for name in names if name in reach(name, set())] == []


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_numpy_and_safetensors_are_needed_at_import(path):
    for dotted, late in imports(path):
        top = dotted.split(".")[0]
        if top == "nextword" or top in sys.stdlib_module_names:
            continue
        assert top in {"numpy", *LIBRARIES.get(room_of(path, PACKAGE), ())}, f"{path.name} must not import {dotted}"
        own = EXTRA_ROOMS.get(room_of(path, PACKAGE), set())
        assert top in {"numpy", "safetensors", *own} or late, f"{path.name}: {dotted} is an extra; import it where used"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_that_are_extras_are_imported_inside_of_functions(path):
    for dotted, late in imports(path):
        room = ".".join(dotted.split(".")[1:2]) if dotted.startswith("nextword.") else ""
        if room in EXTRA_ROOMS and room != room_of(path, PACKAGE):
            assert late, f"{path.name}: {dotted} needs an extra; import it where it is used"


@pytest.mark.parametrize("room", ["arithmetic", "models"])
def test_models_and_what_they_stand_on_read_no_files(room):
    files = [path for path in PYTHON_FILES if room_of(path, PACKAGE) == room]
    assert files
    for path in files:
        tops = {dotted.split(".")[0] for dotted, _ in imports(path)}
        assert not tops & {"os", "io", "pathlib", "mmap", "json", "safetensors"}, path.name
        assert not re.search(r"\bopen\(", path.read_text(encoding="utf-8")), path.name


REGISTRY = PACKAGE / "models" / "__init__.py"
KINDS = (*ARCHITECTURES.values(), *ENCODERS.values())
ARCHITECTURE_FILES = {PACKAGE.joinpath(*one.__module__.split(".")[1:]).with_suffix(".py")
                      for made in KINDS for one in (made, made.Config)}  # fmt: skip
# What other formats' words stand for in architectures.
TRANSLATORS = {PACKAGE / "files" / name for name in ("gguf_names.py", "gguf_config.py")}
# What GPT-2, models of the Llama kind and encoders call themselves, their fields and their tensors. Other
# architectures' words come to these.
OWN_NAMES = re.compile(
    r"gpt-?2|\bn_(?:positions|ctx|embd|layer|head|inner)\b|\b(?:wte|wpe|ln_[12f]|c_attn|c_proj|c_fc|lm_head)\b"
    r"|\btransformer\.|\bmasked_bias\b"
    r"|llama(?!3|[_.]cpp)|mistral|qwen|\b(?:q|k|v|o|qkv|gate|up|down)_proj\b|\bself_attn\b|\bembed_tokens\b"
    r"|\b(?:input|post_attention)_layernorm\b|\bnum_(?:attention|key_value)_heads\b|\brms_norm_eps\b"
    r"|\b(?:distil|al)?bert\b|roberta|electra|mpnet|\b(?:word|position|token_type)_embeddings\b", re.I)
# Rooms in which such a word is another thing: encodings and patterns of text, hub ids and what help says of models.
SAID = {"text": {"gpt2", "gpt-2", "llama", "qwen", "bert", "distilbert", "roberta", "electra", "mpnet",
                 "albert"}, "files": {"gpt2"}, "cli": {"gpt2", "gpt-2", "llama"}}


def words(path):
    """(line, text) of each name and string of the code; comments and docstrings, where examples stand, are none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    with_docs = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, with_docs) and node.body and isinstance(node.body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value
        for field in ("id", "attr", "arg", "name", "module"):
            if isinstance(text := getattr(node, field, None), str):
                yield getattr(node, "lineno", 0), text


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_an_architectures_names_stand_in_its_file_alone(path):
    if path == REGISTRY:
        return
    if path in ARCHITECTURE_FILES | TRANSLATORS:
        assert any(OWN_NAMES.search(text) for _, text in words(path))
        return
    said = SAID.get(room_of(path, PACKAGE), set())
    found = {(line, name) for line, text in words(path) for name in OWN_NAMES.findall(text) if name.lower() not in said}
    assert found == set()


def test_no_other_room_names_an_architecture():
    named = {".".join(("nextword", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in ARCHITECTURE_FILES}
    classes = {one.__name__ for one in KINDS}
    for path in PYTHON_FILES:
        if path == REGISTRY:
            continue
        for dotted, _ in imports(path):
            if path in ARCHITECTURE_FILES and re.match(r"nextword\.models\.\w+_config\.", dotted):
                continue
            assert not any(dotted == one or dotted.startswith(f"{one}.") for one in named), f"{path}: {dotted}"
            assert dotted.rpartition(".")[2] not in classes, f"{path.name}: {dotted}"


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(CSRC)))
def test_cpp_includes_follow_the_arrows(path):
    me = room_of(path, CSRC)
    for name in re.findall(r'#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8")):
        near, far = path.parent / name, CSRC / name
        target = near if near.exists() else far
        assert target.exists(), f"{path.name} includes {name}, which is not in csrc"
        room = room_of(target.resolve(), CSRC)
        assert room == me or room in CPP_ROOMS[me], f"{path.name} must not include {name}"


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda p: str(p.relative_to(CSRC)))
def test_system_headers_stay_where_they_belong(path):
    system, me = set(re.findall(r"#\s*include\s+<([^>]+)>", path.read_text(encoding="utf-8"))), room_of(path, CSRC)
    if me in ("simd", "kernels", "isa"):
        # C++ headers bring inline functions, which the linker may take from the wrong instruction set.
        assert system <= {"stdint.h", "stddef.h", "math.h", "string.h", "float.h", "immintrin.h", "arm_neon.h"}
    if path.stem != "parallel":
        assert "omp.h" not in system
        assert "#pragma omp" not in path.read_text(encoding="utf-8")
    if me != "bindings":
        assert not any(name.startswith(("pybind11", "Python.h", "numpy")) for name in system)


def test_an_isa_file_includes_its_own_registers_and_all_kernels():
    for path in (CSRC / "isa").glob("*.cpp"):
        own = "generic" if path.stem == "baseline" else path.stem
        assert re.findall(r'#include "([^"]+)"', path.read_text()) == [f"simd/{own}.h", "kernels/all.h"]


# Twins


def functions(module):
    """Of each operation its signature: of what the module lists, or else of all that it defines."""
    found = inspect.getmembers(module, inspect.isfunction)
    listed = getattr(module, "__all__", [name for name, f in found if f.__module__ == module.__name__])
    return {name: inspect.signature(f) for name, f in found if name in listed and not name.startswith("_")}


@pytest.mark.parametrize("module", [reference, recorder], ids=lambda m: m.__name__)
def test_every_operation_has_a_twin_of_the_same_signature(module):
    mine, twin = functions(ops), functions(module)
    assert mine.keys() == twin.keys()
    assert set(ops.__all__) == {*mine, "Packed", "Program"}
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
        *((path, 350) for path in PYTHON_FILES),
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
        nodes = [] if room_of(path, PACKAGE) == "cli" else list(public(tree))
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


def test_dir_shows_what_users_may_name_and_nothing_else():
    assert dir(nextword) == sorted(nextword.__all__)
    assert len(set(nextword.__all__)) == len(nextword.__all__)


@pytest.mark.parametrize("name", ["cpu", "grammar", "ops", "reference", "rules", "sampling", "vectors"])
def test_modules_that_users_name_are_imported_by_their_short_names(name):
    code = f"import nextword.{name} as a; from nextword import {name} as b; raise SystemExit(a is not b)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_cpp_file_says_first_what_it_holds():
    silent = [
        str(p.relative_to(CSRC))
        for p in CPP_FILES
        if p.suffix == ".h" and not p.read_text(encoding="utf-8").startswith(("//", "/*"))
    ]
    assert silent == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"])
def test_files_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"[`( ]([\w.]+(?:/[\w.]+)+\.(?:py|h|cpp|sh|md|json))[`)]", text))
    assert named
    assert [n for n in sorted(named) if not any((root / n).exists() for root in (ROOT, PACKAGE, CSRC))] == []


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
