"""The page from Python: a file of an Inside, a server beside the program, and what each refuses."""

import json
import re
import urllib.request
from urllib.parse import parse_qs

import pytest

import nextword
from nextword.inside.inside import Inside
from nextword.inside.rules import Value, Zero
from nextword.page.view import View, view_of

PROMPT = "Once upon a time there was a little"


def data_of(text):
    (found,) = re.findall(r'<script type="application/json" id="nextword-data">(.*?)</script>', text, re.S)
    return json.loads(found)


def test_html_is_the_file_of_the_command(lm, tmp_path):
    from nextword.page.single import document

    x = lm.inside(PROMPT)
    assert x.html(lang="de") == document(lm, PROMPT, lang="de")
    assert x.html(str(tmp_path / "a.html"), lang="de") is None
    assert (tmp_path / "a.html").read_text("utf-8") == x.html(lang="de")


def test_a_file_of_interventions_holds_the_run_before_and_the_run_after(lm):
    rules = [Zero("h.3.attn.z", heads=[2])]
    x = lm.inside(PROMPT, rules)
    data = data_of(x.html())
    (run,) = [one for call, one in data["answers"].items() if call.startswith("POST /api/run {")
              and one["run"] == data["run"]]
    assert run["interventions"] == [rule.to_json() for rule in rules]
    assert run["next"][0]["logit"] == float(x.logits[-1].max())
    plain = [call for call in data["answers"] if call.startswith("POST /api/run {") and '"interventions":[]' in call]
    assert len(plain) == 1
    assert parse_qs(data["view"])["off"] == [json.dumps(run["interventions"])]


def test_ids_are_the_text_that_gives_them_and_what_no_text_gives(lm):
    encode = lm.tokenizer.encode
    whole, parted = encode(PROMPT), [*encode("Once upon a time"), *encode(" th"), *encode("e")]
    assert view_of("html", lm, whole) == View(PROMPT)
    assert encode(lm.tokenizer.decode(parted)) != parted
    view = view_of("html", lm, parted)
    assert [*encode(view.prompt), *view.added] == parted
    assert view.added


@pytest.mark.parametrize(("ask", "error", "said"), [
    (lambda lm: lm.inside("a").html(lang="fr"), ValueError, "html: lang must be one of de, en, got 'fr'"),
    (lambda lm: lm.inside("a", [Value("wte", value=[0.5] * 256)] * 500).html(), ValueError,
     "html: interventions must take at most 524288 characters of JSON, got"),
    (lambda lm: lm.inside(lm.tokenizer.encode("😀")[1:]).html(), ValueError,
     "html: prompt must be ids that some text gives, got"),
    (lambda lm: nextword.explain_page(lm, 7), TypeError, "explain_page: prompt must be"),
    (lambda lm: nextword.explain_page(lm, "a " * 600), ValueError, "explain_page: prompt must be 1 .. 512 tokens"),
    (lambda lm: nextword.explain_page(lm, port=70000), ValueError, "explain_page: port must be 0 .. 65535, got 70000"),
    (lambda lm: nextword.explain_page(lm, compare=7), TypeError, "explain_page: compare must be a text, got 7"),
])
def test_what_is_wrong_is_one_clear_error(lm, ask, error, said):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")
    with pytest.raises(error, match=re.escape(said)):
        ask(lm)


def test_a_rule_that_json_cannot_hold_is_refused(lm):
    from nextword.models.tap import Rule

    class Own(Rule):
        name = "h.0.attn.z"

        def applied(self, name, x, rows, memory):
            return x

    with pytest.raises(ValueError, match=r"html: interventions must be rules of nextword\.inside\.rules"):
        Inside(lm, "a", [Own()]).html()


def test_a_model_without_a_vocabulary_says_so(lm):
    other = nextword.LanguageModel(lm.model, None)
    with pytest.raises(ValueError, match="html: the page needs a vocabulary, which this model does not have"):
        other.inside([1, 2]).html()


def test_explain_page_serves_beside_the_program_and_opens_the_browser(lm, monkeypatch):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")
    import webbrowser

    seen = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    with nextword.explain_page(lm, PROMPT, compare="The king", lang="de") as page:
        assert seen == [page.address]
        address, _, fragment = page.address.partition("#")
        assert {name: one for name, (one,) in parse_qs(fragment).items()} == {
            "key": page.key, "prompt": PROMPT, "prompt2": "The king", "lang": "de"}
        request = urllib.request.Request(f"{address}api/model", headers={"X-Nextword-Key": page.key})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            told = json.loads(answer.read())
        assert told["start"] == {"prompt": PROMPT, "compare": "The king", "lang": "de"}
    with pytest.raises(OSError, match="refused"):  # it has ended
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5)


def test_without_a_prompt_the_page_begins_with_its_own(lm):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")
    with nextword.explain_page(lm, open_browser=False) as page:
        assert page.address.endswith(f"#key={page.key}")


def test_a_port_that_is_taken_is_an_error(lm):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")
    with (nextword.explain_page(lm, open_browser=False) as page,
          pytest.raises(OSError, match=f"port {page.port} cannot be used")):
        nextword.explain_page(lm, port=page.port, open_browser=False)
