"""make publish: push exactly the images with a green verdict; move `latest` last, once all else has succeeded."""

import sys

from gate import workspace
from gate.cli import run_main
from gate.containers import engine
from gate.settings import load
from gate.text import one_line
from gate.verdict import attestation, publishing, release
from gate.verdict.publishing import Publishing


@engine.errors_explained()
def main() -> int:
    """Return 0, or 1 if publishing was refused, which is before anything is pushed.

    `release` decides what is accepted and whether `latest` may move, `publishing` pushes. After an error the last line
    says what was pushed.
    """
    settings, client = load(), engine.connect()
    with workspace.lock():
        # The workflow signs this file: an earlier release's must not be signed for this one.
        (workspace.COMPAT / workspace.TEST_RESULT).unlink(missing_ok=True)
        try:
            approved = release.check(settings)
            target = Publishing(settings.publish_repository or settings.emulator_repository, approved)
            with publishing.summary_on_error(client, target):
                publishing.find_images(client, target)
                publishing.refuse_other_content(target)
                if settings.publish_dry_run:
                    publishing.preview(target)
                else:
                    publishing.push_images(target)
                    digest = publishing.push_list(target)
                    attestation.save(approved.verdicts, target.repository, digest)
                publishing.move_latest(target, settings)  # or print what it would do
        except release.RefusedError as refused:
            print(*(f"refused: {one_line(reason)}" for reason in refused.args), sep="\n", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    run_main(main)
