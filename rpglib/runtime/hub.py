"""Folders on the Hugging Face hub: pushing one, by the conventions of huggingface_hub."""

import re
from pathlib import Path

from rpglib.errors import InputError, shown

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_name(name) -> str:
    """Return the name of a repository, "owner/name"; raises `InputError` for another."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 96:
        raise InputError(f"a repository of the hub is named 'owner/name', not {shown(name)}")
    return name


def push(folder: Path, name: str, kind: str, private: bool, token: str | None, message: str) -> str:
    """Make all files of a folder a commit of the repository `name`, which is made where it is not there.

    kind: "model" or "dataset". Returns the address of the commit. Raises `InputError` with the hub's reason where that
    is refused.
    """
    # Only who pushes needs this library.
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        return str(
            api.upload_folder(folder_path=folder, repo_id=name, repo_type=kind, commit_message=message).commit_url
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{name} cannot be pushed ({reason}); is HF_TOKEN a token that may write there?") from None
