"""The page as one file: nothing in it reaches out, nothing in a prompt ends a script, its numbers are the library's."""

import base64
import html
import json
import re

import numpy as np
import pytest

import nextword
from nextword.cli.main import main
from nextword.page.files import files
from nextword.page.single import document, write

PROMPT = "Once upon a time there was a little"
HOSTILE = "</script><img src=x onerror=alert(1)> <!-- \u2028 &amp; ]]> ${x} \\u003c"


def data_of(text):
    """What stands in the file as the page reads it."""
    (found,) = re.findall(r'<script type="application/json" id="nextword-data">(.*?)</script>', text, re.S)
    return json.loads(found)


def run_of(data):
    """The answer of the run that the file shows."""
    (run,) = [found for call, found in data["answers"].items()
              if call.startswith("POST /api/run {") and found["run"] == data["run"]]
    return run


@pytest.fixture(scope="module")
def text(lm):
    return document(lm, PROMPT, lang="de")


def test_it_reaches_out_to_nothing(text):
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy == ["default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; "
                      "img-src data:; base-uri 'none'; form-action 'none'"]
    inside = r'<script type="(?:importmap|application/json)".*?</script>|<style>.*?</style>'
    outside = re.sub(inside, "", text, flags=re.S)
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", outside)
    assert not re.search(r"@import|url\((?!['\"]?data:)", "".join(re.findall(r"<style>.*?</style>", text, re.S)))


def test_its_modules_are_those_of_the_server_byte_for_byte(text):
    (found,) = re.findall(r'<script type="importmap">(.*?)</script>', text, re.S)
    imports = json.loads(found)["imports"]
    bodies = {name: base64.b64decode(url.removeprefix("data:text/javascript;base64,")) for name, url in imports.items()}
    for name, file in files().items():
        if name.endswith(".js"):
            assert bodies[f"page/{name}"] == file.data
        if name.endswith(".mjs"):
            assert file.data in bodies.values()
    for name, body in bodies.items():
        wanted = re.findall(rb"""(?:from|import\()\s*["']([^"']+)["']""", body)
        assert {one.decode() for one in wanted} <= set(imports), name


def test_its_numbers_are_the_librarys(lm, text):
    data, x = data_of(text), lm.inside(PROMPT)
    assert data["left_out"] == []
    for name, held in data["tensors"].items():
        values = np.frombuffer(base64.b64decode(held["base64"]), "<f4").reshape(held["shape"])
        assert held["dtype"] == "f32"
        assert np.array_equal(values, x[name][-1:] if name == "logits" else x[name])
    run = run_of(data)
    assert [np.float32(word["logit"]) for word in run["next"]] == [x.logits[-1][word["id"]] for word in run["next"]]


def test_without_javascript_tokens_lens_and_next_words_are_there(lm, text):
    body = re.search(r'<div id="app">(.*)</main></div>', text, re.S)[1]
    shown = html.unescape(re.sub(r"<[^>]+>", " ", body))
    for word in ("Once upon a time there was a little", "␣girl", "0.07275", "h.3.resid_post", "Next word"):
        assert word in shown
    assert body.count("<table>") == 3
    assert "<script" not in body


def test_no_prompt_ends_a_script_or_becomes_html(lm):
    text = document(lm, HOSTILE)
    assert "<img src=x" not in text
    assert text.count("<script") == text.count("</script>")
    assert not {"\u2028", "\u2029"} & set(re.search(r'nextword-data">(.*?)</script>', text, re.S)[1])
    data = data_of(text)
    assert run_of(data)["prompt"] == HOSTILE
    assert html.escape("</script><img") in text


def test_the_keys_of_answers_are_written_as_javascript_writes_them(lm):
    data = data_of(document(lm, 'a "ä"\n\u2028'))
    assert ('POST /api/run {"prompt":"a \\"ä\\"\\n\u2028","interventions":[],"lens":{"at":"resid_post",'
            '"positions":null,"top":5},"next":20}') in data["answers"]


def test_a_file_of_twelve_tokens_of_the_demo_is_below_three_megabytes(lm):
    ids = lm.tokenizer.encode(PROMPT + " girl who had")
    assert len(ids) == 12
    assert len(document(lm, PROMPT + " girl who had")) < 3e6


def test_a_long_prompt_leaves_out_what_has_no_room_and_says_so(lm):
    text = document(lm, "a " * 400)
    data = data_of(text)
    assert len(text) < 10e6
    assert data["left_out"]
    assert {held["dtype"] for name, held in data["tensors"].items() if name != "logits"} == {"f16"}


def test_two_prompts_stand_in_one_file(lm):
    data = data_of(document(lm, PROMPT, compare="The king"))
    runs = [found["prompt"] for call, found in data["answers"].items()
            if call.startswith("POST /api/run {") and not found["interventions"]]
    assert runs == [PROMPT, "The king"]
    assert data["answers"]["GET /api/model"]["start"] == {"prompt": PROMPT, "compare": "The king", "lang": None}


def test_the_command_writes_the_file_and_tells_its_size(tmp_path, capsys):
    out = tmp_path / "walk.html"
    assert main(["explain", "--lang", "en", "--out", str(out), "Once", "upon"]) == 0
    assert capsys.readouterr().out == f"{out}: {out.stat().st_size / 1e6:.1f} MB\n"
    assert data_of(out.read_text("utf-8"))["answers"]["GET /api/model"]["start"]["lang"] == "en"


@pytest.mark.parametrize(("arguments", "said"), [
    (["--out", "x.html"], "--out needs a prompt"), (["--out", "x.html", "a " * 600], "got 601"),
    (["--out", "nowhere/x.html", "a"], "nowhere"),
])
def test_what_is_wrong_is_one_clear_error(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_write_returns_the_bytes(lm, tmp_path):
    assert write(lm, "a", tmp_path / "a.html") == (tmp_path / "a.html").stat().st_size


def test_a_model_without_a_vocabulary_is_refused_with_the_reason(lm, tmp_path):
    bare = nextword.LanguageModel(lm.model)
    bare.no_tokenizer = "vocab.json is there, but not merges.txt"
    with pytest.raises(ValueError, match=r"^explain: the page needs a vocabulary, which .* \(vocab.json is there, but"):
        write(bare, "Once", tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()
