"""What commands have in common: numbers, the settings of `Sampling` as flags, the model and the prompt."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextword.arithmetic.formats import DTYPES
from nextword.cli.terminal import printable, progress
from nextword.cli.user_text import ESCAPES, file_text, from_argument, given_text, unescaped

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel

# `generate` without a prompt begins with one of these, in a language that the model's vocabulary suits.
OPENINGS = (
    "Once upon a time",
    "There was once a little girl who",
    "Long ago, in a house by the sea,",
    "Es war einmal",
    "Es war einmal ein König, der",
    "Vor langer Zeit lebte",
)

# Flags for the fields of Sampling, in the order of its rules: name, metavar, help.
NUMBER_FLAGS = (
    ("temperature", "T", "sample with the logits divided by T: 1 as the model says; 0 takes the most probable token"),
    ("top_k", "K", "sample from the K most probable tokens; 0: all"),
    ("top_p", "P", "sample from the most probable tokens that together reach P"),
    ("min_p", "P", "drop tokens below P times the most probable one's probability"),
    ("typical_p", "P", "sample from the tokens of most typical surprise that together reach P"),
    ("repetition_penalty", "X", "divide the logits of tokens that occurred by X; 1: off"),
    ("frequency_penalty", "X", "subtract X from a token's logit for each time that it was generated"),
    ("presence_penalty", "X", "subtract X from the logit of each token that was generated"),
    ("no_repeat_ngram_size", "N", "never write N tokens in a row that occurred before; 0: off"),
    ("min_new_tokens", "N", "go on until there are N tokens at least"),
    ("max_new_tokens", "N", "write at most N tokens"),
    ("seed", "N", "draw the numbers of this seed: the same gives the same text"),
    ("row", "N", "draw as text N of several does, counted from 0: that text alone, with its --seed"),
    ("n", "N", "write N texts"),
    ("best_of", "N", "sample N texts and keep the --n most probable ones"),
    ("logprobs", "K", "with --json: log-probability of each token and of the K most probable ones"),
    ("prompt_logprobs", "K", "with --json: the same of each token of the prompt"),
    ("num_beams", "N", "beam search with N beams instead of sampling"),
    ("num_beam_groups", "N", "diverse beam search: divide the beams into N groups"),
    ("diversity_penalty", "X", "subtract X for each earlier group that chose the same token"),
    ("penalty_alpha", "X", "contrastive search: how much likeness to what came before counts, 0 .. 1"),
    ("length_penalty", "X", "beam search: above 0 prefers longer texts, below 0 shorter ones"),
)


def add_settings(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add a flag for each field of `Sampling`. defaults: those of the command where it has its own."""
    group = parser.add_argument_group("how the next token is chosen")
    for name, metavar, text in NUMBER_FLAGS:
        shown = f"{text} ({defaults[name]})" if name in defaults else text
        group.add_argument(flag(name), type=_setting(name), metavar=metavar, help=shown)
    group.add_argument("--uniform", action="store_true", default=None,
                       help="make all tokens that the filters keep equally probable")
    group.add_argument("--stop", action="append", metavar="TEXT", type=unescaped,
                       help=rf"end before TEXT; {ESCAPES} stand for characters, here and in the next two (repeatable)")
    group.add_argument("--bad-words", action="append", metavar="TEXT", type=unescaped,
                       help="forbid the tokens of TEXT in a row, as it is and with a blank before it; the same letters "
                            "in other tokens may still come (repeatable)")
    group.add_argument("--logit-bias", action="append", metavar="TEXT=X", type=_bias,
                       help='add X to the logit of a token: " cat=-5", or #262=-inf by its id (repeatable)')
    group.add_argument("--early-stopping", choices=["true", "false", "never"],
                       help="end beam search with as many finished texts as beams (true), once no better one is likely "
                            "(false, the default), or once none is possible (never)")
    group.add_argument("--regex", metavar="REGEX",
                       help='write only text that matches as a whole (needs pip install "nextword[grammar]")')
    group.add_argument("--json-schema", metavar="FILE|JSON",
                       help="write only JSON of this schema, given as such or in a file (needs the same)")


def read_settings(args: argparse.Namespace, **defaults: Any) -> dict[str, Any]:
    """The settings that were given, over the command's defaults."""
    names = [name for name, *_ in NUMBER_FLAGS] + ["uniform", "stop", "bad_words", "regex"]
    found = {**defaults, **{name: getattr(args, name) for name in names if getattr(args, name) is not None}}
    if args.logit_bias:
        found["logit_bias"] = dict(args.logit_bias)
    if args.early_stopping:
        found["early_stopping"] = {"true": True, "false": False, "never": "never"}[args.early_stopping]
    if args.json_schema:
        found["json_schema"] = _schema(args.json_schema)
    if found.get("num_beams", 1) > 1 or found.get("penalty_alpha"):
        for name in ("temperature", "top_p"):  # the command's defaults are for sampling
            if getattr(args, name) is None:
                found.pop(name, None)
    return found


def flag(name: str) -> str:
    """top_k -> --top-k"""
    return "--" + name.replace("_", "-")


def _setting(name: str) -> Any:
    """A converter for argparse that takes what `Sampling` takes."""

    def convert(text: str) -> int | float:
        from nextword.decoding.settings import INTEGERS, NUMBERS, OPTIONAL_INTEGERS

        if name in NUMBERS:
            low, high, wanted = NUMBERS[name]
            return float(number(text, float, low, high, wanted))
        least = {**INTEGERS, **OPTIONAL_INTEGERS}[name]
        most = 2**64 - 1 if name in ("seed", "row") else 2**31 - 1
        return int(number(text, int, least, most, f"a whole number from {least}"))

    return convert


def _bias(text: str) -> tuple[str | int, float]:
    word, found, value = text.rpartition("=")
    try:
        if found and word:
            named = word[0] == "#" and any(map(str.isdigit, word))  # by its id; "#" and "#a" are texts
            return int(word[1:]) if named else unescaped(word), float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected TEXT=NUMBER or #ID=NUMBER, got {text!r}")


def _schema(given: str) -> Any:
    try:
        text = from_argument(given) if given.lstrip().startswith("{") else file_text(Path(given))
        return json.loads(text)
    except OSError as error:
        raise ValueError(f"--json-schema: {given!r} is neither JSON that begins with a brace nor a file that can be "
                         f"read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"--json-schema: {given!r} is neither JSON nor a file of it: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--json-schema: {given!r} cannot be read: {error}") from None


def number(text: str, kind: type[int] | type[float], low: float, high: float, wanted: str) -> Any:
    """The number, or an error of argparse that says what was wanted."""
    try:
        value = kind(text)
        if low <= value <= high:  # false for nan
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")


def positive(text: str) -> int:
    """1, 2, ..."""
    return int(number(text, int, 1, 2**31 - 1, "a whole number from 1"))


def count(text: str) -> int:
    """0, 1, 2, ..."""
    return int(number(text, int, 0, 2**31 - 1, "a whole number from 0"))


def thread_count(text: str) -> int:
    """As many as the library takes."""
    return int(number(text, int, 1, 1024, "a whole number 1 .. 1024"))


def place(text: str) -> str:
    """A path, or the id of a model."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path or an id, got {text!r}")
    return text


# Model and prompt


def add_model(parser: argparse.ArgumentParser, threads: bool = True) -> None:
    """Add --model, and for commands that run it --dtype, --threads, --kv-dtype and --context."""
    parser.add_argument("--model", metavar="PATH_OR_ID", type=place,
                        help="use this model: a folder, a GGUF file, a hub id such as gpt2 or gpt2@REVISION, or "
                             "nextword:nano-sort, which sorts letters (the demo)")
    if threads:
        parser.add_argument("--dtype", choices=DTYPES,
                            help="hold the weights so: fewer bits are faster and less exact (float32; a folder of "
                                 "`nextword quantize` has its own, and of a GGUF file the nearest is taken)")
        parser.add_argument("--threads", type=thread_count, metavar="N", help="use N threads (see `nextword doctor`)")
        parser.add_argument("--kv-dtype", choices=["float32", "bfloat16", "int8"], default="float32",
                            help="hold keys and values so: shorter ones take less memory and time in long texts "
                                 "(float32)")
        add_context(parser)


def add_context(parser: argparse.ArgumentParser) -> None:
    """Add --context."""
    parser.add_argument("--context", type=positive, metavar="N",
                        help="let a text have N tokens at most, fewer than the model was made for, so that less memory "
                             "is reckoned with (all that it was made for)")


def add_prompt(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --model and its friends, the text, and --special. what: what the text is for."""
    add_model(parser)
    parser.add_argument("prompt", nargs="*",
                        help=f"the text{what}; - reads it from stdin, as no text does where stdin is no terminal; none "
                             "at all picks an opening")
    add_special(parser, "the text")


def add_special(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --special. what: the texts that it is about."""
    parser.add_argument("--special", action="store_true",
                        help=f"read special tokens such as <|endoftext|> in {what} as those tokens, not as their "
                             "letters")


def allowed_special(args: argparse.Namespace) -> dict[str, Any]:
    """What --special asks for, as an argument of the library."""
    return {"allowed_special": "all"} if args.special else {}


def load(args: argparse.Namespace) -> LanguageModel:
    """The model that --model, --dtype, --threads, --kv-dtype and --context ask for."""
    import nextword

    with progress(f"loading {args.model or 'the demo model'}"):
        return nextword.load(args.model, getattr(args, "dtype", None), getattr(args, "threads", None),
                             getattr(args, "kv_dtype", "float32"), context=getattr(args, "context", None),
                             task="generate")


def given_prompt(words: list[str], lm: LanguageModel, seed: int | None) -> str | list[int]:
    """The prompt, or an opening that suits the model; token ids where the model has no vocabulary."""
    text = given_text(words)
    if lm.tokenizer is not None:
        return pick_opening(lm, seed) if text is None else text
    return [] if text == "" else written_ids(text or "", "the prompt", lm)


def written_ids(text: str, what: str, lm: LanguageModel) -> list[int]:
    """Token ids that stand in the place of a text, for a model without a vocabulary. what: the text in an error."""
    try:
        ids = [int(word) for word in text.replace(",", " ").split()]
    except ValueError:
        ids = []
    size = lm.model.vocabulary
    if not ids or not 0 <= min(ids) <= max(ids) < size:
        why = f" ({lm.no_tokenizer})" if lm.no_tokenizer else ""
        raise ValueError(f"the model has no vocabulary{why}: give {what} as token ids 0 .. {size - 1}, such as 0 1 2")
    return ids


def pick_opening(lm: LanguageModel, seed: int | None) -> str:
    """A random opening, of those that the vocabulary cuts into few tokens: a sign that it knows the language."""
    import random

    def characters_per_token(text: str) -> float:
        try:
            return len(text) / max(1, len(lm.tokenizer.encode(text)))  # type: ignore[union-attr]
        except ValueError:  # it has no token for one of the bytes
            return 0.0

    best = max(map(characters_per_token, OPENINGS))
    good = [text for text in OPENINGS if characters_per_token(text) > 0.6 * best]
    return random.Random(seed).choice(good) if good else ""


def shown_prompt(prompt: str | list[int]) -> str:
    """The prompt as it is printed."""
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt))


def token_text(lm: LanguageModel, token: int) -> str:
    """A token for the eye: its number where it has no text."""
    found = _token_bytes(lm, token)
    return str(token) if found is None else printable(found)


def decoded(lm: LanguageModel, token: int) -> str | None:
    """A token's text, None where it has none."""
    found = _token_bytes(lm, token)
    return None if found is None else found.decode("utf-8", "replace")


def _token_bytes(lm: LanguageModel, token: int) -> bytes | None:
    try:
        return None if lm.tokenizer is None else lm.tokenizer.decode_bytes([token])
    except IndexError:  # models pad their vocabulary
        return None
