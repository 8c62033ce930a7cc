"""make publish: push exactly the images with a green verdict; move `latest` last."""

import os
import sys

from gate import engine, release, workspace
from gate.cli import github_output, run_main
from gate.settings import load


def main() -> int:
    """Return 0, or 1 if publishing was refused, which is before anything is pushed."""
    settings, client = load(), engine.connect()
    with workspace.lock():
        try:
            ready = release.approve(settings, os.environ.get("RELEASE_TAG", ""))
            release.prepare(client, ready)
        except release.RefusedError as refused:
            print(*(f"refused: {reason}" for reason in refused.args), sep="\n", file=sys.stderr)
            return 1
        if settings.publish_dry_run:
            print("would push", *map(ready.platform_tag, ready.candidates), ready.version_tag)
            return 0
        index = release.push(ready)
        github_output(name=ready.repository, digest=index.digest)
        if settings.publish_latest:
            release.move_latest(ready, index)
    return 0


if __name__ == "__main__":
    run_main(main)
