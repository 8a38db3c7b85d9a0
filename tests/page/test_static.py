"""The page's files as they lie: what is vendored is unmodified, modules are small, all languages have each text."""

import hashlib
import json
import re
from pathlib import Path

import pytest

import nextword
from nextword.page.files import files

tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")

STATIC = Path(nextword.__file__).parent / "page" / "static"
MODULES = sorted(STATIC.glob("*.js"))
TEXTS = {path.stem: json.loads(path.read_text("utf-8")) for path in (STATIC / "text").glob("*.json")}
# Bytes, uncompressed: what is loaded to show the first screen in one language; what a screen, a station or a tool adds
# to the start when it is opened; the cards of a tour.
FIRST, LATER, TOUR = 115_000, 35_000, 7_000
SCREENS = ["interventions", "words", "compare", "bench", "scale"]
STATIONS = ["tokens", "embedding", "attention", "mlp", "stream", "chance", "next_word"]


def vendored():
    record = tomllib.loads((STATIC / "vendor" / "vendor.toml").read_text("utf-8"))
    return [(name, one["sha256"]) for package in record["package"] for name, one in package["files"].items()]


@pytest.mark.parametrize(("name", "digest"), vendored())
def test_a_vendored_file_has_its_recorded_hash(name, digest):
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_every_vendored_file_is_recorded():
    lying = {path.name for path in (STATIC / "vendor").iterdir()} - {"vendor.toml"}
    assert lying == {name for name, _ in vendored()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_short_and_says_what_it_holds(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) < 200
    assert lines[0].startswith("// ")


def used_keys(modules=MODULES):
    """Keys of t("...") and prefixes of t(`...${x}`) in modules."""
    keys, prefixes = set(), set()
    for path in modules:
        source = path.read_text("utf-8")
        for call in re.findall(r"(?<![\w.])t\(((?:[^()]|\([^()]*\))*)", source):
            first = call.split(", {")[0]
            keys |= set(re.findall(r'"([a-z]+(?:\.[\w]+)*)"', first))
            prefixes |= set(re.findall(r"`([a-z.]+)\$\{", first))
    return keys, prefixes


def test_all_languages_have_the_same_keys_and_placeholders():
    assert set(TEXTS) == {"de", "en"}
    assert TEXTS["de"].keys() == TEXTS["en"].keys()
    for key, text in TEXTS["en"].items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", TEXTS["de"][key])), key


def test_every_text_that_a_module_asks_for_exists_and_none_is_left_over():
    keys, prefixes = used_keys()
    assert len(keys) > 100
    assert keys <= TEXTS["en"].keys()
    for prefix in prefixes:
        assert any(key.startswith(prefix) for key in TEXTS["en"]), prefix
    sources = "".join(path.read_text("utf-8") for path in MODULES)
    for key in TEXTS["en"]:
        said = f'"{key}"' in sources or any(key.startswith(prefix) for prefix in prefixes)
        assert said, f"{key} is asked for nowhere"


def test_the_server_s_error_codes_have_texts():
    from nextword.page.errors import CODES

    assert {f"error.{code}" for code in CODES} <= TEXTS["en"].keys()


def reached(name="main.js", seen=None):
    """The modules that are loaded at the start: static imports, followed."""
    seen = set() if seen is None else seen
    if name not in seen:
        seen.add(name)
        for other in re.findall(r'^import .* from "page/(.+)";', (STATIC / name).read_text("utf-8"), re.MULTILINE):
            reached(other, seen)
    return seen


def size(paths):
    return sum(path.stat().st_size for path in paths)


def modules(*names):
    return {STATIC / one for name in names for one in reached(f"{name}.js")}


def test_the_first_screen_is_light():
    always = [STATIC / "page.css", STATIC / "index.html", *(STATIC / "vendor").glob("*.mjs")]
    text = max(len(files()[f"text/{lang}/first.json"].data) for lang in TEXTS)
    assert size([*modules("main", "tokens"), *always]) + text <= FIRST


def test_the_two_parts_of_a_language_are_all_its_texts_and_the_first_screen_s_are_in_the_first():
    first, prefixes = used_keys(modules("main", "tokens"))
    for lang, texts in TEXTS.items():
        one, two = (json.loads(files()[f"text/{lang}/{part}.json"].data) for part in ("first", "later"))
        assert one | two == texts
        assert not one.keys() & two.keys()
        assert first <= one.keys()
        for prefix in prefixes:
            assert any(key.startswith(prefix) for key in one), prefix
            assert not any(key.startswith(prefix) for key in two), prefix


@pytest.mark.parametrize("name", [*SCREENS, *STATIONS, "inspector", "switches", "help", "tour"])
def test_what_is_opened_later_is_light_and_not_there_before(name):
    more = modules(name) - modules("main")
    assert STATIC / f"{name}.js" in more
    assert size(more) <= LATER


@pytest.mark.parametrize("path", sorted((STATIC / "tours").glob("*.json")), ids=lambda path: path.name)
def test_a_tour_is_light(path):
    assert size([path]) <= TOUR


def test_every_module_is_reached_from_the_start():
    seen = reached()
    while True:
        sources = [(STATIC / one).read_text("utf-8") for one in seen]
        later = {name for source in sources for name in re.findall(r'import\("page/(.+?)"\)', source)}
        more = set().union(seen, *(reached(name) for name in later))
        if more == seen:
            break
        seen = more
    assert seen == {path.name for path in MODULES}


def test_no_file_names_a_foreign_address():
    for path in [*MODULES, STATIC / "index.html", *STATIC.glob("*.css")]:
        assert not re.search(r"https?://|//cdn|@import|url\((?!data:)", path.read_text("utf-8")), path.name
