"""`nextword classify`: the probability of each class of texts, such as their sentiment."""

import argparse

from nextword.cli.terminal import print_json, printable, progress
from nextword.cli.texts import add_encoder, add_texts, given_texts, load_encoder, noting

HELP = "say which class texts are of, such as their sentiment"
EXAMPLES = """examples:
  nextword classify --model sentiment-folder "A wonderful film." "Dull."
  nextword classify --model sentiment-folder --file reviews.csv --field review"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword classify` takes."""
    add_encoder(parser, "the encoder, with a head of classes")
    add_texts(parser, several="the texts")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each text")


def run(args: argparse.Namespace) -> int:
    """Print the classes; returns the exit code. Raises ValueError and OSError for the user to read."""
    texts, encoder = given_texts(args), load_encoder(args)
    with progress("classifying") as tell, noting():
        found = encoder.classify(texts, progress=tell)
    for text, chances in zip(texts, found, strict=True):
        if args.json:
            print_json(text=text, classes=chances)
        else:
            told = ", ".join(f"{label} {chance:.3f}" for label, chance in list(chances.items())[:3])
            print(f"{told}  {printable(text.encode())}")
    return 0
