"""make image: build the candidate, or take an existing image, and tag it for sam-cli."""

import dataclasses

from gate import emulator, engine, images, workspace
from gate.cli import GateError, github_output, run_main
from gate.settings import load


def main() -> int:
    with workspace.lock():
        workspace.delete_verdicts()  # before anything else can fail
        settings, client = load(), engine.connect()
        platform = engine.platform(client)
        (workspace.results(platform) / images.CANDIDATE).unlink(missing_ok=True)
        if settings.emulator_image:
            digest, image = images.take(client, settings.emulator_image)
        else:
            digest, image = "", emulator.build(settings)
        found = images.describe(client, image)
        if found.platform != platform:
            raise GateError(f"the image is for {found.platform}, this engine is {platform}")
        tag = f"pr-{engine.short(found.image_id)}"
        if found.revision and not settings.emulator_image:
            commit, dirty, _ = found.revision.partition("-dirty")
            tag = f"pr-{commit[:12]}{dirty}"
        candidate = dataclasses.replace(
            found,
            reference=f"{settings.emulator_repository}:{settings.emulator_tag or tag}",
            config_digest=digest or found.config_digest,
            packages=images.packages(found.image_id),
        )
        client.api.tag(candidate.image_id, candidate.reference)
        # A tar is written before the suite runs, which then cannot change it.
        candidate = images.save_candidate(candidate, settings)
    github_output(**{f"digest_{platform.replace('/', '_')}": candidate.config_digest})
    print(f"candidate {candidate.reference} {candidate.image_id} ({platform})")
    return 0


if __name__ == "__main__":
    run_main(main)
