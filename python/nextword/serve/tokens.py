"""/tokenize, /detokenize and /tokenizer_info, in vLLM's shapes: what evaluations count tokens by."""

from __future__ import annotations

from nextword.serve import answers
from nextword.serve.bounds import TOKENIZED, TOKENS
from nextword.serve.errors import Refused, wrong
from nextword.serve.exchange import Exchange, aside
from nextword.serve.requests import DetokenizeRequest, TokenizeRequest
from nextword.serve.served import Served
from nextword.serve.state import State
from nextword.text.ids import text_of


async def tokenize(exchange: Exchange, state: State, asked: TokenizeRequest) -> None:
    """Ids of a text; names of special tokens stand for them."""
    if (asked.prompt is None) == (asked.messages is None):
        raise Refused(400, "prompt or messages must be given, and not both", "prompt", "missing_required_parameter")
    await exchange.answer(await aside(_tokens, state.model(asked.model), asked))


def _tokens(served: Served, asked: TokenizeRequest) -> answers.Tokens:
    adds, begun = asked.add_special_tokens is not False, True
    if asked.messages is None:
        ids = served.ids("prompt", asked.prompt or "", "all", False)
    else:
        ids = served.written(asked.messages, asked.add_generation_prompt is not False, False)
        begun = served.lm.chat_template.plain
    most = TOKENS if asked.return_token_strs else TOKENIZED
    if len(ids) > most:
        raise wrong("prompt" if asked.messages is None else "messages", f"at most {most} tokens", len(ids))
    if adds and begun and served.lm.tokenizer is not None:
        ids = [*served.lm.tokenizer.beginning, *ids]
    texts = [served.token(token) for token in ids] if asked.return_token_strs else None
    return answers.Tokens(len(ids), served.window, ids, texts)


def without_vocabulary(served: Served) -> str:
    """What is said of a model that has none, and why."""
    why = served.lm.no_tokenizer
    return f"the model has no vocabulary{why and f' ({why})'}"


async def detokenize(exchange: Exchange, state: State, asked: DetokenizeRequest) -> None:
    """The text of ids."""
    served = state.model(asked.model)
    if served.lm.tokenizer is None:
        raise Refused(400, without_vocabulary(served), "model", "no_vocabulary")
    if len(asked.tokens) > TOKENS:
        raise wrong("tokens", f"at most {TOKENS} ids", len(asked.tokens))
    tokenizer = served.tokenizer

    def text() -> str:
        return text_of(tokenizer, served.ids("tokens", asked.tokens, (), False))

    await exchange.answer(answers.Text(await aside(text)))


async def tokenizer_info(exchange: Exchange, state: State, asked: None) -> None:
    """What the tokenizer of the first model is."""
    served = state.model(None)
    tokenizer = served.lm.tokenizer
    if tokenizer is None:
        raise Refused(404, without_vocabulary(served), None, "no_vocabulary")
    template = served.lm.chat_template
    end, begin = (template.tokens.get(name) or None for name in ("eos_token", "bos_token"))
    await exchange.answer(answers.TokenizerInfo(type(tokenizer).__name__, len(tokenizer), served.window, end, begin,
                                                end, template.source))
