"""make publish: push exactly the images with a green verdict; move `latest` last."""

import os
import sys

from gate import engine, release, workspace
from gate.cli import github_output, run_main
from gate.settings import load


def main() -> int:
    """Return 0, or 1 if publishing was refused, which is before anything is pushed."""
    settings = load()
    client = engine.connect()
    with workspace.lock():
        try:
            judged = release.judge(settings, os.environ.get("RELEASE_TAG", ""))
            release.check_registry_and_tag(client, judged)
        except release.RefusedError as refused:
            for reason in refused.args:
                print(f"refused: {reason}", file=sys.stderr)
            return 1
        if settings.publish_dry_run:
            tags = [
                judged.platform_tag(candidate)
                for candidate in judged.candidates
            ]
            print("would push", *tags, judged.version_tag)
            return 0
        index = release.push(judged)
        github_output(name=judged.repository, digest=index.digest)
        if settings.publish_latest:
            release.move_latest(judged, index)
    return 0


if __name__ == "__main__":
    run_main(main)
