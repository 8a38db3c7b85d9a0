"""The process of the command `nextword` before `cli.main` has it in hand: Ctrl-C is quiet, a wrong setting one line.

The package imports this first. In any other process it does nothing. It imports nothing that Python has not loaded by
then, so that hardly any time passes before it watches.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

EXIT_INTERRUPT = 130  # as a shell reports the signal


def is_command() -> bool:
    """Whether the process was started as `nextword` or as `python -m nextword`."""
    if sys.argv[:1] != ["-m"]:  # what stands there while the package of `python -m` is being imported
        return bool(sys.argv) and os.path.splitext(os.path.basename(sys.argv[0]))[0] == "nextword"
    return any(flag[:1] == "-" and flag[-1:] == "m" and name == "nextword"  # -m, or -Im
               for flag, name in zip(sys.orig_argv, sys.orig_argv[1:], strict=False))


def watch() -> None:
    """From now on Ctrl-C ends the process at once, an error of the user's making is one line, and the numbers of
    standard streams that are closed are taken, so that no file that is opened later gets them."""
    sys.excepthook = tell
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):  # what is written to 1 is an error still
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # one that was told to ignore it goes on so
        signal.signal(signal.SIGINT, leave)


def leave(*_: object) -> NoReturn:
    """End the process, as after Ctrl-C."""
    os._exit(EXIT_INTERRUPT)


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line what hinders the import; of an error of the program the traceback."""
    if issubclass(kind, KeyboardInterrupt):
        leave()
    if not issubclass(kind, (ValueError, OSError, ImportError)):
        sys.__excepthook__(kind, error, trace)
    elif sys.stderr is not None:
        text = " ".join(str(error).split())
        print("nextword: error:", text.replace("set_isa: name ", ""), file=sys.stderr)  # the variable is the name


if is_command():
    watch()
