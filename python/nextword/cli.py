"""The command `nextword`: arguments, terminal and exit codes. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from nextword import bench_cli, choose_cli, doctor_cli, generate_cli, next_cli, quantize_cli, score_cli, tokenize_cli

WELCOME = """\
nextword runs GPT-2-style language models on the CPU and lets you look inside.

Try:
  nextword generate "Once upon a time"    let the model tell on
  nextword next "Once upon a time there"  the most probable next words
  nextword doctor                         what the machine offers and what is used

`nextword COMMAND --help` explains a command; without --model all use the bundled demo model.
"""

EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPT, EXIT_PIPE = 1, 2, 130, 141  # the last two as a shell reports the signals


class Command(Protocol):
    """What the module of a command offers."""

    HELP: str  # what it does, in one phrase
    EXAMPLES: str  # shown below its flags

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Print what the arguments ask for and return the exit code; errors as `main` words them."""


COMMANDS: dict[str, Command] = {
    "generate": generate_cli,
    "next": next_cli,
    "choose": choose_cli,
    "score": score_cli,
    "tokenize": tokenize_cli,
    "doctor": doctor_cli,
    "bench": bench_cli,
    "quantize": quantize_cli,
}


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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nextword", description="GPT-2-style language models on the CPU.")
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    parser.set_defaults(run=welcome)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.HELP[0].upper() + command.HELP[1:] + ".",
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


class Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"nextword {version('nextword')}")
        parser.exit()


def welcome(_: argparse.Namespace) -> int:
    print(WELCOME, end="")
    return 0
