"""What commands have in common: numbers, the settings of `Sampling` as flags, the model and the prompt."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextword.formats import DTYPES
from nextword.terminal import printable, progress

if TYPE_CHECKING:
    from nextword.generate import LanguageModel

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
    ("temperature", "T", "0 takes the most probable token each time, 1 samples as the model says"),
    ("top_k", "K", "sample from the K most probable tokens; 0: all"),
    ("top_p", "P", "sample from the most probable tokens that together reach P"),
    ("min_p", "P", "drop tokens below P times the most probable one's probability"),
    ("typical_p", "P", "sample from the tokens of most typical surprise that together reach P"),
    ("repetition_penalty", "X", "divide the logits of tokens that occurred by X; 1: off"),
    ("frequency_penalty", "X", "subtract X from a token's logit for each time that it was generated"),
    ("presence_penalty", "X", "subtract X from the logit of each token that was generated"),
    ("no_repeat_ngram_size", "N", "never repeat N tokens in a row; 0: off"),
    ("min_new_tokens", "N", "no end before N tokens"),
    ("max_new_tokens", "N", "at most so many tokens"),
    ("seed", "N", "the same seed gives the same text"),
    ("n", "N", "so many texts"),
    ("best_of", "N", "sample so many texts and keep the n most probable ones"),
    ("logprobs", "K", "with --json: log-probability of each token and of the K most probable ones"),
    ("num_beams", "N", "beam search with N beams instead of sampling"),
    ("num_beam_groups", "N", "diverse beam search: so many groups of beams"),
    ("diversity_penalty", "X", "subtract X for each earlier group that chose the same token"),
    ("penalty_alpha", "X", "contrastive search: how much likeness to what came before counts, 0 .. 1"),
    ("length_penalty", "X", "beam search: above 0 prefers longer texts, below 0 shorter ones"),
)


def add_settings(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """Add a flag for each field of `Sampling`. defaults: those of the command where it has its own."""
    group = parser.add_argument_group("how the next token is chosen (`Sampling` in Python; the same names)")
    for name, metavar, text in NUMBER_FLAGS:
        shown = f"{text} ({defaults[name]})" if name in defaults else text
        group.add_argument(flag(name), type=_setting(name), metavar=metavar, help=shown)
    group.add_argument("--uniform", action="store_true", default=None,
                       help="all tokens that the filters keep are equally probable")
    group.add_argument("--stop", action="append", metavar="TEXT", help="end before TEXT (repeatable)")
    group.add_argument("--bad-words", action="append", metavar="TEXT", help="never write TEXT (repeatable)")
    group.add_argument("--logit-bias", action="append", metavar="TEXT=X", type=_bias,
                       help='add X to the logit of a token: " cat=-5", or #262=-inf by its id (repeatable)')
    group.add_argument("--early-stopping", choices=["true", "false", "never"], help="when beam search ends (false)")
    group.add_argument("--regex", metavar="REGEX", help='the text must match (needs pip install "nextword[grammar]")')
    group.add_argument("--json-schema", metavar="FILE|JSON", help="the text must be JSON of this schema")


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
        from nextword.settings import INTEGERS, NUMBERS, OPTIONAL_INTEGERS

        if name in NUMBERS:
            low, high, wanted = NUMBERS[name]
            return float(number(text, float, low, high, wanted))
        least = {**INTEGERS, **OPTIONAL_INTEGERS}[name]
        return int(number(text, int, least, 2**64 - 1 if name == "seed" else 2**31 - 1, f"a whole number from {least}"))

    return convert


def _bias(text: str) -> tuple[str | int, float]:
    word, found, value = text.rpartition("=")
    try:
        if found and word:
            return (int(word[1:]) if word[0] == "#" and word[1:].isdigit() else word), float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected TEXT=NUMBER or #ID=NUMBER, got {text!r}")


def _schema(given: str) -> Any:
    text = given
    if not given.lstrip().startswith("{"):
        text = Path(given).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"--json-schema: {given!r} is neither JSON nor a file of it: {error}") from None


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
    """A converter for argparse: 1, 2, ..."""
    return int(number(text, int, 1, 2**31 - 1, "a whole number from 1"))


# Model and prompt


def add_model(parser: argparse.ArgumentParser, threads: bool = True) -> None:
    """Add --model, and for commands that run it --dtype, --threads and --kv-dtype."""
    parser.add_argument("--model", metavar="PATH_OR_ID", help="a model folder, or a hub id such as gpt2 (the demo)")
    if threads:
        parser.add_argument("--dtype", choices=DTYPES,
                            help="how weights are held: fewer bits are faster and less exact (float32; a folder of "
                                 "`nextword quantize` has its own)")
        parser.add_argument("--threads", type=positive, metavar="N", help="threads to use (see `nextword doctor`)")
        parser.add_argument("--kv-dtype", choices=["float32", "bfloat16", "int8"], default="float32",
                            help="how keys and values are held: shorter ones take less memory and time in long texts")


def load(args: argparse.Namespace) -> LanguageModel:
    """The model that --model, --dtype, --threads and --kv-dtype ask for."""
    import nextword

    with progress(f"loading {args.model or 'the demo model'}"):
        return nextword.load(args.model, getattr(args, "dtype", None), getattr(args, "threads", None),
                             getattr(args, "kv_dtype", "float32"))


def given_text(words: list[str]) -> str | None:
    """The words as one text, or what stdin holds for a lone `-`, or None."""
    if words == ["-"]:
        try:
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"stdin is not UTF-8 text from byte {error.start} on") from error
    return checked_text(" ".join(words)) if words else None


def checked_text(text: str) -> str:
    """The text itself. Raises ValueError where bytes of the command line are not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"the text is not valid UTF-8 after {text[: error.start]!r}") from error
    return text


def given_prompt(words: list[str], lm: LanguageModel, seed: int | None) -> str | list[int]:
    """The prompt, or an opening that suits the model; token ids where the model has no vocabulary."""
    text = given_text(words)
    if lm.tokenizer is not None:
        return pick_opening(lm, seed) if text is None else text
    return written_ids(text or "", "the prompt", lm)


def written_ids(text: str, what: str, lm: LanguageModel) -> list[int]:
    """Token ids that stand in the place of a text, for a model without a vocabulary. what: the text in an error."""
    try:
        ids = [int(word) for word in text.replace(",", " ").split()]
    except ValueError:
        ids = []
    size = lm.config.vocab_size
    if not ids or not 0 <= min(ids) <= max(ids) < size:
        why = f" ({lm.no_tokenizer})" if lm.no_tokenizer else ""
        raise ValueError(f"the model has no vocabulary{why}: give {what} as token ids 0 .. {size - 1}, such as 0 1 2")
    return ids


def pick_opening(lm: LanguageModel, seed: int | None) -> str:
    """A random opening, of those that the vocabulary cuts into few tokens: a sign that it knows the language."""
    import random

    def characters_per_token(text: str) -> float:
        return len(text) / max(1, len(lm.tokenizer.encode(text)))  # type: ignore[union-attr]

    best = max(map(characters_per_token, OPENINGS))
    return random.Random(seed).choice([text for text in OPENINGS if characters_per_token(text) > 0.6 * best])


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
