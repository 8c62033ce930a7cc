"""make image: build the candidate, or take an image that exists, and tag it so that sam-cli uses it."""

import dataclasses

from gate import workspace
from gate.cli import GateError, github_output, run_main
from gate.containers import engine, images
from gate.settings import Settings, load
from gate.sources import emulator
from gate.verdict import candidate

BUILT = f"{workspace.clone_name()}:build"  # what a build made, until it has its tag


@engine.errors_explained()
def main() -> int:
    """Leave the candidate in the engine, tagged, and described in candidate.json; return 0."""
    workspace.delete_verdict()  # before anything can fail; the engine may turn out to be of another platform
    settings, client = load(), engine.connect()
    platform = engine.platform(client)
    workspace.delete_verdict(platform)
    with workspace.lock():
        candidate.delete(platform)
        if settings.emulator_image:
            image, tag = images.take(client, settings.emulator_image)
        else:
            image, tag = build(client, settings, platform)
        found = images.describe(client, image)
        if found.platform != platform:
            raise GateError(f"the image is {found.platform}, the engine {platform}: use a machine of its own platform")
        tag = settings.emulator_tag or tag
        client.images.get(image).tag(settings.emulator_repository, tag)
        if image == BUILT:
            client.images.remove(BUILT)
        listed = images.packages(client, found.image_id)
        made = dataclasses.replace(found, reference=f"{settings.emulator_repository}:{tag}", packages=listed)
        candidate.save(made, settings)
        if settings.compat_save_image:  # here, before any code of aws-sam-cli runs on this machine
            images.save(made)
    github_output(**{f"digest-{platform.replace('/', '-')}": made.config_digest})
    print(f"candidate {made.reference}\n          {made.image_id} ({platform})", flush=True)
    return 0


def build(client: engine.Client, settings: Settings, platform: str) -> tuple[str, str]:
    """Build EMULATOR_SOURCE; return the image's name and the tag it should get: pr-<commit>, with -dirty if it is."""
    folder, origin = emulator.fetch(settings)
    revision = emulator.revision(folder)
    emulator.prebuild(settings, folder, workspace.log(platform, "prebuild"))
    tracked = emulator.revision(folder, tracked_only=True)  # a prebuild may add files; an edit is a change
    commit = revision.removesuffix("-dirty")
    dirty = "" if revision == tracked == commit else "-dirty"
    version = settings.emulator_version or emulator.wheel_version(folder)
    labels = {"version": version, "revision": f"{commit}{dirty}", "source": origin}
    emulator.build(folder, labels, BUILT, workspace.log(platform, "build"))
    if emulator.revision(folder, tracked_only=True) != tracked:
        raise GateError(f"{folder} was changed while the image was built: run it again")
    return BUILT, f"pr-{commit[:12] or engine.short(str(engine.image_id(client, BUILT)))}{dirty}"


if __name__ == "__main__":
    run_main(main)
