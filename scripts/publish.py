"""make publish: push exactly what has a green verdict; `latest` moves last, or not at all."""

import sys
from dataclasses import dataclass

import docker

import engine
import registry
import state
from candidate import LABEL
from command import GateError, call, entry
from config import PLATFORMS, TAG, Config, load


@dataclass(frozen=True)
class Tested:
    """An image with a green verdict, in this engine; `version` and `revision` are its own labels."""

    platform: str
    image_id: str
    version: str
    revision: str


class RefusedError(Exception):
    """Not to be published; each argument is a reason in words."""


def main() -> int:
    config = load()
    client = engine.connect()
    try:
        with state.lock():
            tested = release(client, config)
            return publish(client, config, tested)
    except RefusedError as refused:
        print(*(f"refused: {reason}" for reason in refused.args), sep="\n", file=sys.stderr)
        return 1


def release(client: docker.DockerClient, config: Config) -> list[Tested]:
    """Return the tested image of every platform to be published. Raises RefusedError with all that is against it."""
    images, reasons = [], []
    for platform in config.publish_platforms:
        try:
            images.append(tested_image(client, platform))
        except RefusedError as refused:
            reasons += [f"{platform}: {reason}" for reason in refused.args]
    for what in ("version", "revision"):
        found = {image.platform: getattr(image, what) for image in images}
        if len(set(found.values())) > 1:
            reasons.append(f"the platforms are not of one {what}: {', '.join(f'{p} is {v}' for p, v in found.items())}")
    if reasons:
        raise RefusedError(*reasons)
    return images


def tested_image(client: docker.DockerClient, platform: str) -> Tested:
    """Return the image that a platform's verdict is of, loaded from image.tar if need be. Raises RefusedError if there
    is no green verdict, or the image is not the one it names, or it is not fit to be published."""
    folder = state.folder(platform)
    try:
        verdict = state.read_json(folder / "verdict.json", remedy="run `make compat` there")
        green, candidate, runs = verdict["green"], verdict["candidate"], verdict["runs"]
        image_id, reference, of = candidate["image_id"], candidate["reference"], candidate["platform"]
        started = [run["containers"].get(image_id, 0) for run in runs]
    except GateError as error:
        raise RefusedError(f"no verdict: {error}") from None
        now: str | None = engine.image_id(client, reference)
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        raise RefusedError(f"{folder / 'verdict.json'} is no verdict: run `make compat` there") from None
    if green is not True or verdict.get("reasons") != []:
        raise RefusedError("the verdict is red", *(verdict.get("reasons") or []))
    if of != platform:
        raise RefusedError(f"the verdict is of {of}")
    if not started or not all(started):
        raise RefusedError(f"the verdict names {image_id}, which its own runs never started")
    if now not in (None, image_id):
        raise RefusedError(f"{reference} names {now} by now, the verdict is of {image_id}: run the gate again")
    if engine.image_id(client, image_id) != image_id:
        load_image(client, platform, image_id)
    return fit(client, platform, image_id, candidate)


def load_image(client: docker.DockerClient, platform: str, image_id: str) -> None:
    """Load a platform's image.tar into the engine. Raises RefusedError if it does not hold the image wanted."""
    tar = state.folder(platform) / "image.tar"
    if not tar.is_file():
        raise RefusedError(f"{image_id} is neither in this engine nor in {tar} (COMPAT_SAVE_IMAGE=1 makes that)")
    try:
        call(["docker", "load", "--quiet", "--input", tar], failure=f"{tar} cannot be loaded")
    except GateError as error:
        raise RefusedError(*error.detail, str(error)) from None
    if engine.image_id(client, image_id) != image_id:
        raise RefusedError(f"{tar} holds another image than {image_id}, which the verdict is of")


def fit(client: docker.DockerClient, platform: str, image_id: str, candidate: dict[str, str]) -> Tested:
    """Return an image by what it says of itself. Raises RefusedError for a wrong platform, label or revision."""
    attributes = client.images.get(image_id).attrs
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    version, revision = (labels.get(f"{LABEL}.{name}", "") for name in ("version", "revision"))
    reasons = []
    if (of := f"{attributes['Os']}/{attributes['Architecture']}") != platform:
        reasons.append(f"the image is {of}")
    if (version, revision) != (candidate.get("version"), candidate.get("revision")):
        reasons.append("the image's labels are not those that the verdict names")
    if not TAG.fullmatch(f"v{version}") or not version:
        reasons.append(f"version {version!r} of the image's label {LABEL}.version makes no tag: see EMULATOR_VERSION")
    if not revision:
        reasons.append(f"the image has no label {LABEL}.revision: build it from a git checkout")
    if revision.endswith("-dirty") or candidate["reference"].endswith("-dirty"):
        reasons.append(f"it was built from a tree with changes ({revision}): commit them and run the gate again")
    if reasons:
        raise RefusedError(*reasons)
    return Tested(platform, image_id, version, revision)


def publish(client: docker.DockerClient, config: Config, tested: list[Tested]) -> int:
    """Push the images, then their list, then move `latest`; return 0, or 1 if something failed on the way."""
    repository, version = config.publish_repository or config.emulator_repository, f"v{tested[0].version}"
    tags = {f"{repository}:{version}-{PLATFORMS[image.platform]}": image for image in tested}
    whole, latest = f"{repository}:{version}", f"{repository}:latest"
    state = dict.fromkeys((*tags, whole, latest), "not pushed")
    try:
        there = {reference: registry.inspect(reference) for reference in state}
        refuse_other_content(tags, there, whole)
        state |= {reference: "there before" for reference in (*tags, whole) if there[reference]}
        if config.publish_dry_run:
            for reference, image in tags.items():
                print(f"{'is there' if there[reference] else f'would push {image.image_id} as'} {reference}")
            print(f"{'is there' if there[whole] else 'would make the list'} {whole}")
            print(f"{'unchanged' if there[whole] and there[latest] == there[whole] else 'would move'} {latest}")
            return 0
        for reference, image in tags.items():
            if not there[reference]:
                state[reference] = "perhaps pushed"
                client.images.get(image.image_id).tag(repository, reference.rpartition(":")[2])
                registry.push(reference)
                told(state, reference, checked(reference, image))
        members = {image.platform: checked(reference, image) for reference, image in tags.items()}
        if not there[whole]:
            state[whole] = "perhaps pushed"
            registry.copy(whole, [f"{repository}@{digest}" for digest in members.values()])
        listed = registry.inspect(whole)
        if not listed or not listed.is_list_of(members):
            raise GateError(f"{whole} is not the list of what was pushed: {listed and listed.members}")
        if there[whole]:
            print(f"already published: {whole} ({listed.digest})", flush=True)
        else:
            told(state, whole, listed.digest)
        if there[latest] == listed:
            print(f"unchanged {latest} ({listed.digest})", flush=True)
            return 0
        state[latest] = "perhaps moved"
        registry.copy(latest, [f"{repository}@{listed.digest}"])
        if (now := registry.inspect(latest)) != listed:
            raise GateError(f"{latest} holds {now and now.digest}, not {listed.digest}: move it by hand")
        told(state, latest, listed.digest)
    except RefusedError:
        raise
    except BaseException as error:  # whatever ends it: what is out there must be known
        if state[latest] == "perhaps moved" and there[latest] == asked(latest):
            state[latest] = "not moved"
        print(*(f"  | {line}" for line in getattr(error, "detail", ())), sep="\n", end="", file=sys.stderr)
        print(f"error: {error or type(error).__name__}; {summary(state)}", file=sys.stderr)
        if not isinstance(error, Exception):
            raise
        return 1
    return 0


def asked(reference: str) -> registry.Manifest | str | None:
    """Return what a tag holds, or in words that it is not known."""
    try:
        return registry.inspect(reference)
    except GateError:
        return "not known"


def summary(state: dict[str, str]) -> str:
    """Return which tags are pushed, were there before, are not pushed, or may be either."""
    words = ("pushed", "there before", "perhaps pushed", "not pushed", "perhaps moved", "not moved")
    found = {word: [reference for reference, is_ in state.items() if is_ == word] for word in words}
    return "; ".join(f"{word}: {', '.join(references)}" for word, references in found.items() if references)


def refuse_other_content(tags: dict[str, Tested], there: dict[str, registry.Manifest | None], whole: str) -> None:
    """Raise RefusedError if a tag of this version holds something else already: it is never overwritten."""
    reasons = [
        f"{reference} exists with other content ({found.digest}): give the next version a number of its own"
        for reference, image in tags.items()
        if (found := there[reference]) and not found.is_image(image.image_id)
    ]
    members = {image.platform: found.digest if (found := there[tag]) else "" for tag, image in tags.items()}
    if (listed := there[whole]) and not listed.is_list_of(members):
        reasons.append(
            f"{whole} exists with other content ({listed.digest}): give the next version a number of its own"
        )
    if reasons:
        raise RefusedError(*reasons)


def checked(reference: str, image: Tested) -> str:
    """Return the digest of a pushed image. Raises GateError if the registry holds something else under its tag."""
    found = registry.inspect(reference)
    if not found or not found.is_image(image.image_id):
        raise GateError(f"{reference} holds {found and found.digest}, not the tested {image.image_id}")
    return found.digest


def told(state: dict[str, str], reference: str, digest: str) -> None:
    state[reference] = "pushed"
    print(f"pushed {reference} ({digest})", flush=True)


if __name__ == "__main__":
    entry(main)
