"""The command `nextword`: arguments, terminal and exit codes. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from nextword.cli import (
    bench,
    chat,
    choose,
    classify,
    doctor,
    embed,
    explain,
    fill,
    generate,
    index,
    quantize,
    rerank,
    score,
    search,
    serve,
    similar,
    tag,
    tokenize,
)
from nextword.cli import next as next_word
from nextword.cli.startup import EXIT_INTERRUPT, leave
from nextword.cli.streams import give_up, standard_streams
from nextword.cli.usage import Parser, worded

WELCOME = """\
nextword runs language models on the CPU and lets you look inside.

Try:
  nextword generate "Once upon a time"    let the model tell on
  nextword next "Once upon a time there"  the most probable next words
  nextword doctor                         what the machine offers and what is used

`nextword COMMAND --help` explains a command; without --model all use the bundled demo model.
"""

EXIT_ERROR, EXIT_PIPE = 1, 141  # the second as a shell reports the signal; wrong usage exits with 2


class Command(Protocol):
    """What the module of a command offers."""

    HELP: str  # what it does, in one phrase
    EXAMPLES: str  # shown below its flags

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Print what the arguments ask for and return the exit code; errors as `main` words them."""


COMMANDS: dict[str, Command] = {
    "generate": generate,
    "next": next_word,
    "chat": chat,
    "choose": choose,
    "score": score,
    "tokenize": tokenize,
    "embed": embed,
    "similar": similar,
    "rerank": rerank,
    "classify": classify,
    "tag": tag,
    "fill": fill,
    "index": index,
    "search": search,
    "explain": explain,
    "serve": serve,
    "doctor": doctor,
    "bench": bench,
    "quantize": quantize,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 error, 130 Ctrl-C, 141 the reader went away.

    Wrong usage exits with 2. Errors of the user's making are one line on stderr, never a traceback.
    """
    with standard_streams():
        args = argparse.Namespace()
        try:
            try:
                args = build_parser().read(arguments)
            except SystemExit:  # help was printed, or what was wrong
                sys.stdout.flush()
                raise
            with ctrl_c_raises():
                code: int = args.run(args)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            give_up(sys.stdout)
            return EXIT_PIPE
        except KeyboardInterrupt:
            return EXIT_INTERRUPT
        except MemoryError as error:
            return fail(f"out of memory: {told(error, args)}" if str(error) else "out of memory")
        except RecursionError:
            return fail("what was given is nested too deeply")
        except (ValueError, OSError, ImportError) as error:
            return fail(told(error, args))
        except (IndexError, TypeError, OverflowError) as error:
            if not re.match(r"[A-Za-z][\w.]*: ", str(error)):  # one of the program's own, not of what was given
                raise
            return fail(told(error, args))


def told(error: Exception, args: argparse.Namespace) -> str:
    """The error in the words of the command line."""
    parser: Parser | None = getattr(args, "parser", None)
    return worded(error, parser.names(), parser.switches()) if parser else worded(error)


def fail(message: str) -> int:
    """Say what was wrong, after all that stdout still takes."""
    try:
        sys.stdout.flush()
    except OSError:
        give_up(sys.stdout)
    print("nextword: error:", " ".join(message.split()), file=sys.stderr)
    return EXIT_ERROR


@contextlib.contextmanager
def ctrl_c_raises() -> Iterator[None]:
    """In the process of the command: while it runs, Ctrl-C is a KeyboardInterrupt, so that it can end in good order."""
    watched = signal.getsignal(signal.SIGINT) is leave
    if watched:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if watched:
            signal.signal(signal.SIGINT, leave)


def build_parser() -> Parser:
    parser = Parser(prog="nextword", description="Language models on the CPU.",
                    epilog="exit codes: 0 done, 1 error, 2 wrong usage, 130 Ctrl-C, 141 the reader of the output left")
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    parser.set_defaults(run=welcome, parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=textwrap.fill(command.HELP[0].upper() + command.HELP[1:] + ".", 78),
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run, parser=sub)
    return parser


class Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"nextword {version('nextword')}")
        parser.exit()


def welcome(_: argparse.Namespace) -> int:
    print(WELCOME, end="")
    return 0
