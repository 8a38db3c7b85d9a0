"""`nextword quantize`: a model's folder written anew with its weights in fewer bits."""

import argparse

from nextword.arithmetic.formats import DTYPES
from nextword.cli.arguments import place
from nextword.cli.terminal import progress

HELP = "write a model with its weights in fewer bits, to be opened at once"
EXAMPLES = """examples:
  nextword quantize openai-community/gpt2 --out gpt2-int8
  nextword generate --model gpt2-int8 "The theory of relativity is"
  nextword quantize gpt2-folder --dtype int4 --out gpt2-int4"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword quantize` takes."""
    parser.add_argument("model", nargs="?", metavar="MODEL", type=place,
                        help="a model folder, a GGUF file, a hub id such as gpt2, or nextword:nano-sort "
                             "(nextword:demo)")
    parser.add_argument("--dtype", choices=DTYPES, default="int8", help="hold the weights so (int8)")
    parser.add_argument("--out", required=True, metavar="DIR", type=place,
                        help="write this folder; it must be new, or empty")


def run(args: argparse.Namespace) -> int:
    """Write the folder and say how large it is; returns the exit code. Raises ValueError and OSError for the user."""
    from nextword import DEMO
    from nextword.tasks.quantized import quantize

    with progress(f"quantising {args.model or 'the demo model'}") as tell:
        folder = quantize(args.model or DEMO, args.dtype, args.out, tell)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {args.dtype}, {size / 1e6:,.1f} MB; open it with --model {folder}")
    return 0
