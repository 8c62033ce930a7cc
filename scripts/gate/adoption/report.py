"""What `make adopt` prints: what it changed, what to check, and what is left to do by hand."""

from gate.adoption.changes import Changes
from gate.adoption.copies import ADOPTED, CONTRACT, RELEASE, SETTINGS, Copy
from gate.adoption.host import Host


def adopted(before: Copy | None, now: Copy, todo: Changes) -> list[str]:
    """Return what an adoption did."""
    place, version = now.host / now.folder, f"{now.version} ({now.commit[:12]})"
    if not before:
        lines = [f"Copied the gate {version} to {place}: {len(todo.writes)} files, staged, not committed."]
    elif todo.writes or todo.removes:
        lines = [
            f"Updated the gate in {place} from {before.version} ({before.commit[:12]}) to {version}; not committed:"
        ]
        written = [name for name in todo.writes if name != now.within(ADOPTED)]
        lines += [f"  {'changed' if name in before.files else 'added':7} {name}" for name in written]
        lines += [f"  removed {name}" for name in todo.removes]
    else:
        lines = [f"The gate in {place} is {version} already."]
    return lines + [f"  {note}" for note in todo.notes]


def warnings(now: Copy, found: Host) -> list[str]:
    """Return what else in a host seems to publish the image."""
    lines, release = [], now.name_of(RELEASE)
    if publishers := found.publishers():
        lines += ["", "These workflows seem to publish the image. They must not push `latest` on their own:"]
        lines += [f"  {name}" for name in publishers]
        lines += [f"  {release} publishes what passed. On the same release the two would race: remove the other one."]
    return lines


def first_steps(now: Copy, found: Host, settings: dict[str, tuple[str, str]]) -> list[str]:
    """Return what a first adoption leaves to a maintainer."""
    contract, release, at = now.name_of(CONTRACT), now.name_of(RELEASE), f"-C {now.folder} " if now.folder else ""
    shown = settings | {"PUBLISH_REPOSITORY": ("", "empty: the image is pushed to EMULATOR_REPOSITORY")}
    steps = [
        "Look at what was staged (git diff --cached) and commit it.",
        f"Run the gate: make {at}compat",
        "Require the check `sam-cli-compat` (Settings, Rules) once it has run on a pull request.",
        f"Make an environment `release` with the variable ECR_PUBLIC_ROLE_ARN, the role with which {release} pushes.",
    ]
    for role in found.roles():
        steps[-1] += f" To keep the role of {role}, write that there in place of vars.ECR_PUBLIC_ROLE_ARN."
    if settings["EMULATOR_SOURCE"][0].strip("./"):  # not the top: other packages have releases too
        steps += [
            "Set the repository variable EMULATOR_RELEASE_TAG to what the tags of the emulator's releases begin with, "
            "such as testing-v. Other releases then publish no image."
        ]
    steps += [
        "Add to CONTRIBUTING.md: Every change to the emulator must keep the check `sam-cli-compat` green; see "
        f"[the contract]({contract})."
    ]
    return [
        "", f"Check these settings in {now.name_of(SETTINGS)}:",
        *(line for name, (value, why) in shown.items() for line in (f"  {name}={value}", f"      {why}")),
        "", "To do by hand:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1)),
    ]  # fmt: skip
