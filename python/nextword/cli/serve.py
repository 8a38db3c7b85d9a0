"""`nextword serve`: models behind OpenAI's API over HTTP."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextword.cli.arguments import add_context, number, place, positive, thread_count
from nextword.cli.terminal import progress
from nextword.cli.user_text import file_text

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel

HELP = "serve models over HTTP, as OpenAI's API does"
EXAMPLES = """examples:
  nextword serve                              the demo, at 127.0.0.1:8000
  nextword serve gpt2=/models/gpt2 --port 0   any free port, told on stdout
  nextword serve small=gpt2 large=gpt2-large --dtype int8 --kv-memory 4G
  nextword serve --host 0.0.0.0 --allow-host my.host --api-key-file keys.txt

  curl 127.0.0.1:8000/v1/completions -H "Content-Type: application/json" \\
    -d '{"prompt": "Once upon a time", "max_tokens": 20}'

Once it answers, one line on stdout says where; stderr has a line of JSON for
each request. SIGTERM and Ctrl-C let what runs finish; a second one ends it at
once. It needs pip install "nextword[serve]"."""

KEYS = "NEXTWORD_API_KEYS"
LOCAL = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `nextword serve` takes."""
    from nextword.arithmetic.formats import DTYPES

    parser.add_argument("model", nargs="*", metavar="[NAME=]MODEL", type=place,
                        help="serve this model, a folder or a hub id such as gpt2, under this name: the model of "
                             "requests (the last part of MODEL; the demo model, as demo)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="listen at this address, 0.0.0.0 for all of the machine's; one that others reach needs "
                             "keys, or --no-auth (127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=_port, default=8000, metavar="N", help="listen at this port; 0: any that is "
                                                                              "free (8000)")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", type=_host,
                        help="answer requests to this name of the machine, too; all but its address and localhost get "
                             "421 (repeatable)")
    parser.add_argument("--api-key-file", metavar="FILE", type=place,
                        help="ask for `Authorization: Bearer KEY`, with one of the keys of this file, one a line, or "
                             f"of the variable {KEYS}, with commas between them")
    parser.add_argument("--no-auth", action="store_true",
                        help="start without keys at any --host: whoever reaches it is let in")
    parser.add_argument("--dtype", choices=DTYPES,
                        help="hold the weights so: fewer bits are faster and less exact (float32; a folder of "
                             "`nextword quantize` has its own)")
    parser.add_argument("--kv-dtype", choices=["float32", "bfloat16", "int8"], default="float32",
                        help="hold keys and values so: shorter ones take less memory and time in long texts (float32)")
    add_context(parser)
    parser.add_argument("--threads", type=thread_count, metavar="N", help="use N threads (see `nextword doctor`)")
    parser.add_argument("--kv-memory", type=_size, metavar="SIZE",
                        help="take so much memory for keys and values, such as 2G or 500M, divided among the models; "
                             "it bounds how many texts run at once (a quarter of what is free, 4G at most)")
    parser.add_argument("--slots", type=positive, metavar="N",
                        help="run at most N texts of a model at once (as many as fit into the memory, 64 at most)")
    parser.add_argument("--pass-ms", type=_milliseconds, default=25.0, metavar="MS",
                        help="read prompts in pieces, so that texts that are being written wait about so long for "
                             "their next token; less is smoother, more gets prompts read sooner (25)")
    parser.add_argument("--max-queue", type=positive, default=256, metavar="N",
                        help="let N texts wait for their turn, and answer 429 beyond (256)")
    parser.add_argument("--max-queue-tokens", type=positive, metavar="N",
                        help="let texts wait that have N tokens in all, prompts and what they may become (any number)")
    parser.add_argument("--max-rows-per-key", type=positive, metavar="N",
                        help="let each key have N texts on their way, and answer 429 beyond (any number)")
    parser.add_argument("--drain", type=_seconds, default=30.0, metavar="S",
                        help="at the end, let running requests go on for S seconds (30)")
    parser.add_argument("--explain", action="store_true", help="serve the page of `nextword explain`, too, of the "
                                                               "first model; stderr tells its address")
    parser.add_argument("--log-prompts", action="store_true", help="write the bodies of requests to the log on stderr")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal; returns the exit code."""
    from nextword.page.listening import require

    require("serve: the server", "msgspec", "starlette", "uvicorn")
    keys = _keys(args.api_key_file)
    if args.host not in LOCAL and not keys and not args.no_auth:
        raise ValueError(f"serve: --host {args.host} is reached by others; give keys by --api-key-file or {KEYS}, or "
                         "pass --no-auth")
    models = _models(args)
    from nextword.serve.server import Server

    server = Server(models, args.host, args.port, keys, args.allow_host, args.drain, args.log_prompts, args.explain,
                    slots=args.slots, pass_ms=args.pass_ms, max_queue=args.max_queue,
                    max_queue_tokens=args.max_queue_tokens, max_rows_per_key=args.max_rows_per_key,
                    kv_memory=args.kv_memory)
    if server.page is not None:
        print(f"page: {server.page}", file=sys.stderr, flush=True)
    server.run(ready=lambda: print(f"nextword: {server.address}", flush=True))
    return 0


def _models(args: argparse.Namespace) -> dict[str, LanguageModel]:
    import nextword

    found: dict[str, LanguageModel] = {}
    for given in args.model or ["demo=nextword:demo"]:
        name, told, path = given.partition("=")
        if not told:
            path = given
            name = re.split(r"[/:\\]", given.rstrip("/\\"))[-1].partition("@")[0]
        if not name or not path or len(name) > 256 or not name.isprintable():
            raise ValueError(f"serve: MODEL must be NAME=MODEL, a folder or a hub id, got {given!r}")
        if name in found:
            raise ValueError(f"serve: two models are called {name!r}; give names by NAME=MODEL")
        with progress(f"loading {path}"):
            found[name] = nextword.load(path, args.dtype, args.threads, args.kv_dtype, context=args.context,
                                         task="generate")
    return found


def _keys(path: str | None) -> list[str]:
    from nextword.serve.guard import api_keys

    found = api_keys(os.environ.get(KEYS, ""))
    if path is not None:
        try:
            given = api_keys(file_text(Path(path)))
        except OSError as error:
            raise ValueError(f"serve: --api-key-file {path} cannot be read: {error.strerror or error}") from None
        if not given:
            raise ValueError(f"serve: --api-key-file {path} holds no key; write one a line")
        found += given
    return found


def _port(text: str) -> int:
    return int(number(text, int, 0, 65535, "a port 0 .. 65535"))


def _milliseconds(text: str) -> float:
    return float(number(text, float, 0.001, 60_000, "milliseconds 0.001 .. 60000"))


def _seconds(text: str) -> float:
    return float(number(text, float, 0, 86_400, "seconds 0 .. 86400"))


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.\-\[\]:]{1,253}", text):
        raise argparse.ArgumentTypeError(f"expected the name of a host, got {text!r}")
    return text


def _size(text: str) -> Any:
    found = re.fullmatch(r"(\d{1,12})([KMGT]?)(?:i?B)?", text, re.I)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"expected a size such as 2G or 500M, got {text!r}")
    return int(found[1]) << 10 * " KMGT".index(found[2].upper() or " ")
