"""make image: build the candidate, or take an existing image, and tag it so that sam-cli uses it."""

import dataclasses

from gate import workspace
from gate.cli import GateError, github_output, run_main
from gate.containers import engine, images
from gate.settings import Settings, load
from gate.sources import emulator
from gate.verdict import candidate

BUILT = f"{workspace.clone_name()}:build"  # the name of a new build, until it has its tag


@engine.errors_explained()
def main() -> int:
    """Tag the candidate in the engine, describe it in candidate.json, and return 0."""
    with workspace.lock():
        workspace.delete_verdict()  # before anything else can fail
        settings, client = load(), engine.connect()
        platform = engine.platform(client)
        workspace.delete_verdict(platform)
        candidate.delete(platform)
        if settings.emulator_image:
            image, tag = images.take(client, settings.emulator_image)
        else:
            image, tag = build(client, settings, platform)
        found = images.describe(client, image)
        if found.platform != platform:
            raise GateError(f"the image is {found.platform}, the engine {platform}: use a {found.platform} machine")
        tag = settings.emulator_tag or tag
        client.images.get(image).tag(settings.emulator_repository, tag)
        if image == BUILT:
            client.images.remove(BUILT)
        listed = images.packages(client, found.image_id)
        made = dataclasses.replace(found, reference=f"{settings.emulator_repository}:{tag}", packages=listed)
        if settings.compat_save_image:  # before the suite runs, whose code cannot then change what is published
            images.save(made)
        candidate.save(made, settings)
    github_output(**{f"digest-{platform.replace('/', '-')}": made.config_digest})
    print(f"candidate {made.reference}\n          {made.image_id} ({platform})", flush=True)
    return 0


def build(client: engine.Client, settings: Settings, platform: str) -> tuple[str, str]:
    """Build EMULATOR_SOURCE; return the image's name and its tag: pr-<commit>, with -dirty after a change."""
    folder, origin = emulator.fetch(settings)
    revision = emulator.revision(folder)
    emulator.prebuild(settings, folder, workspace.log(platform, "prebuild"))
    tracked = emulator.revision(folder, tracked_only=True)
    commit, dirty, _ = revision.partition("-dirty")
    if tracked != revision:  # a prebuild may add files; an edit makes it dirty
        dirty = "-dirty"
    version = settings.emulator_version or emulator.wheel_version(folder)
    labels = {"version": version, "revision": f"{commit}{dirty}", "source": origin}
    emulator.build(folder, labels, BUILT, workspace.log(platform, "build"))
    if emulator.revision(folder, tracked_only=True) != tracked:
        raise GateError(f"{folder} changed while the image was built: run it again")
    name = commit[:12] or engine.short(str(engine.image_id(client, BUILT)))  # outside git there is no commit
    return BUILT, f"pr-{name}{dirty}"


if __name__ == "__main__":
    run_main(main)
