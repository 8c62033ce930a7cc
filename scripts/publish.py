"""make publish: push exactly what has a green verdict; `latest` moves last, or not at all."""

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
    """Return 0 when all is published, 1 if it is refused; whatever fails, the last line says what was pushed."""
    settings, client = load(), engine.connect()
    with workspace.lock():
        # An earlier release's must not be signed for this one.
        (workspace.COMPAT / workspace.TEST_RESULT).unlink(missing_ok=True)
        try:
            tested = release.check(settings)
            to = Publishing(settings.publish_repository or settings.emulator_repository, tested)
            with publishing.summary_on_error(client, to):
                publishing.find_images(client, to)
                publishing.refuse_other_content(to)
                if settings.publish_dry_run:
                    publishing.preview(to)
                else:
                    publishing.push_images(to)
                    digest = publishing.push_list(to)
                    attestation.save(tested.verdicts, to.repository, digest)
                publishing.move_latest(to, settings)
        except release.RefusedError as refused:
            print(*(f"refused: {one_line(reason)}" for reason in refused.args), sep="\n", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    run_main(main)
