"""`nextword fill`: words for the gaps of a text, the most probable first, by a masked language model."""

import argparse

from nextword.cli.arguments import positive
from nextword.cli.terminal import print_json, printable
from nextword.cli.texts import add_encoder, load_encoder, noting
from nextword.cli.user_text import said

HELP = "find words for the gaps of a text, seen from both sides"
EXAMPLES = """examples:
  nextword fill --model masked-words-folder "The capital of France is [MASK]."
  nextword fill --model other-folder --top 3 "A <mask> ran after the cat."
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword fill` takes."""
    add_encoder(parser, "the encoder, with a head of masked words")
    parser.add_argument("text", metavar="TEXT", type=said,
                        help="the text, with the model's mask token, such as [MASK], in the place of each gap")
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="show the K best words of a gap (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the words of each gap; returns the exit code. Raises ValueError and OSError for the user to read."""
    encoder = load_encoder(args)
    with noting():
        found = encoder.fill_mask(args.text, args.top)
    if args.json:
        print_json(text=args.text, gaps=[[vars(one) for one in gap] for gap in found])
        return 0
    for number, gap in enumerate(found):
        if len(found) > 1:
            print(f"gap {number + 1}")
        for one in gap:
            print(f"{one.probability:8.4f}  {printable(one.token.encode()):16}  {printable(one.text.encode())}")
    return 0
