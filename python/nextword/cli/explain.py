"""`nextword explain`: every step between a prompt and the next word, as a page in the browser or as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from nextword.cli.arguments import add_model, load, number, place
from nextword.cli.terminal import progress
from nextword.cli.user_text import from_argument, given_text

HELP = "show every step between a prompt and the next word, in the browser"
EXAMPLES = """examples:
  nextword explain "Once upon a time there was a little"
  nextword explain --lang de "Es war einmal ein"
  nextword explain --compare "The nurse said that" "The doctor said that"
  nextword explain --model gpt2 --against gpt2-medium "The nurse said that"
  nextword explain --out walk.html "Once upon a time"

The page is served to this machine alone, at an address with a key, until
Ctrl-C; it needs pip install "nextword[serve]". The file of --out needs nothing."""

LANGUAGES = ("de", "en")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword explain` takes."""
    add_model(parser)
    parser.add_argument("prompt", nargs="*", help="the text to begin with; - reads it from stdin")
    parser.add_argument("--lang", choices=LANGUAGES, help="the language of the page (the browser's)")
    parser.add_argument("--port", type=_port, default=0, metavar="N",
                        help="serve at this port; 0: any that is free (0)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    parser.add_argument("--out", metavar="FILE.html", type=place,
                        help="write the page with all numbers of the prompt to one file instead")
    parser.add_argument("--compare", metavar="PROMPT", type=from_argument,
                        help="a second text to set beside the first")
    parser.add_argument("--against", metavar="MODEL", type=place,
                        help="a second model to set beside the first, as --model takes it; not with --out")


def _port(text: str) -> int:
    return int(number(text, int, 0, 65535, "a port 0 .. 65535"))


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, or write the file; returns the exit code."""
    from nextword.page.server import require

    if args.out is None:
        require()  # before the model is loaded
    if args.out is not None and args.against is not None:
        raise ValueError("explain: --against must stand without --out, as a file shows one model; write one each")
    text = given_text(args.prompt) if args.prompt else None
    lm = load(args)
    if args.out is not None:
        from nextword.page.single import write

        if not text:
            raise ValueError("explain: --out needs a prompt, whose numbers the file shows")
        with progress("computing"):
            size = write(lm, text, Path(args.out), lang=args.lang, compare=args.compare)
        print(f"{args.out}: {size / 1e6:.1f} MB")
        return 0
    from nextword.page.calls import Page
    from nextword.page.server import Server, opened

    against = None if args.against is None else Page(load(argparse.Namespace(**{**vars(args), "model": args.against})))
    server = Server(Page(lm, {"prompt": text or "", "compare": args.compare, "lang": args.lang}, against), args.port)
    print(server.address, flush=True)
    server.run(ready=lambda: None if args.no_browser else opened(server.address))
    return 0
