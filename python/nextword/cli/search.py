"""`nextword search`: the passages of an index that are nearest in meaning to a question, with file and line."""

import argparse
import os
import shutil
import sys
import textwrap

from nextword.cli.arguments import place, positive, thread_count
from nextword.cli.terminal import print_json, progress, style
from nextword.cli.texts import noting
from nextword.cli.user_text import given_text

HELP = "find the passages of an index that are nearest in meaning to a question"
EXAMPLES = """examples:
  nextword index notes/ --out notes.index --model all-MiniLM-L6-v2
  nextword search notes.index "what did we decide about prices?"
  nextword search notes.index --top 3 --json "holidays\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword search` takes."""
    parser.add_argument("index", metavar="INDEX", type=place, help="a file of `nextword index`")
    parser.add_argument("question", nargs="*", help="the question; - reads it from stdin")
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="show K passages (5)")
    parser.add_argument("--model", metavar="PATH_OR_ID", type=place,
                        help="the encoder that the index was made with, if it lies elsewhere now")
    parser.add_argument("--threads", type=thread_count, metavar="N", help="use N threads (see `nextword doctor`)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what was found, the nearest first; returns the exit code. Raises ValueError and OSError for the user."""
    import nextword
    from nextword.tasks.vector_index import VectorIndex

    question = given_text(args.question)
    if not question or not question.strip():
        raise ValueError("search: no question; give one behind the index")
    index = VectorIndex.open(args.index)
    model = args.model or index.model
    if model is None:
        raise ValueError("search: the index does not say which encoder it was made with; give --model")
    with progress(f"loading {model}"):
        encoder = nextword.load(model, index.held, args.threads, task="encode")
    with noting():
        found = index.search(encoder, question, args.top)
    if args.json:
        print_json(question=question, found=[one._asdict() for one in found])
        return 0
    wide = min(100, shutil.get_terminal_size().columns)
    for one in found:
        print(f"{one.score:6.3f}  {style(f'{_shown(one.file)}:{one.line}', '1', sys.stdout)}")
        text = " ".join(one.text.split())
        print(textwrap.indent("\n".join(textwrap.wrap(textwrap.shorten(text, 300, placeholder=" ..."), wide - 8)),
                              " " * 8))  # fmt: skip
    if not found:
        print("the index is empty")
    return 0


def _shown(path: str) -> str:
    """Relative to the folder one is in, if it lies below."""
    near = os.path.relpath(path)
    return path if near.startswith("..") else near
