"""tasks/chatting.py and conversation.py: answers to messages, and conversations that read of each turn what is new."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

import nextword
from chat_templates import HELLO
from nextword.models.passes import read
from nextword.tasks import session as session_module
from nextword.text.chat_template import TemplateError

SETTINGS = {"max_new_tokens": 6, "temperature": 1.0, "seed": 3}
OWN = ("{% for m in messages %}<|endoftext|>{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
       "{% if add_generation_prompt %}<|endoftext|>assistant\n{% endif %}{{ more }}")


@pytest.fixture(scope="module")
def lm():
    return nextword.load()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The demo with a template of its own."""
    pytest.importorskip("jinja2", reason='needs jinja2: pip install "nextword[chat]"')
    folder = tmp_path_factory.mktemp("own")
    for file in Path(nextword.DEMO).iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat_template.jinja").write_text(OWN)
    return nextword.load(folder)


def test_an_answer_is_the_continuation_of_what_the_plain_template_writes(lm):
    text = lm.chat_template.render(HELLO)
    right = lm.generate(text, **SETTINGS, stop=("\nUser:", "\nSystem:"))
    found = lm.chat(HELLO, **SETTINGS)
    assert (found.text, found.tokens, found.prompt_tokens) == (right.text, right.tokens, right.prompt_tokens)
    stream = lm.chat_stream(HELLO, **SETTINGS)
    assert "".join(stream) == found.text
    assert stream.result.tokens == found.tokens


def test_a_models_own_template_makes_special_tokens_and_reads_variables(own):
    ids = own.chat_ids(HELLO, more="x")
    assert ids == own.tokenizer.encode("<|endoftext|>user\nHello<|endoftext|>\n<|endoftext|>assistant\nx",
                                       allowed_special="all")
    assert own.chat(HELLO, variables={"more": "x"}, **SETTINGS).tokens == own.generate(ids, **SETTINGS).tokens
    assert copy.deepcopy(own).chat_template.source == OWN


@pytest.mark.parametrize("more", [{}, {"content": None}])
def test_a_message_without_content_is_named(lm, own, more):
    for one in (lm, own):
        with pytest.raises(ValueError, match=r"a message must have its content, .* that of role 'user' has none"):
            one.chat([{"role": "user", **more}])


def test_own_strings_end_an_answer_beside_the_templates(lm):
    text = lm.chat(HELLO, max_new_tokens=40, temperature=0).text
    middle = text[len(text) // 2 :][:4]
    for given in (middle, [middle]):
        assert lm.chat(HELLO, max_new_tokens=40, temperature=0, stop=given).text == text[: text.index(middle)]
    settings = nextword.Sampling(max_new_tokens=5, temperature=0, stop=middle)
    assert lm.chat_settings([1], {"sampling": settings})["stop"] == (middle, "\nUser:", "\nSystem:")
    assert "max_new_tokens" not in lm.chat_settings([1], {"sampling": settings})


def test_without_a_number_of_tokens_an_answer_may_fill_the_window(lm):
    assert lm.chat_settings([1] * 500, {})["max_new_tokens"] == 13
    found = lm.chat([{"role": "user", "content": "the king " * 240}], eos=None, stop=())
    assert len(found.prompt_tokens) + len(found.tokens) == 513  # the last token goes through no pass


def test_an_answer_ends_by_the_tokens_that_end_turns(own, tmp_path):
    for file in Path(own.source.path).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    name = own.tokenizer.decode([300])  # a token's text is no added token
    (tmp_path / "chat_template.jinja").write_text(f"{{{{ messages[0].content }}}}{name}<|im_end|>")
    assert nextword.load(tmp_path).chat_ends == own.ends
    config = json.loads((tmp_path / "config.json").read_text())
    config["eos_token_id"] = 5
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    changed = nextword.load(tmp_path)
    assert (changed.ends, changed.chat_ends) == ({5}, {0, 5})


def test_a_malformed_template_is_told_when_it_is_needed(tmp_path):
    for file in Path(nextword.DEMO).iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 5}')
    lm = nextword.load(tmp_path)
    with pytest.raises(TemplateError, match=r"^chat: .*tokenizer_config.json: chat_template must be a text"):
        lm.chat(HELLO)
    assert lm.generate("Once", max_new_tokens=1).tokens


def test_a_model_without_a_vocabulary_says_why(lm):
    bare = nextword.LanguageModel(lm.model)
    with pytest.raises(ValueError, match=r"^chat: messages need a vocabulary, which this model does not have"):
        bare.chat(HELLO)


def test_quantised_folders_keep_the_template(own, tmp_path):
    assert nextword.load(nextword.quantize(own.source.path, "int8", tmp_path / "q")).chat_template.source == OWN


# Conversations


@pytest.fixture(params=["plain", "own"])
def either(request, lm):
    return lm if request.param == "plain" else request.getfixturevalue("own")


def test_each_answer_is_that_of_all_messages_anew(either):
    talk = either.conversation("Be kind.")
    told = [{"role": "system", "content": "Be kind."}]
    for text in ("Who are you?", "And then?", "Why?"):
        told.append({"role": "user", "content": text})
        answer = "".join(talk.say(text, **SETTINGS))
        right = either.chat(told, **SETTINGS)
        assert (answer, talk.result.tokens) == (right.text, right.tokens)
        told.append({"role": "assistant", "content": answer})
        assert talk.messages == told[1:]


def test_a_turn_reads_only_what_is_new(lm, monkeypatch):
    passes = []
    monkeypatch.setattr(session_module, "read",
                        lambda model, ids, *more, **named: passes.append(len(ids)) or read(model, ids, *more, **named))
    talk = lm.conversation()
    "".join(talk.say("Tell me of the king and of the queen in the castle.", **SETTINGS))
    whole = len(talk.result.prompt_tokens)
    assert talk.fresh == whole
    "".join(talk.say("Why?", **SETTINGS))
    assert talk.fresh < 16 < whole
    assert sum(passes[1:]) <= talk.fresh


def test_what_has_no_room_is_left_out_a_few_at_once_and_counted(lm):
    talk = lm.conversation("Be kind.")
    cuts = set()
    for i in range(12):
        "".join(talk.say(f"{i} " + "the king " * 30, max_new_tokens=2, seed=1))
        cuts.add(talk.left_out)
        assert len(talk.result.prompt_tokens) + 1 <= lm.model.limit
        assert talk.messages[talk.left_out]["role"] == "user"
    assert len(talk.messages) == 24
    assert 1 < len(cuts) < 8  # not each turn
    answer = lm.chat([{"role": "system", "content": "Be kind."}, *talk.messages[talk.left_out : -1]],
                     max_new_tokens=2, seed=1)
    assert answer.tokens == talk.result.tokens
    before = list(talk.messages)
    with pytest.raises(ValueError, match=r"^chat: message must be at most 385 tokens"):
        next(talk.say("the king " * 400))
    with pytest.raises(ValueError, match=r"^chat: system must be at most 385 tokens"):
        next(lm.conversation("the king " * 400).say("Why?"))
    assert talk.messages == before
    assert "".join(talk.say("Why?", max_new_tokens=2))


def test_an_answer_that_is_left_stays_as_far_as_it_came(lm):
    talk = lm.conversation()
    pieces = talk.say("Who are you?", **SETTINGS)
    first = next(pieces)
    pieces.close()
    assert talk.messages[1] == {"role": "assistant", "content": first}
    assert talk.result is None
    told = [*talk.messages, {"role": "user", "content": "And then?"}]
    assert "".join(talk.say("And then?", **SETTINGS)) == lm.chat(told, **SETTINGS).text
    with pytest.raises(ValueError, match="temperature"):
        "".join(talk.say("Never said", temperature=-1))
    assert len(talk.messages) == 4


def test_it_is_saved_and_loaded(lm, tmp_path):
    talk, path = lm.conversation("Sei nett."), tmp_path / "talk.json"
    "".join(talk.say("Grüß dich", **SETTINGS))
    talk.save(path)
    other = lm.conversation()
    other.load(path)
    assert (other.system, other.messages) == (talk.system, talk.messages)
    assert "".join(other.say("Why?", **SETTINGS)) == "".join(talk.say("Why?", **SETTINGS))
    other.reset()
    assert (other.system, other.messages) == ("Sei nett.", [])


@pytest.mark.parametrize("content", [
    "", "{", "[]", '{"messages": 5}', '{"messages": [5]}', '{"messages": [{"role": "user"}]}', "[" * 10**5,
    '{"messages": [{"role": "tool", "content": "a"}]}', '{"messages": [{"role": "user", "content": 5}]}',
    '{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "a"}]}', '{"messages": {}}',
    '{"messages": ""}',
])  # fmt: skip
def test_a_file_of_something_else_changes_nothing(lm, tmp_path, content):
    talk = lm.conversation("Be kind.")
    talk.messages = [{"role": "user", "content": "a"}]
    (tmp_path / "talk.json").write_text(content)
    with pytest.raises(ValueError, match=r"^chat: .*talk.json must hold"):
        talk.load(tmp_path / "talk.json")
    assert (talk.system, talk.messages) == ("Be kind.", [{"role": "user", "content": "a"}])
