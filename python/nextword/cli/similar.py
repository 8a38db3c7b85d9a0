"""`nextword similar`: texts by how near they are in meaning to another one, the cosine of their vectors."""

import argparse

from nextword.cli.arguments import positive
from nextword.cli.terminal import print_json, printable, progress
from nextword.cli.texts import add_encoder, add_texts, given_texts, load_encoder, noting
from nextword.cli.user_text import said

HELP = "say which texts are nearest in meaning to another one"
EXAMPLES = """examples:
  nextword similar --model all-MiniLM-L6-v2 "A man is eating food." \\
    "Someone is having a meal." "The stock market fell today."
  nextword similar --model all-MiniLM-L6-v2 --file texts.txt --top 3 "food\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword similar` takes."""
    add_encoder(parser, "the encoder of sentence vectors")
    parser.add_argument("query", metavar="QUERY", type=said, help="the text that they are compared with")
    add_texts(parser, several="the others")
    parser.add_argument("--top", type=positive, default=10, metavar="K", help="show the K nearest (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the nearest; returns the exit code. Raises ValueError and OSError for the user to read."""
    from nextword.arithmetic.vectors import nearest

    texts, encoder = given_texts(args), load_encoder(args)
    with progress("embedding") as tell, noting():
        vectors = encoder.embed([args.query, *texts], progress=tell)
    found = nearest(vectors[0], vectors[1:], args.top)
    if args.json:
        print_json(query=args.query, found=[{"index": n, "cosine": cosine, "text": texts[n]} for n, cosine in found])
        return 0
    for n, cosine in found:
        print(f"{cosine:7.4f}  {printable(texts[n].encode())}")
    return 0
