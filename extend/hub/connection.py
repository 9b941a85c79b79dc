"""Talk to a hub: quietly, with bounded retries, and with every failure told in our form, tokens removed."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from extend.errors import ExtendError, NetworkError, escaped
from extend.hub.address import endpoint_note, is_public
from extend.store import as_extend_error

ATTEMPTS = 5
LONGEST_WAIT = 60.0
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
TOKEN = re.compile(rb"hf_[A-Za-z0-9]{30,}")

Wait = Callable[[float], None]
ResultT = TypeVar("ResultT")


def connect(endpoint: str | None = None) -> HfApi:
    """A client of `endpoint` (default: HF_ENDPOINT, else the public hub). Raises NetworkError when offline.

    Only the public hub has a Xet store; for any other host the client must take the LFS path instead, and
    it reads this constant at each use.
    """
    api = HfApi(endpoint=endpoint)
    if constants.HF_HUB_OFFLINE:
        raise offline()
    if not is_public(api.endpoint):
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        constants.HF_HUB_DISABLE_XET = True
    return api


def hub_note(endpoint: str | None = None) -> str:
    """One line about the hub that `connect` would ask, when it is not the public one."""
    return endpoint_note(HfApi(endpoint=endpoint).endpoint)


def remote_files(api: HfApi, repo: str, commit: str | None, *, wait: Wait) -> dict[str, Any]:
    """The files of a repository at a commit, by path; each has `size`, `blob_id` and, when large, `lfs`."""
    tree = retried(lambda: list(api.list_repo_tree(repo, revision=commit, recursive=True)), wait=wait)
    return {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}


def offline() -> NetworkError:
    """The refusal of any request while offline mode is on."""
    return NetworkError(
        "the hub cannot be asked: offline mode is on",
        name="E-OFFLINE",
        why="HF_HUB_OFFLINE is set or --offline was given",
        next="unset HF_HUB_OFFLINE and leave out --offline, or name a folder instead of a hub name",
    )


def retried(act: Callable[[], ResultT], *, wait: Wait = time.sleep) -> ResultT:
    """`act()`, again after a transient failure: five attempts, one to sixty seconds apart."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return act()
        except (HTTPError, ConnectionError, TimeoutError) as error:
            if not is_transient(error):
                raise
            wait(pause(error, attempt))
    return act()


def is_transient(error: BaseException) -> bool:
    """Whether the same request may pass a moment later; being offline on purpose does not pass."""
    if isinstance(error, OfflineModeIsEnabled):
        return False
    return not isinstance(error, HfHubHTTPError) or error.response.status_code in TRANSIENT


def pause(error: BaseException, attempt: int) -> float:
    """Seconds before the next attempt: what the server asks for, else 1, 2, 4, ... ; 60 at most."""
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return min(float(asked) if asked.isdigit() else 2.0**attempt, LONGEST_WAIT)


@contextlib.contextmanager
def told(subject: str) -> Iterator[None]:
    """Turn failures into NetworkError, or PathError and SpaceError; `subject` is the repository."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise offline() from error
    except HFValidationError as error:
        raise NetworkError(
            f"{escaped(subject)} is not a hub name", name="E-REPO-NAME", why=shown(error), next="USER/NAME"
        ) from error
    except HfHubHTTPError as error:
        raise _told_status(subject, error) from error
    except (HTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise NetworkError(
            f"the hub did not answer for {escaped(subject)}",
            name="E-NETWORK",
            why=shown(error),
            done="nothing was changed here",
            next="run the same command again",
        ) from error
    except OSError as error:
        raise as_extend_error(error, Path(error.filename or subject)) from error


def _told_status(subject: str, error: HfHubHTTPError) -> ExtendError:
    status = error.response.status_code
    subject = escaped(subject)
    again = "run the same command again"
    if isinstance(error, GatedRepoError):
        name, what, step = "E-AUTH", f"{subject} is gated", "ask for access on its page, then hf auth login"
    elif status in (401, 403):
        name, what, step = (
            "E-AUTH",
            f"the hub refused {subject} ({status})",
            "hf auth login, with write access",
        )
    elif isinstance(error, RevisionNotFoundError):
        name, what, step = "E-NOT-FOUND", f"{subject} has no such revision", "check --revision"
    elif isinstance(error, RepositoryNotFoundError) or status == 404:
        name, what, step = "E-NOT-FOUND", f"the hub has no {subject}, or not for you", "check the name"
    elif status in (409, 412):
        name, what, step = "E-CONFLICT", f"{subject} was changed by someone else meanwhile", again
    else:
        name, what, step = "E-HUB", f"the hub failed for {subject} ({status})", again
    return NetworkError(what, name=name, why=shown(error), done="nothing was changed here", next=step)


def shown(error: BaseException) -> str:
    """The client's own words on one line, without any token."""
    return escaped(redacted(" ".join(str(error).split())), limit=200)


def redacted(text: str) -> str:
    """The text without the live token and without anything shaped like one."""
    live = get_token()
    if live:
        text = text.replace(live, "hf_***")
    return TOKEN.sub(b"hf_***", text.encode("utf-8", "replace")).decode("utf-8")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings from the client and from transformers inside the block."""
    hub_level, bars = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    level, model_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    hub_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        hub_logging.set_verbosity(hub_level)
        transformers_logging.set_verbosity(level)
        if model_bars:
            transformers_logging.enable_progress_bar()
        if bars:
            enable_progress_bars()
