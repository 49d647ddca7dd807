"""A release on the Hugging Face hub: its folder as a data set repository, with the card that it brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.exports.errors import HubError
from warehouse.releases import verify_release

if TYPE_CHECKING:
    from warehouse.releases import Release

CARD = ("manifest.json", "README.md", "plots/funnel.png", "plots/mean_reward.png")
"""What a release has beside the files that its manifest names. Nothing else is uploaded: it is not of the release."""


def push_release(release: Release, repo: str, *, public: bool = False, message: str | None = None) -> str:
    """Upload a release as one commit and return its address; files that were laid into its folder stay here.

    The hub is the one that `HF_ENDPOINT` names, else huggingface.co; the token is that of `HF_TOKEN` or
    `hf auth login`. The repository is made where it is missing, private unless `public`.

    Args:
        release: on disk; files that were changed since it was written are refused.
        repo: `owner/name`.
        public: make a new repository public. Check the licences in the card first.
        message: of the commit.

    Raises:
        HubError: see there.
    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi  # takes a second to import
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if changed := verify_release(release):
        msg = f"release {release.release_id[:12]} is not as it was written: {changed[0]}; `preppo release rebuild`"
        raise HubError(msg)
    api = HfApi()
    try:
        api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=release.folder,
            allow_patterns=[*release.manifest["files"], *CARD],
            commit_message=message or f"preppo release {release.release_id[:12]}",
        )
    except HFValidationError as error:
        msg = f"--repo {repo!r}: {error}"
        raise HubError(msg) from None
    except (HfHubHTTPError, HTTPError, OSError) as error:
        told = str(error).strip().splitlines()
        msg = f"{api.endpoint} does not take {repo}: {told[0] if told else type(error).__name__}"
        raise HubError(f"{msg}. A token that may write is needed: HF_TOKEN, or `hf auth login`") from None
    return str(commit.commit_url)
