"""The program that runs a model's template of messages in a process of its own, which `chat_process` starts.

A template is a program out of a model's folder, and Jinja's sandbox keeps it from files and from Python, but not from
loops without end, nor from strings of gigabytes. So the operating system bounds it: processor time and memory, no file
that is opened, no process that is started. What a template may take is told here.

Lines of JSON: the template's source comes first, then values; each line of values is answered by one, {"text": ...} or
{"error": ...}.
"""

from __future__ import annotations

import datetime
import json
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

SECONDS = 1.0  # of processor time for one text
MEMORY = 768 << 20  # bytes of the whole process
LONGEST = 1 << 24  # characters of a text: more than any window takes


def environment() -> Any:
    """Jinja as templates of messages expect it: what Hugging Face's transformers gives them."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):  # type: ignore[misc, unused-ignore]
        """{% generation %}: what a model would have written; training looks for it, and here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    def refuse(message: object) -> None:
        raise TemplateError(str(message))

    def now(form: str) -> str:
        return datetime.datetime.now().strftime(form)

    def tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
               sort_keys: bool = False) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                         extensions=[Generation, "jinja2.ext.loopcontrols"])
    made.filters["tojson"] = tojson
    made.globals.update(raise_exception=refuse, strftime_now=now)
    del made.globals["lipsum"]  # it reads a file
    return made


def rendered(template: Any, values: dict[str, Any]) -> str:
    """What a template writes. Raises ValueError for more than `LONGEST` characters."""
    parts: list[str] = []
    left = LONGEST
    for part in template.generate(**values):
        left -= len(part)
        if left < 0:
            raise ValueError(f"it writes more than {LONGEST:,} characters")
        parts.append(part)
    return "".join(parts)


def answer(make: Callable[[], Any], values: dict[str, Any]) -> dict[str, str]:
    """What a line of values is answered with. make: gives the template."""
    try:
        return {"text": rendered(make(), values)}
    except MemoryError:
        return {"error": f"it takes more than {MEMORY >> 20} MiB of memory"}
    except RecursionError:
        return {"error": "it calls itself too deeply"}
    except Exception as error:  # whatever a program may do wrong
        return {"error": (str(error) or type(error).__name__)[:1000]}


def bounded() -> None:
    """Let the operating system bound this process. What it needs of files has been read."""
    try:
        import resource
    except ImportError:  # as on Windows: who waits for an answer ends it
        return
    datetime.datetime.now().strftime("%A %c")  # reads the time zone
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_NOFILE, 0), (resource.RLIMIT_FSIZE, 0),
                       (resource.RLIMIT_CORE, 0), (getattr(resource, "RLIMIT_NPROC", None), 0)):
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


def main(places: list[str]) -> None:
    """Answer until stdin ends. places: where Jinja is imported from."""
    sys.path += places
    import pprint  # noqa: F401 - what Jinja's filters and escapes in strings import where they are used
    import unicodedata  # noqa: F401

    import jinja2.debug  # noqa: F401

    read, write = sys.stdin.buffer, sys.stdout.buffer
    source = json.loads(read.readline())
    made = environment()
    for tried in ("{{ 'a' }}", "{{ raise_exception('a') }}"):  # which reads all else that it takes of files
        answer(partial(made.from_string, tried), {})
    bounded()
    ready: list[Any] = []

    def template() -> Any:
        if not ready:
            ready.append(made.from_string(source))
        return ready[0]

    timed = hasattr(signal, "setitimer")
    while line := read.readline():
        if timed:  # the signal's default is the end of the process, wherever it is
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
        told = json.dumps(answer(template, json.loads(line)))
        if timed:
            signal.setitimer(signal.ITIMER_PROF, 0)
        write.write(told.encode() + b"\n")
        write.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
