"""Which hub is asked, and whether it has a Xet store. Standard library only: imported before the client.

The Hugging Face client sends large files to a Xet store, which hubs other than the public one rarely have,
and has no way back when there is none. It reads its switch when it is first imported.
"""

import os
from urllib.parse import urlsplit

PUBLIC = "huggingface.co"


def is_public(endpoint: str) -> bool:
    """Whether this address is the public hub's."""
    host = urlsplit(endpoint).hostname or ""
    return host == PUBLIC or host.endswith(f".{PUBLIC}")


def endpoint_note(endpoint: str) -> str:
    """One line for people about another hub than the public one, without any name or token; else empty."""
    if is_public(endpoint):
        return ""
    parts = urlsplit(endpoint)
    place = parts.netloc.rpartition("@")[2]
    return f"hub {parts.scheme}://{place}: Xet is off, large files go the LFS way"


def prepare() -> None:
    """Turn Xet off for the client that is imported next, when HF_ENDPOINT names another hub."""
    endpoint = os.environ.get("HF_ENDPOINT", "")
    if endpoint and not is_public(endpoint):
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")


prepare()
