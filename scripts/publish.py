"""make publish: push exactly what has a green verdict; `latest` moves last, or not at all."""

import sys

import docker

import engine
import registry
import state
from command import GateError, entry
from config import PLATFORMS, Config, load
from tested import RefusedError, Tested, release


@engine.needed()
def main() -> int:
    """Return 0 when all is published, 1 if it was refused or failed on the way. Raises GateError without an engine."""
    config = load()
    client = engine.connect()
    try:
        with state.lock():
            tested = release(client, config)
            return publish(client, config, tested)
    except RefusedError as refused:
        print(*(f"refused: {reason}" for reason in refused.args), sep="\n", file=sys.stderr)
        return 1


def publish(client: docker.DockerClient, config: Config, tested: list[Tested]) -> int:
    """Push the images, then their list, then move `latest`; return 0, or 1 if something failed on the way."""
    repository, version = config.publish_repository or config.emulator_repository, f"v{tested[0].version}"
    tags = {f"{repository}:{version}-{PLATFORMS[image.platform]}": image for image in tested}
    whole, latest = f"{repository}:{version}", f"{repository}:latest"
    known = dict.fromkeys((*tags, whole, latest), "not pushed")
    try:
        there = {reference: registry.inspect(reference) for reference in known}
        refuse_other_content(tags, there, whole)
        known |= {reference: "there before" for reference in (*tags, whole) if there[reference]}
        if config.publish_dry_run:
            for reference, image in tags.items():
                print(f"{'is there' if there[reference] else f'would push {image.image_id} as'} {reference}")
            print(f"{'is there' if there[whole] else 'would make the list'} {whole}")
            print(f"{'unchanged' if there[whole] and there[latest] == there[whole] else 'would move'} {latest}")
            return 0
        for reference, image in tags.items():
            if not there[reference]:
                known[reference] = "perhaps pushed"
                client.images.get(image.image_id).tag(repository, reference.rpartition(":")[2])
                registry.push(reference)
                told(known, reference, checked(reference, image))
        members = {image.platform: checked(reference, image) for reference, image in tags.items()}
        if not there[whole]:
            known[whole] = "perhaps pushed"
            registry.copy(whole, [f"{repository}@{digest}" for digest in members.values()])
        listed = registry.inspect(whole)
        if not listed or not listed.is_list_of(members):
            raise GateError(f"{whole} is not the list of what was pushed: {listed and listed.members}")
        if there[whole]:
            print(f"already published: {whole} ({listed.digest})", flush=True)
        else:
            told(known, whole, listed.digest)
        if there[latest] == listed:
            print(f"unchanged {latest} ({listed.digest})", flush=True)
            return 0
        known[latest] = "perhaps moved"
        registry.copy(latest, [f"{repository}@{listed.digest}"])
        if (now := registry.inspect(latest)) != listed:
            raise GateError(f"{latest} holds {now and now.digest}, not {listed.digest}: move it by hand")
        told(known, latest, listed.digest)
    except RefusedError:
        raise
    except BaseException as error:  # whatever ends it: what is out there must be known
        if known[latest] == "perhaps moved" and there[latest] == asked(latest):
            known[latest] = "not moved"
        last = f"error: {str(error) or type(error).__name__}; {summary(known)}"
        print(*(f"  | {line}" for line in getattr(error, "detail", ())), last, sep="\n", file=sys.stderr)
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


def summary(known: dict[str, str]) -> str:
    """Return which tags are pushed, were there before, are not pushed, or may be either."""
    words = ("pushed", "there before", "perhaps pushed", "not pushed", "perhaps moved", "not moved")
    found = {word: [reference for reference, is_ in known.items() if is_ == word] for word in words}
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


def told(known: dict[str, str], reference: str, digest: str) -> None:
    """Note that a reference is pushed, and print it."""
    known[reference] = "pushed"
    print(f"pushed {reference} ({digest})", flush=True)


if __name__ == "__main__":
    entry(main)
