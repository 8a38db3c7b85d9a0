"""`nextword index`: text files cut into passages, with a vector for each, in one file that `nextword search` reads."""

import argparse
from pathlib import Path

from nextword.arithmetic.formats import DTYPES
from nextword.cli.arguments import place, positive, thread_count
from nextword.cli.terminal import print_json, progress
from nextword.cli.texts import WAY, noting

HELP = "make an index of text files, to be searched by meaning"
EXAMPLES = """examples:
  nextword index notes/ --out notes.index --model all-MiniLM-L6-v2
  nextword index notes/ --out notes.index       (later: only what has changed)
  nextword search notes.index "what did we decide about prices?\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword index` takes."""
    parser.add_argument("paths", nargs="+", metavar="FILE|DIR", type=place,
                        help="text files in UTF-8, and folders, below which all of them are taken but hidden ones")
    parser.add_argument("--out", required=True, metavar="INDEX", type=place,
                        help="write this file; if it is there, the passages of unchanged files are taken from it")
    parser.add_argument("--model", metavar="PATH_OR_ID", type=place,
                        help="the encoder: a folder such as all-MiniLM-L6-v2 or a hub id (that of the index that is "
                             "there)")
    parser.add_argument("--dtype", choices=DTYPES, help="hold the encoder's weights so (as of --model)")
    parser.add_argument("--threads", type=thread_count, metavar="N", help="use N threads (see `nextword doctor`)")
    parser.add_argument("--int8", action="store_true",
                        help="hold the vectors in 8 bits: a bit more than a quarter of the size")
    parser.add_argument("--tokens", type=positive, metavar="N", help="cut passages of N tokens at most (128)")
    parser.add_argument("--anew", action="store_true", help="take nothing from the index that is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Write the index and say what is in it; returns the exit code. Raises ValueError and OSError for the user."""
    import nextword
    from nextword.tasks.vector_index import VectorIndex

    old = VectorIndex.open(args.out) if Path(args.out).exists() and not args.anew else None
    model, dtype, tokens = args.model, args.dtype, args.tokens
    vectors = "int8" if args.int8 else "float32"
    if old is not None:
        model, dtype, tokens = model or old.model, dtype or old.held, tokens or old.tokens
        vectors = "int8" if args.int8 else old.dtype
    if model is None:
        raise ValueError(f"no encoder; give --model {WAY}")
    with progress(f"loading {model}"):
        encoder = nextword.load(model, dtype, args.threads, task="encode")
    with progress("indexing") as tell, noting():
        index = VectorIndex.build(encoder, args.paths, dtype=vectors, tokens=tokens, old=old, progress=tell)
        index.save(args.out)
    skipped = {str(path): why for path, why in index.skipped.items()}
    if args.json:
        print_json(index=args.out, files=len(index.files), passages=len(index), **index.changes, skipped=skipped)
        return 0
    told = ", ".join(f"{number:,} {what}" for what, number in index.changes.items() if number)
    print(f"{args.out}: {len(index):,} passages of {len(index.files):,} files ({told or 'none'}), "
          f"{Path(args.out).stat().st_size / 1e6:,.1f} MB")
    for path, why in list(skipped.items())[:5]:
        print(f"  left out: {path} {why}")
    if len(skipped) > 5:
        print(f"  and {len(skipped) - 5:,} more; --json names all")
    return 0
