"""make image: build the candidate, or take an existing image, and tag it for sam-cli."""

import dataclasses
import os

from docker import DockerClient

from gate import baseline, emulator, engine, images, release, sdk, workspace
from gate.cli import github_output, run_main
from gate.model import Image
from gate.programs import GateError
from gate.sdk import Wheel
from gate.settings import PUBLISHED, Settings, load


def main() -> int:
    """Write candidate.json, and tell the workflow the image's config digest."""
    with workspace.lock():
        # Before anything else can fail.
        workspace.delete_verdicts()
        settings = load()
        client = engine.connect()
        platform = engine.platform(client)
        (workspace.results_folder(platform) / images.CANDIDATE).unlink(
            missing_ok=True
        )
        release_tag = os.environ.get("RELEASE_TAG", "")
        release_sdk = sdk.wait_for_release(settings, release_tag)
        wheel = sdk.build(settings)
        image = build_or_take(client, settings, wheel)
        if image.platform != platform:
            remedy = (
                f"build or pull one for {platform}, or choose another engine"
            )
            raise GateError(
                f"the image is for {image.platform}, not for {platform}: {remedy}"
            )
        packages = images.packages(client, image.image_id)
        # The published image has the SDK that users have.
        if wheel and settings.emulator_image != PUBLISHED:
            images.check_wheel(packages, wheel)
        image = dataclasses.replace(
            image,
            reference=images.candidate_reference(image, settings),
            packages=images.durable_versions(packages),
        )
        release.check_image(image, settings, release_tag, release_sdk)
        client.api.tag(image.image_id, image.reference)
        # Before aws-sam-cli's code runs, which could change the image's archive.
        image = images.save_candidate(image, settings, wheel)
    github_output(
        **{f"digest_{platform.replace('/', '_')}": image.config_digest}
    )
    print(f"candidate {image.reference} {image.image_id} ({platform})")
    return 0


def build_or_take(
    client: DockerClient, settings: Settings, wheel: Wheel | None
) -> Image:
    """Build the image, or take the one that EMULATOR_IMAGE names."""
    if settings.emulator_image == PUBLISHED:
        return baseline.find_published(client, settings)
    if settings.emulator_image:
        return images.take(client, settings.emulator_image)
    return emulator.build(client, settings, wheel)


if __name__ == "__main__":
    run_main(main)
