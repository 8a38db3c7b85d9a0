"""How the command line is read and how errors are worded: in flags, never in the names of Python arguments."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

EXIT_USAGE = 2
LONGEST = 200  # characters of what was given that a message repeats

# Operations of the library that commands call: an error begins with one, which tells a reader of it nothing.
OPERATIONS = ("chat", "sampling", "generate", "stream", "cache", "logits", "score", "choose", "load", "set_threads",
              "encode", "next", "tokenize", "quantize", "explain", "serve", "engine", "inside", "Grammar",
              "Tokenizer.from_encoding", "Tokenizer.load", "Tokenizer.encode", "Tokenizer.encode_with_offsets")
# Arguments of theirs whose flag has another name: where a command has the flag.
OTHER_NAMES = {"allowed_special": "--special", "count": "--threads", "name": "--encoding", "path": "--encodings-folder",
               "path_or_id": "--model", "out": "--out"}


class Parser(argparse.ArgumentParser):
    """Errors are a line that says what is wrong and one that says where help is; output that fails is an error."""

    def error(self, message: str) -> NoReturn:
        """Exit with the code of wrong usage."""
        self.exit(EXIT_USAGE, f"{self.prog}: error: {shortened(message)}\nTry '{self.prog} --help'.\n")

    def read(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The arguments, with `args.parser`: that of their command. Exits where one is unknown."""
        args, unknown = self.parse_known_args(arguments)
        if unknown:
            parser: Parser = args.parser
            first = unknown[0]
            if not first.startswith("-"):
                parser.error(f"unexpected argument {first!r}")
            flag = first.split("=")[0]
            parser.error(f"unknown flag {flag}{nearest(flag, parser._option_string_actions)}")
        return args

    def names(self) -> dict[str, str]:
        """What stands on the command line for each Python argument that it has: {"top_k": "--top-k"}."""
        found = {}
        for action in self._actions:
            if action.dest not in (argparse.SUPPRESS, "help"):
                found[action.dest] = max(action.option_strings, key=len, default=f"the {action.dest}")
        flags = set(found.values())
        return {**{name: flag for name, flag in OTHER_NAMES.items() if flag in flags}, **found}

    def switches(self) -> set[str]:
        """The flags that take no value."""
        return {flag for action in self._actions if action.nargs == 0 for flag in action.option_strings}

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            near = nearest(value, action.choices)
            self.error(f"there is no command {value!r}{near or '; there are ' + ', '.join(action.choices)}")
        raise argparse.ArgumentError(action, f"expected one of {', '.join(map(str, action.choices))}, got {value!r}")

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            (file or sys.stderr).write(message)


def nearest(name: str, names: Iterable[str]) -> str:
    """What to say of the name that comes nearest; nothing where none is near."""
    found = difflib.get_close_matches(name, list(names), 1)
    return f", did you mean {found[0]}?" if found else ""


def worded(error: BaseException, names: Mapping[str, str] | None = None, switches: Iterable[str] = ()) -> str:
    """One line that tells a user of the command line what was wrong.

    names: what stands there for a Python argument. `name=value` becomes the flag with its value; so does a name that
    must be or needs something, and `n` or one with an underscore anywhere. What stands in quotes stays as it is.

    >>> worded(ValueError("sampling: top_k must be at most n, got 3; or pass kv_dtype='int8'"),
    ...        {"top_k": "--top-k", "n": "--n", "kv_dtype": "--kv-dtype"})
    '--top-k must be at most --n, got 3; or pass --kv-dtype int8'
    """
    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        name = error.filename
        message = f"{os.fsdecode(name)}: {error.strerror}" if isinstance(name, str | bytes) else error.strerror
    for operation in OPERATIONS:
        message = message.removeprefix(f"{operation}: ")
    given, off = dict(names or {}), set(switches)

    def flag(found: re.Match[str]) -> str:
        if found["quoted"]:
            return shortened(found[0])
        name = found["name"] or found["word"]
        if name not in given:
            return found[0]
        shown, value = given[name], found["value"] if found["name"] else found["literal"]
        if value in ("None", "False"):
            return f"no {shown}"
        if value is not None:
            return shown if shown in off or value == "True" or not value else f"{shown} {_bare(value)}"
        return shown if found.start() == 0 or found["must"] is not None or "_" in name or len(name) == 1 else found[0]

    return " ".join(shortened(_NAMES.sub(flag, message), 10 * LONGEST).split())


_QUOTED = r"""(?<!\w)(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')(?!\w)"""
_NAMES = re.compile(
    rf"""(?<![^\s(])(?P<name>[a-z]\w*)=(?P<value>{_QUOTED}|[^\s,;:()]*)"""
    rf"""|(?P<quoted>{_QUOTED})"""
    r"""|(?<![^\s(])(?P<word>[a-z]\w*)(?![\w/=]|[.'-]\w)(?:[ ](?P<literal>None|True|False)\b)?"""
    r"""(?=(?P<must>[ ](?:must|needs?)\b)?)""")


def _bare(value: str) -> str:
    """A string of Python as a shell has it."""
    return value[1:-1] if re.fullmatch(r"""(["'])[\w.-]+\1""", value) else value


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning and end where it is long.

    >>> shortened("abcdefghij", 8)
    'a ... j'
    """
    if len(text) <= longest:
        return text
    each = (longest - 5) // 2
    return f"{text[:each]} ... {text[-each:]}"
