"""`nextword chat`: a conversation with a model in the terminal, or line by line through a pipe."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextword.cli.arguments import add_model, add_settings, load, place, read_settings
from nextword.cli.generate import note
from nextword.cli.terminal import progress, style
from nextword.cli.user_text import from_argument, said, stdin_lines
from nextword.decoding.sampling import new_seed

if TYPE_CHECKING:
    from nextword.tasks.conversation import Conversation

DEFAULTS = {"temperature": 0.8, "top_p": 0.95}
HELP = "talk with a model, which reads of each turn only what is new"
EXAMPLES = """examples:
  nextword chat                               the demo, which tells stories
  nextword chat /models/smollm2-instruct
  nextword chat --system "Answer in one sentence." --temperature 0
  printf '%s\\n' "Hello" "And then?" | nextword chat --seed 1

A line is a message; one that ends with \\ goes on in the next. /help tells
the commands. Ctrl-C stops an answer, and Ctrl-D ends the conversation.
Models without a template of their own get a plain one: User:, Assistant:.
Most templates need pip install "nextword[chat]"."""

ASKS = "> "
COMMANDS = """\
  /reset         forget what was said
  /system TEXT   tell the model TEXT before all; without TEXT, nothing
  /save FILE     write the messages to a file of JSON
  /load FILE     go on with the messages of such a file
  /exit          end, as Ctrl-D does
  //TEXT         say /TEXT"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword chat` takes."""
    parser.add_argument("model", nargs="?", metavar="MODEL", type=place, default=argparse.SUPPRESS,
                        help="the same as --model")
    add_model(parser)
    parser.add_argument("--system", metavar="TEXT", type=said, default="", help="tell the model TEXT before all")
    parser.add_argument("--message", metavar="TEXT", type=said, action="append", default=[],
                        help="say TEXT first, before what is typed (repeatable)")
    add_settings(parser, **DEFAULTS)


def run(args: argparse.Namespace) -> int:
    """Talk until the input ends; returns the exit code."""
    lm = load(args)
    conversation = lm.conversation(args.system)
    settings: dict[str, Any] = {"seed": new_seed(), **read_settings(args, **DEFAULTS)}
    template = lm.chat_template  # an error in it comes before the first question
    if _terminal():
        note(f"{'a plain template' if template.plain else 'the template of the model'}, a window of "
             f"{lm.model.limit:,} tokens, --seed {settings['seed']}; /help tells the commands")
    for text in itertools.chain(args.message, _messages(not args.message)):
        if not text.strip():
            continue
        try:
            if text.startswith("/") and not text.startswith("//"):
                if not _command(conversation, text):
                    break
                continue
            _answer(conversation, text.removeprefix("/") if text.startswith("//") else text, settings)
        except (ValueError, OSError) as error:
            if not _terminal() or isinstance(error, BrokenPipeError):
                raise
            print("nextword: error:", " ".join(str(error).split()), file=sys.stderr)
    return 0


def _terminal() -> bool:
    """Whether someone sits there: what is wrong is told, and the conversation goes on."""
    try:
        return bool(sys.stdin.isatty()) and bool(sys.stdout.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _messages(asked: bool) -> Iterator[str]:
    """What is typed or piped; a line that ends with a backslash goes on in the next. asked: see `stdin_lines`."""
    lines = _typed() if _terminal() else stdin_lines(asked)
    held = ""
    for line in lines:
        if line.endswith("\\"):
            held += line[:-1] + "\n"
            continue
        yield held + line
        held = ""
    if held:
        yield held


def _typed() -> Iterator[str]:
    """Lines with history and editing, where Python has them; Ctrl-C drops one."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - `input` uses it once it is there
    while True:
        try:
            yield from_argument(input(ASKS))
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            note("Ctrl-D ends the conversation")
        except ValueError as error:  # bytes that are no text
            print("nextword: error:", error, file=sys.stderr)


def _answer(conversation: Conversation, text: str, settings: dict[str, Any]) -> None:
    """Print the answer as it comes. Ctrl-C in a terminal stops it, and what there is of it stays."""
    before, turn = conversation.left_out, len(conversation.messages) // 2
    pieces = conversation.say(text, **{**settings, "row": settings.get("row", 0) + turn})
    shown, stopped = "", False
    try:
        with progress("reading"):
            first = next(pieces, "")
        for piece in itertools.chain([first], pieces):
            told = piece if shown else piece.lstrip()
            print(style(told, "36", sys.stdout), end="", flush=True)
            shown += told
    except KeyboardInterrupt:
        if not _terminal():
            raise
        stopped = True
        pieces.close()  # type: ignore[attr-defined]
    finally:
        print(flush=True)
    if conversation.left_out > before:
        print(f"nextword: the window of {conversation.lm.model.limit:,} tokens is full: the first "
              f"{conversation.left_out} messages are no longer read", file=sys.stderr)
    result = conversation.result
    if stopped:
        note("stopped")
    elif result is not None:
        read, new = len(result.prompt_tokens), len(result.tokens)
        note(f"{new} tokens, {result.timings.decode_tokens_per_second:.0f} tokens/s; {conversation.fresh} of {read} "
             f"read anew; {read + new:,} of {conversation.lm.model.limit:,} of the window")
        if result.finish_reason == "length" and "max_new_tokens" not in settings:
            print("nextword: the window is full, the answer ends", file=sys.stderr)


def _command(conversation: Conversation, text: str) -> bool:
    """Do what a line with a slash says; whether the conversation goes on."""
    name, _, given = text.partition(" ")
    given = given.strip()
    if name in ("/exit", "/quit"):
        return False
    if name == "/help":
        print(COMMANDS)
    elif name == "/reset":
        conversation.reset()
        note("forgotten")
    elif name == "/system":
        conversation.system = given
        note("the model is told it from now on" if given else "the model is told nothing before")
    elif name in ("/save", "/load"):
        if not given:
            raise ValueError(f"{name} needs a FILE")
        does: Callable[[Path], None] = conversation.save if name == "/save" else conversation.load
        does(Path(given).expanduser())
        note(f"{len(conversation.messages)} messages")
    else:
        raise ValueError(f"there is no {name[:40]}; /help tells the commands, and //TEXT says /TEXT")
    return True
