"""Templates of messages write what those of transformers write: texts, errors, and what a folder says of them."""

from __future__ import annotations

import json

import pytest

from chat_templates import HELLO, TALK, TEMPLATES
from nextword.text.chat_files import of_folder
from nextword.text.chat_template import ChatTemplate, TemplateError

pytest.importorskip("transformers", reason='needs transformers: pip install "nextword[parity]"')
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TOOL = {"type": "function", "function": {"name": "a<b", "description": "é", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def peer():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1}, unk_token="<s>"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, **TOKENS)


@pytest.mark.parametrize("generate", [True, False])
@pytest.mark.parametrize("messages", [HELLO, TALK, TALK[1:], TALK[2:]], ids=["hello", "talk", "turns", "answer"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_writes_what_transformers_writes(peer, name, messages, generate):
    from jinja2.exceptions import TemplateError as Refusal

    variables = {"tools": [TOOL], "enable_thinking": False} if name == "qwen3" else {}
    mine = ChatTemplate(TEMPLATES[name], TOKENS)

    def theirs():
        return peer.apply_chat_template(messages, chat_template=TEMPLATES[name], tokenize=False,
                                        add_generation_prompt=generate, **variables)

    if messages[0]["role"] == "assistant" and name in ("llama2", "mistral"):  # which want turns
        with pytest.raises(Refusal) as right:
            theirs()
        with pytest.raises(TemplateError) as refused:
            mine.render(messages, generate, **variables)
        assert str(refused.value).endswith(str(right.value))
        return
    assert mine.render(messages, generate, **variables) == theirs()


@pytest.mark.parametrize("source", [
    "{{ messages | tojson }}", "{{ messages | tojson(indent=2) }}", "{{ messages | tojson(sort_keys=true) }}",
    "{{ bos_token is defined }}{{ pad_token is defined }}{{ tools is none }}{{ documents }}",
    "{%- for m in messages %}\n  {{ m.name }}\n{% endfor %}\n", "{{ dict(a=1).items() | list }}",
    "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}\n\n",
    "{{ messages[0].content | upper | replace('E', 'x') | indent(2) }}", "{{ strftime_now('%Y') | int > 2000 }}",
])  # fmt: skip
def test_what_templates_may_use_gives_the_same(peer, source):
    messages = [{"role": "user", "content": "Hello\n<é> 'x'", "name": None}, *TALK]
    right = peer.apply_chat_template(messages, chat_template=source, tokenize=False)
    assert ChatTemplate(source, TOKENS).render(messages, False) == right


@pytest.mark.parametrize("form", ["field", "list", "file"])
def test_a_folder_says_what_transformers_reads_of_it(peer, tmp_path, form):
    peer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    if form == "file":
        (tmp_path / "chat_template.jinja").write_text(TEMPLATES["chatml"])
    else:
        config["chat_template"] = TEMPLATES["chatml"] if form == "field" else [
            {"name": "tool_use", "template": "no"}, {"name": "default", "template": TEMPLATES["chatml"]}]
    path.write_text(json.dumps(config))
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tmp_path)
    told = of_folder(tmp_path)
    assert {name: told.tokens[name] for name in TOKENS} == TOKENS
    assert ChatTemplate(*told).render(TALK) == theirs.apply_chat_template(TALK, tokenize=False,
                                                                          add_generation_prompt=True)
