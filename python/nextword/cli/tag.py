"""`nextword tag`: the pieces of a text that have a label, such as names of persons and places."""

import argparse

from nextword.cli.terminal import print_json, printable
from nextword.cli.texts import add_encoder, add_texts, given_texts, load_encoder, noting

HELP = "find the pieces of texts that have a label, such as names"
EXAMPLES = """examples:
  nextword tag --model names-folder "Heidi lived in the Swiss Alps."
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword tag` takes."""
    add_encoder(parser, "the encoder, with a head of tags")
    add_texts(parser, several="the texts")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each text")


def run(args: argparse.Namespace) -> int:
    """Print the pieces with their places; returns the exit code. Raises ValueError and OSError for the user to read."""
    texts, encoder = given_texts(args), load_encoder(args)
    for text in texts:
        with noting():
            found = encoder.tag(text)
        if args.json:
            print_json(text=text, spans=[vars(one) for one in found])
            continue
        for one in found:
            print(f"{one.start:5} .. {one.end:<5} {one.label:12} {one.score:.3f}  {printable(one.text.encode())}")
    return 0
