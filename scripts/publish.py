"""make publish: push exactly what has a green verdict; `latest` moves last, or not at all."""

import sys

from gate import workspace
from gate.cli import GateError, run_main
from gate.containers import engine
from gate.settings import load
from gate.verdict import attestation, publishing, release
from gate.verdict.publishing import Publishing


@engine.errors_explained()
def main() -> int:
    """Return 0 when all is published, 1 if it is refused; whatever fails, the last line says what was pushed."""
    settings, client = load(), engine.connect()
    with workspace.lock():
        try:
            tested = release.check(settings)
            to = Publishing(settings.publish_repository or settings.emulator_repository, tested)
        except release.RefusedError as refused:
            return refuse(refused)
        try:
            publishing.find_images(client, to)
            there = publishing.refuse_other_content(to)
            if settings.publish_dry_run:
                for tag, image_id in to.ids.items():
                    print(f"{'already pushed' if tag in there else f'would push {image_id} as'} {to.repository}:{tag}")
            else:
                publishing.push_images(to, there)
                digest = publishing.push_list(to, there)
                attestation.save(tested.verdicts, to.repository, digest)
            publishing.move_latest(to, settings)
        except release.RefusedError as refused:
            return refuse(refused)
        except GateError as error:
            raise GateError(f"{error}; {to.summary()}", error.detail) from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(to.summary()) from None
        finally:
            publishing.remove_tags(client, to)
    return 0


def refuse(refused: release.RefusedError) -> int:
    """Print each reason against publishing and return 1."""
    print(*(f"refused: {reason}" for reason in refused.args), sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    run_main(main)
