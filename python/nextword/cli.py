"""The command `nextword`: arguments, terminal and exit codes. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nextword import choose_cli, score_cli, tokenize_cli
from nextword.terminal import bar, columns, print_json, printable, progress, style

if TYPE_CHECKING:
    from nextword.generate import Generation, LanguageModel

WELCOME = """\
nextword runs GPT-2-style language models on the CPU and lets you look inside.

Try:
  nextword generate "Once upon a time"    let the model tell on
  nextword next "Once upon a time there"  the most probable next words
  nextword doctor                         what the machine offers and what is used

`nextword COMMAND --help` explains a command; without --model all use the bundled demo model.
"""

# `generate` without a prompt begins with one of these, in a language that the model's vocabulary suits.
OPENINGS = (
    "Once upon a time",
    "There was once a little girl who",
    "Long ago, in a house by the sea,",
    "Es war einmal",
    "Es war einmal ein König, der",
    "Vor langer Zeit lebte",
)

EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPT, EXIT_PIPE = 1, 2, 130, 141  # the last two as a shell reports the signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 error, 130 Ctrl-C, 141 the reader went away.

    Wrong usage exits with 2. Errors of the user's making are one line on stderr, never a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows "?" instead
    args = build_parser().parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # or Python complains again when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPT
    except MemoryError as error:
        return fail(f"out of memory {error}")
    except (ValueError, OSError, ImportError) as error:
        return fail(str(error) or type(error).__name__)


def fail(message: str) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print("nextword: error:", " ".join(message.split()), file=sys.stderr)
    return EXIT_ERROR


# Arguments


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nextword", description="GPT-2-style language models on the CPU.")
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    parser.set_defaults(run=welcome)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    def command(name: str, help: str, epilog: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    sub = command(
        "generate",
        "continue a text, printed as it comes",
        'examples:\n  nextword generate "Once upon a time"\n  nextword generate --temperature 0 Es war einmal\n'
        "  nextword generate --model openai-community/gpt2 - < opening.txt",
    )
    add_model(sub)
    sub.add_argument("prompt", nargs="*", help="the text to continue; - reads it from stdin; none picks an opening")
    sub.add_argument("--max-new-tokens", type=whole, default=120, metavar="N", help="at most so many tokens (120)")
    sub.add_argument(
        "--temperature", type=non_negative, default=0.8, metavar="T",
        help="0 takes the most probable token each time, 1 samples as the model says (0.8)",
    )  # fmt: skip
    sub.add_argument("--top-k", type=whole, default=0, metavar="K", help="sample from the K most probable; 0: all (0)")
    sub.add_argument(
        "--top-p", type=fraction, default=0.95, metavar="P",
        help="sample from the most probable tokens that together reach P (0.95)",
    )  # fmt: skip
    sub.add_argument("--seed", type=whole, metavar="N", help="the same seed gives the same text")
    sub.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT (repeatable)")
    sub.add_argument("--json", action="store_true", help="print one JSON object: text, tokens, timings and more")
    sub.set_defaults(run=run_generate)

    sub = command(
        "next", "show the most probable next tokens as a table", 'example:\n  nextword next "The cat sat on the"'
    )
    add_model(sub)
    sub.add_argument("prompt", nargs="*", help="the text; - reads it from stdin; none picks an opening")
    sub.add_argument("--top", type=positive, default=10, metavar="N", help="rows of the table (10)")
    sub.add_argument("--temperature", type=above_zero, default=1.0, metavar="T", help="divides the logits (1)")
    sub.add_argument("--json", action="store_true", help="print one JSON object")
    sub.set_defaults(run=run_next)

    sub = command(
        "choose",
        "say how probable each of several continuations is",
        'example:\n  nextword choose "The doctor said that" " he" " she" " they"',
    )
    add_model(sub)
    choose_cli.add_arguments(sub)
    sub.set_defaults(run=lambda args: choose_cli.run(args, load))

    sub = command(
        "score",
        "say how well the model foresees a text: perplexity and bits per byte",
        'examples:\n  nextword score story.txt\n  nextword score --tokens "The cat sat on the mat."',
    )
    add_model(sub)
    score_cli.add_arguments(sub)
    sub.set_defaults(run=lambda args: score_cli.run(args, load))

    sub = command(
        "tokenize",
        "show how a text is cut into tokens",
        'examples:\n  nextword tokenize "Once upon a time"\n  nextword tokenize --steps together',
    )
    add_model(sub, threads=False)
    tokenize_cli.add_arguments(sub)
    sub.set_defaults(run=run_tokenize)

    sub = command("doctor", "say what the machine offers, what is used and why", "")
    sub.add_argument("--json", action="store_true", help="print one JSON object")
    sub.set_defaults(run=run_doctor)
    return parser


class Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"nextword {version('nextword')}")
        parser.exit()


def add_model(parser: argparse.ArgumentParser, threads: bool = True) -> None:
    parser.add_argument("--model", metavar="PATH_OR_ID", help="a model folder, or a hub id such as gpt2 (the demo)")
    if threads:
        parser.add_argument("--threads", type=positive, metavar="N", help="threads to use (see `nextword doctor`)")


def number(text: str, kind: type[int] | type[float], low: float, high: float, wanted: str) -> Any:
    try:
        value = kind(text)
        if low <= value <= high:  # false for nan
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")


TINY, HUGE = 1e-6, 1e6


def whole(text: str) -> int:
    return int(number(text, int, 0, 2**63 - 1, "a whole number from 0"))


def positive(text: str) -> int:
    return int(number(text, int, 1, 2**31 - 1, "a whole number from 1"))


def non_negative(text: str) -> float:
    return float(number(text, float, 0, HUGE, "a number from 0"))


def above_zero(text: str) -> float:
    return float(number(text, float, TINY, HUGE, "a number above 0"))


def fraction(text: str) -> float:
    return float(number(text, float, TINY, 1, "a number above 0, at most 1"))


# Commands


def welcome(_: argparse.Namespace) -> int:
    print(WELCOME, end="")
    return 0


def run_generate(args: argparse.Namespace) -> int:
    started = time.perf_counter()
    lm = load(args)
    loaded = time.perf_counter() - started
    prompt = given_prompt(args.prompt, lm, args.seed)
    settings = {
        "max_new_tokens": args.max_new_tokens, "temperature": args.temperature, "top_k": args.top_k,
        "top_p": args.top_p, "seed": args.seed, "stop": tuple(args.stop), "on_overflow": "stop",
    }  # fmt: skip
    if args.json:
        with progress("generating"):
            out = lm.generate(prompt, **settings)
    else:
        out = stream_text(lm, prompt, settings)
    if args.json:
        timings = {
            "load_seconds": loaded,
            "prefill_seconds": out.timings.prefill_seconds,
            "decode_seconds": out.timings.decode_seconds,
            "prefill_tokens_per_second": out.timings.prefill_tokens_per_second,
            "decode_tokens_per_second": out.timings.decode_tokens_per_second,
        }
        print_json(
            prompt=prompt, text=out.text, tokens=out.tokens, prompt_tokens=out.prompt_tokens,
            finish_reason=out.finish_reason, seed=out.seed, timings=timings,
        )  # fmt: skip
    elif sys.stderr.isatty():
        speed = f"{out.timings.decode_tokens_per_second:.0f} tokens/s"
        note = f"{len(out.tokens)} tokens, {speed}" + (f", --seed {out.seed}" if args.temperature > 0 else "")
        print(style(f"[{note}]", "2", sys.stderr), file=sys.stderr)
    if out.finish_reason == "context":
        print(f"nextword: the context of {lm.config.n_positions} tokens is full, the text ends", file=sys.stderr)
    return 0


def stream_text(lm: LanguageModel, prompt: str | list[int], settings: dict[str, Any]) -> Generation:
    """Print the prompt and what follows it, piece by piece; after Ctrl-C the line is ended and the text kept."""
    stream = lm.stream(prompt, **settings)
    pieces = iter(stream)
    with progress("reading the prompt"):
        first = next(pieces, "")
    text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
    print(style(text, "1", sys.stdout), end="")
    try:
        for piece in itertools.chain([first], pieces):
            shown = piece if isinstance(piece, str) else f" {piece}"  # ids where the model has no vocabulary
            print(shown, end="", flush=True)
            text = shown or text
    finally:
        print(end="" if text.endswith("\n") else "\n", flush=True)
    return stream.result


def run_next(args: argparse.Namespace) -> int:
    import numpy as np

    lm = load(args)
    prompt = given_prompt(args.prompt, lm, None)
    ids = lm.tokenizer.encode(prompt) if lm.tokenizer is not None and isinstance(prompt, str) else prompt
    if not ids:
        raise ValueError("next: the prompt is empty; give at least one word")
    with progress("reading the prompt"):
        logits = lm.logits(ids, last_only=True).astype(np.float64) / args.temperature
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[: args.top]
    rows = [(int(token), f"'{token_text(lm, int(token))}'", float(shares[token])) for token in best]
    if args.json:
        found = [{"token": token, "text": decoded(lm, token), "probability": share} for token, _, share in rows]
        print_json(prompt=prompt, next=found)
        return 0
    print(style(prompt if isinstance(prompt, str) else " ".join(map(str, prompt)), "1", sys.stdout))
    for line in table(rows, len(shares), 1 - sum(share for *_, share in rows)):
        print(line)
    return 0


def table(rows: list[tuple[int, str, float]], vocabulary: int, rest: float) -> Iterator[str]:
    """The rows as lines with bars; the longest bar takes what the terminal's width leaves."""
    import shutil

    wide = max(columns(text) for _, text, _ in rows)
    room = max(8, min(40, shutil.get_terminal_size().columns - wide - 26))
    for token, text, share in rows:
        label = text + " " * (wide - columns(text))
        yield f"  {label}  {token:>6}  {share:7.2%}  {style(bar(share / rows[0][2], room), '36', sys.stdout)}".rstrip()
    if len(rows) < vocabulary:
        yield style(f"  the other {vocabulary - len(rows):,} tokens: {max(rest, 0):.2%}", "2", sys.stdout)


def run_tokenize(args: argparse.Namespace) -> int:
    if args.model is None:
        return tokenize_cli.run(args)
    if args.vocab or args.encoding:
        raise ValueError("tokenize: give one of --model, --vocab and --encoding")
    tokenizer = load(args).tokenizer
    if tokenizer is None:
        raise ValueError(f"tokenize: {args.model} holds no vocabulary (vocab.json and merges.txt, or tokenizer.json)")
    return tokenize_cli.run(args, tokenizer)


def run_doctor(args: argparse.Namespace) -> int:
    from nextword import doctor

    found = doctor.report()
    if args.json:
        print_json(**found)
    else:
        print(doctor.as_text(found))
    return 0


# Model and prompt


def load(args: argparse.Namespace) -> LanguageModel:
    import nextword

    with progress(f"loading {args.model or 'the demo model'}"):
        return nextword.load(args.model, threads=getattr(args, "threads", None))


def given_text(words: list[str]) -> str | None:
    """The words as one text, or what stdin holds for a lone `-`, or None."""
    if words == ["-"]:
        try:
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"stdin is not UTF-8 text from byte {error.start} on") from error
    if not words:
        return None
    text = " ".join(words)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # bytes of the command line that are not UTF-8
        raise ValueError(f"the text is not valid UTF-8 after {text[: error.start]!r}") from error
    return text


def given_prompt(words: list[str], lm: LanguageModel, seed: int | None) -> str | list[int]:
    """The prompt, or an opening that suits the model; token ids where the model has no vocabulary."""
    text = given_text(words)
    if lm.tokenizer is not None:
        return pick_opening(lm, seed) if text is None else text
    try:
        ids = [int(word) for word in (text or "").replace(",", " ").split()]
    except ValueError:
        ids = []
    size = lm.config.vocab_size
    if not ids or not 0 <= min(ids) <= max(ids) < size:
        raise ValueError(f"the model has no vocabulary: give the prompt as token ids 0 .. {size - 1}, such as 0 1 2")
    return ids


def pick_opening(lm: LanguageModel, seed: int | None) -> str:
    """A random opening, of those that the vocabulary cuts into few tokens: a sign that it knows the language."""
    import random

    def characters_per_token(text: str) -> float:
        return len(text) / max(1, len(lm.tokenizer.encode(text)))  # type: ignore[union-attr]

    best = max(map(characters_per_token, OPENINGS))
    return random.Random(seed).choice([text for text in OPENINGS if characters_per_token(text) > 0.6 * best])


def token_text(lm: LanguageModel, token: int) -> str:
    return str(token) if lm.tokenizer is None else printable(lm.tokenizer.decode_bytes([token]))


def decoded(lm: LanguageModel, token: int) -> str | None:
    return None if lm.tokenizer is None else lm.tokenizer.decode_bytes([token]).decode("utf-8", "replace")
