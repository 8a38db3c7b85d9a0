"""A model that is served: its name, its engine, and texts as its token ids, checked against its window."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from nextword.decoding.defaults import first_tokens
from nextword.machine import cpu
from nextword.serve.errors import Refused
from nextword.serve.prompts import Given
from nextword.serve.requests import Message
from nextword.tasks.fingerprint import model_fingerprint
from nextword.tasks.language_model import LanguageModel
from nextword.text.chat_template import TemplateError
from nextword.text.ids import Special, token_ids, token_text
from nextword.text.no_vocabulary import NoVocabularyError
from nextword.text.tokenizer import Tokenizer


class Served:
    """A model under the name that requests give. engine: the thread that runs it for all of them."""

    def __init__(self, name: str, lm: LanguageModel, engine: Any) -> None:
        self.name, self.lm, self.engine, self.created = name, lm, engine, int(time.time())
        # What bits depend on: weights, number formats, instruction set, version.
        told = (model_fingerprint(lm.model), lm.model.kv_dtype, cpu.isa(), version("nextword"))
        self.fingerprint = "fp_" + hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    @property
    def window(self) -> int:
        """Tokens of prompt and text together."""
        return self.lm.model.limit

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises NoVocabularyError where the model has none."""
        if self.lm.tokenizer is None:
            raise NoVocabularyError("model: a text needs", "give token ids", self.lm.no_tokenizer)
        return self.lm.tokenizer

    def ids(self, param: str, given: Given, special: Special = (), begins: bool = True) -> list[int]:
        """A text's ids. begins: a text starts here, which the tokenizer may begin with ids of its own, and which has
        at least one token. Raises Refused that names the field."""
        lm = self.lm
        try:
            found = token_ids("tokens", param, given, lm.tokenizer, lm.model.vocabulary, special, begins)
            if begins:
                found = found or first_tokens("tokens", lm._defaults, lm.tokenizer, lm.model.vocabulary)
        except NoVocabularyError as error:
            told = NoVocabularyError(error.needs, error.way_out, lm.no_tokenizer)
            raise Refused(400, str(told), param, "no_vocabulary") from None
        except IndexError as error:
            hint = ("; ids of another vocabulary? LangChain's OpenAIEmbeddings sends those of cl100k unless "
                    "check_embedding_ctx_length=False" if param == "input" else "")
            raise Refused(400, f"{error}{hint}", param, "invalid_token_id") from None
        except ValueError as error:
            raise Refused(400, str(error), param, "invalid_value") from None
        return found

    def written(self, messages: Sequence[Message], generate: bool = True, begins: bool = True) -> list[int]:
        """The ids of the prompt that the model's template makes of messages. generate: with what begins an answer;
        begins: with what the tokenizer begins texts with, if the template leaves that to it. Raises Refused."""
        told = [{"role": one.role, "name": one.name, "content": one.text} for one in messages]
        try:
            template = self.lm.chat_template
            text = template.render(told, generate)
        except TemplateError as error:
            raise Refused(400, str(error), "messages", "template_error") from None
        return self.ids("messages", text, () if template.plain else "all", begins and template.plain)

    def fit(self, param: str, prompt: list[int], fresh: int) -> None:
        """Raises Refused "context_length_exceeded" for more than the window holds: the last token goes through no
        pass. fresh: new tokens at most."""
        if len(prompt) + max(0, fresh - 1) > self.window:
            raise Refused(400, f"the context window is {self.window} tokens; {param} has {len(prompt)}, and max_tokens "
                          f"is {fresh}; shorten one", param, "context_length_exceeded")

    def room(self, prompts: list[list[int]]) -> int:
        """New tokens that fit behind each of the prompts."""
        return max(1, self.window + 1 - max(map(len, prompts)))

    def token(self, token: int) -> str:
        """A token's text; one that is no text by itself as OpenAI writes it, by its bytes."""
        raw = self.bytes_of(token)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)

    def bytes_of(self, token: int) -> bytes:
        """A token's bytes; those of U+FFFD where the vocabulary does not have it."""
        tokenizer = self.lm.tokenizer
        if tokenizer is None:
            return f"token_id:{token}".encode()
        try:
            return tokenizer.decode_bytes([token])
        except IndexError:  # models pad their vocabulary
            return token_text(tokenizer, token).encode()
