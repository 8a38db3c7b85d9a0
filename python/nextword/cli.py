"""The command `nextword`: arguments, terminal and exit codes. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from nextword import choose_cli, generate_cli, next_cli, score_cli, tokenize_cli
from nextword.arguments import add_model, load
from nextword.terminal import print_json

WELCOME = """\
nextword runs GPT-2-style language models on the CPU and lets you look inside.

Try:
  nextword generate "Once upon a time"    let the model tell on
  nextword next "Once upon a time there"  the most probable next words
  nextword doctor                         what the machine offers and what is used

`nextword COMMAND --help` explains a command; without --model all use the bundled demo model.
"""

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

    sub = command("generate", "continue a text, printed as it comes", generate_cli.EXAMPLES)
    generate_cli.add_arguments(sub)
    sub.set_defaults(run=run_generate)

    sub = command("next", "show the most probable next tokens as a table", next_cli.EXAMPLES)
    next_cli.add_arguments(sub)
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


# Commands


def welcome(_: argparse.Namespace) -> int:
    print(WELCOME, end="")
    return 0


def run_generate(args: argparse.Namespace) -> int:
    started = time.perf_counter()
    lm = load(args)
    return generate_cli.run(args, lm, time.perf_counter() - started)


def run_next(args: argparse.Namespace) -> int:
    return next_cli.run(args, load(args))


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

