"""Models of the hub: ids with a revision, their files fetched or found in the cache, what is said if they are not."""

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["fetch", "instead", "parse"]

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)(?:@([A-Za-z0-9][\w./-]*))?")


def parse(name: object, revision: str | None = None) -> tuple[str, str | None] | None:
    """The id and the revision that a name such as "gpt2" or "gpt2@v1.0" stands for; None if it is no hub id.

    Raises ValueError for a revision that is none, or differs from that in the name.

    >>> parse("openai-community/gpt2@refs/pr/7")
    ('openai-community/gpt2', 'refs/pr/7')
    """
    found = HUB_ID.fullmatch(name) if isinstance(name, str) else None
    if found is None or found[1].endswith(".safetensors"):
        return None
    if revision is None:
        return found[1], found[2]
    if not isinstance(revision, str) or not HUB_ID.fullmatch(f"{found[1]}@{revision}"):
        raise ValueError(f"load: revision must be a branch, a tag or a commit, got {revision!r}")
    if found[2] not in (None, revision):
        raise ValueError(f"load: {name!r} names a revision, and revision is {revision!r}; give one of them")
    return found[1], revision


def called(hub_id: str, revision: str | None) -> str:
    return repr(hub_id if revision is None else f"{hub_id}@{revision}")


def fetch(hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Download a hub model's files, or find them in the cache, and return their folder."""
    name = called(hub_id, revision)
    try:
        from huggingface_hub import snapshot_download  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError(
            f"weights: there is no folder {name}, and to fetch it from the hub takes huggingface_hub: "
            'run `pip install "nextword[hub]"`'
        ) from error
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # its HTTP library's errors share no base class
        first_line = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise OSError(
            f"weights: there is no folder {name}, and the hub did not give it ({type(error).__name__}: "
            f"{first_line}); check the name, the connection and HF_HUB_OFFLINE"
        ) from error


def instead(hub_id: str, revision: str | None, wanted: str) -> str:
    """What the hub holds of a model without the wanted file, and the way out."""
    name = called(hub_id, revision)
    try:
        from huggingface_hub import list_repo_files

        names = sorted(list_repo_files(hub_id, revision=revision))
    except Exception:  # offline, or the hub is gone since
        return f"weights: {name} came from the hub without a {wanted}; look there which files and revisions it has"
    if any(re.fullmatch(r"pytorch_model.*\.bin", file) for file in names):
        return (
            f"weights: the hub holds {name} as PyTorch's pytorch_model.bin only, without a {wanted}; convert it once "
            "where transformers is installed, "
            f"AutoModelForCausalLM.from_pretrained({hub_id!r}).save_pretrained(folder), then load(folder); "
            "or look there for a pull request that adds it, and load that with revision='refs/pr/N'"
        )
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "no files"
    return f"weights: the hub holds no {wanted} of {name}, but {shown}; name another model or revision"
