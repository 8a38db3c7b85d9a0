"""The text files below folders, for those who read many. Cuts nothing and keeps nothing."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["TextFiles"]

LARGEST = 1 << 26  # bytes of a file that is taken from a folder
OMITTED = frozenset(("__pycache__", "node_modules", "site-packages"))  # folders of what nobody wrote by hand


class TextFiles:
    """Files, and those below folders, in the order of their names; hidden ones and what is no text are left out.

    skipped: what was found and left out, with the reason. A file that is named itself is not left out but an error.
    Raises FileNotFoundError for a path that is not there.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.skipped: dict[Path, str] = {}
        self.paths: list[Path] = []  # absolute
        self._named: set[Path] = set()
        for given in paths:
            path = Path(os.path.abspath(Path(given).expanduser()))
            if path.is_dir():
                self.paths += _below(path)
            elif path.exists():
                self.paths.append(path)
                self._named.add(path)
            else:
                raise FileNotFoundError(f"index: there is no file or folder {given}")
        self.paths = list(dict.fromkeys(self.paths))

    def text(self, path: Path) -> str | None:
        """What a file holds, None for one that is left out. Raises OSError or ValueError for one that was named."""
        try:
            if not path.is_file():
                raise ValueError(f"index: {path} is no regular file")
            if path.stat().st_size > LARGEST:
                raise ValueError(f"index: {path} has more than {LARGEST >> 20} MiB; split it")
            raw = path.read_bytes()
            if b"\0" in raw[:8192]:
                raise ValueError(f"index: {path} is no text: it has zero bytes")
            return raw.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            self._leave_out(path, ValueError(f"index: {path} is not UTF-8 text from byte {error.start} on"))
        except (OSError, ValueError) as error:
            self._leave_out(path, error)
        return None

    def _leave_out(self, path: Path, error: Exception) -> None:
        if path in self._named:
            raise error
        self.skipped[path] = str(error).removeprefix("index: ").replace(f"{path} ", "", 1)


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in OMITTED)
        yield from (Path(here, one) for one in sorted(files) if not one.startswith("."))
