"""Files and folders written whole or not at all: beside their place first, then put there. Content is the callers'.
And whether a file is there to be read.

As `open` does, they follow links, keep the mode of a file that is there and take the umask for a new one.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["destination", "make_folder", "present", "write", "write_folder"]

Content = str | bytes | Callable[[Path], object]  # a str as UTF-8; a function fills the file that it is given

_KINDS = ((stat.S_ISFIFO, "a FIFO"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
          (stat.S_ISSOCK, "a socket"))


def present(operation: str, path: Path) -> bool:
    """Whether a path is a file to be read.

    Raises FileNotFoundError for a link to nothing, ValueError for a folder, a pipe or a device: who put such a thing
    there meant a file.

    >>> present("example", Path("/no/such/file"))
    False
    """
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(
            f"{operation}: {path} is a link to {os.readlink(path)}, which is not there; fetch or copy the model again"
        )
    if path.exists() and not path.is_file():
        raise ValueError(f"{operation}: {path} is not a regular file")
    return path.is_file()


def write(operation: str, files: Mapping[Path, Content]) -> None:
    """Write one file or several that belong together; those that were there stay until all new ones are whole.

    operation: what the errors begin with. Raises OSError that names the file if one cannot be written (as `open`:
    IsADirectoryError, PermissionError, FileNotFoundError, ...), or is no regular file: a device, a FIFO, a socket.
    After an error, or Ctrl-C, nothing is left of any.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder) / "a"
    ...     write("example", {place: "text", place.with_name("b"): b"bytes"})
    ...     place.read_text()
    'text'
    """
    places = [(path, *destination(operation, path), content) for path, content in files.items()]
    parts: list[tuple[Path, Path]] = []
    path = Path()  # at which an error came
    try:
        for path, place, before, content in places:  # noqa: B007
            part = place.with_name(f".{secrets.token_hex(8)}.part")  # the place's name may be the longest there is
            mode = 0o666 if before is None else stat.S_IMODE(before.st_mode) & 0o777
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode))
            parts.append((part, place))
            made = part.stat()
            if callable(content):
                content(part)
            else:
                part.write_bytes(content.encode() if isinstance(content, str) else content)
            _settle(part, made if before is None else before)
        for part, path in parts:
            os.replace(part, path)
    except OSError as error:
        raise _cannot(operation, path, error) from None
    finally:
        for part, _ in parts:
            with contextlib.suppress(OSError):
                part.unlink()


def destination(operation: str, path: Path) -> tuple[Path, os.stat_result | None]:
    """Where a file is written: behind all links, dangling ones too; and what is known of the one that is there.

    Raises OSError where no regular file is or may be.
    """
    named = False
    for _ in range(4):  # another process or thread may be putting a new file there
        place = Path(os.path.realpath(path))
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return place, None
        except OSError as error:
            raise _cannot(operation, path, error) from None
        with contextlib.suppress(FileNotFoundError):
            named = os.path.samestat(found, os.stat(place))
        if named:
            break
    kind = next((name for test, name in _KINDS if test(found.st_mode)), None)
    if kind is not None:
        raise OSError(f"{operation}: {path} is no regular file but {kind}; give the path of a file")
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{operation}: {path} is a folder; give the path of a file")
    if not named:
        raise OSError(f"{operation}: {path} leads to a file that has no name any more; give the path of a file")
    if not os.access(place, os.W_OK):
        raise PermissionError(f"{operation}: {path} is read-only; give another path, or allow to write it")
    return place, found


def make_folder(operation: str, path: Path) -> None:
    """Make a folder, and those that it lies in, unless it is there. Raises OSError that names it if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(operation, path, error) from None


def write_folder(operation: str, path: Path, fill: Callable[[Path], object]) -> None:
    """Write a folder that is not there, or empty: fill is given one beside it, which then takes its place.

    Raises FileExistsError if it is there and not empty, OSError that names it if it cannot be written. After an error,
    or Ctrl-C, nothing is left of it.
    """
    place = Path(os.path.realpath(path))
    part = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        if place.exists() and not (place.is_dir() and not any(place.iterdir())):
            raise FileExistsError(f"{operation}: {path} is there and no empty folder; give one that is not there")
        mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else None
        part.mkdir()
        fill(part)
        if mode is not None:
            part.chmod(mode)
        os.replace(part, place)
    except FileExistsError:
        raise
    except OSError as error:
        raise type(error)(f"{operation}: {path} cannot be written ({error.strerror or error}); "
                          "give a folder in one that exists, may be written and has room") from None
    finally:
        if part.exists():
            import shutil  # with it come all kinds of archives, which who only loads does not want

            shutil.rmtree(part, ignore_errors=True)


def _settle(part: Path, like: os.stat_result) -> None:
    """Bring a file to the disk, and give it an owner and a mode: who filled it may have made it anew."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
        now = os.fstat(file.fileno())
    if (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid):
        with contextlib.suppress(OSError):  # not everyone may give a file away
            os.chown(part, like.st_uid, like.st_gid)
    os.chmod(part, stat.S_IMODE(like.st_mode) & 0o777)


def _cannot(operation: str, path: Path, error: OSError) -> OSError:
    return type(error)(f"{operation}: {path} cannot be written ({error.strerror or error}); "
                       "take a path in a folder that exists, may be written and has room")
