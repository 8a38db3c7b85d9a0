"""`nextword rerank`: texts by how well they answer a query, each read together with it by a cross-encoder."""

import argparse

from nextword.cli.arguments import positive
from nextword.cli.terminal import print_json, printable, progress
from nextword.cli.texts import add_encoder, add_texts, given_texts, load_encoder, noting
from nextword.cli.user_text import said

HELP = "order texts by how well they answer a query, with a cross-encoder"
EXAMPLES = """examples:
  nextword rerank --model ms-marco-MiniLM-L6-v2 "How many live in Berlin?" \\
    "Berlin has 3.5 million people." "Berlin is known for its museums."
  nextword rerank --model ms-marco-MiniLM-L6-v2 --file found.jsonl "Berlin\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword rerank` takes."""
    add_encoder(parser, "the cross-encoder, with a head of one number")
    parser.add_argument("query", metavar="QUERY", type=said, help="the question that they answer")
    add_texts(parser, several="the texts")
    parser.add_argument("--top", type=positive, metavar="K", help="show the K best (all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print them, the best first; returns the exit code. Raises ValueError and OSError for the user to read."""
    texts, encoder = given_texts(args), load_encoder(args)
    with progress("ranking") as tell, noting():
        found = encoder.rerank(args.query, texts, args.top, progress=tell)
    if args.json:
        print_json(query=args.query, found=[vars(one) for one in found])
        return 0
    print("  score  probability")
    for one in found:
        print(f"{one.score:7.3f}  {one.probability:11.4f}  {printable(one.text.encode())}")
    return 0
