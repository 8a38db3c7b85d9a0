"""text/chat_files.py: the template that a folder has, in all its forms, and files that are wrong."""

from __future__ import annotations

import json

import pytest

from nextword.text.chat_files import LARGEST, Told, of_folder
from nextword.text.chat_template import TemplateError


def test_a_folder_without_one_has_none(tmp_path):
    assert of_folder(tmp_path) == Told(None, {})


def test_the_file_wins_and_tokens_have_their_names(tmp_path):
    config = {"chat_template": "old", "bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>",
              "pad_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert of_folder(tmp_path) == Told("old", {"bos_token": "<s>", "eos_token": "</s>"})
    (tmp_path / "chat_template.jinja").write_text("new")
    assert of_folder(tmp_path).source == "new"


def test_older_folders_name_their_tokens_in_a_file_of_its_own(tmp_path):
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": {"content": "<end>"}}')
    assert of_folder(tmp_path).tokens == {"eos_token": "<end>"}


@pytest.mark.parametrize(("config", "said"), [
    ("{", "is not JSON"), ("[]", "must hold a JSON object, got list"), ("[" * 10**5, "is not JSON"),
    ('{"chat_template": 5}', "chat_template must be a text"),
    ('{"chat_template": {"default": "a"}}', "chat_template must be a text"),
    ('{"chat_template": [5]}', "a list of objects with name"),
    ('{"chat_template": [{"name": "rag", "template": "a"}]}', "none of them is called 'default'"),
    ('{"chat_template": [{"name": "default"}]}', None),
    ('{"chat_template": "%s"}' % ("a" * (LARGEST + 1)), "got 1,048,577 characters"),
    ('{"eos_token": 5}', "eos_token must be a text or an object with content, got 5"),
    (b"\xff", "is not JSON"),
])  # fmt: skip
def test_a_malformed_file_is_one_error_that_names_it(tmp_path, config, said):
    (tmp_path / "tokenizer_config.json").write_bytes(config if isinstance(config, bytes) else config.encode())
    if said is None:
        assert of_folder(tmp_path).source is None
        return
    with pytest.raises(TemplateError, match=f"^chat: .*tokenizer_config.json.*{said}") as found:
        of_folder(tmp_path)
    assert len(str(found.value)) < 600


def test_a_template_file_that_is_no_text_is_said_so(tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"a\xff")
    with pytest.raises(TemplateError, match=r"chat_template.jinja is not UTF-8 text from byte 1 on"):
        of_folder(tmp_path)
