"""make compat: run aws-sam-cli's durable tests against the candidate, judge, write the verdict."""

import shutil

from docker import DockerClient

from gate import (
    baseline,
    engine,
    images,
    preflight,
    report,
    rules,
    runner,
    samcli,
    workspace,
)
from gate.cli import run_main
from gate.images import Candidate
from gate.model import Requirements, Run, Verdict
from gate.programs import GateError
from gate.settings import Settings, load


def main() -> int:
    """Return 0 for a green verdict, 1 for a red one. After an error there is none."""
    with workspace.lock():
        # Before anything else can fail.
        workspace.delete_verdicts()
        settings = load()
        client = engine.connect()
        platform = engine.platform(client)
        candidate = images.load_candidate(platform)
        images.check_tag(client, candidate.image)
        runs = run_all(client, settings, candidate)
        image_id_at_end = engine.image_id(client, candidate.image.reference)
        if not image_id_at_end:
            raise GateError(
                f"{candidate.image.reference} was removed during the run, as by "
                "`docker image prune`: run `make compat` again"
            )
        verdict = Verdict(
            requirements=Requirements.of(settings),
            candidate=candidate.image,
            runs=runs,
            image_id_at_end=image_id_at_end,
        )
        verdict.reasons = rules.reasons_against(verdict.requirements, verdict)
        verdict.save()
        report.note_changes(verdict)
        report.keep_if_green(verdict)
    report.show(verdict)
    return 0 if verdict.green else 1


def run_all(
    client: DockerClient, settings: Settings, candidate: Candidate
) -> list[Run]:
    """Run the suite of each aws-sam-cli, and compare what failed with the published image."""
    image = candidate.image
    # Quick, since `make compat` has run `make samcli`.
    checkouts = samcli.install_all(settings)
    results = workspace.results_folder(image.platform)
    shutil.rmtree(results / "logs", ignore_errors=True)
    runs = []
    jobs = runner.jobs(settings, client)
    with preflight.checked_folder(client, jobs) as folder:
        for checkout in checkouts:
            run = runner.run(
                settings, checkout, image, folder, wheel=candidate.wheel
            )
            run.comparison = baseline.compare(
                run, settings, checkout, image, folder
            )
            runs.append(run)
    return runs


if __name__ == "__main__":
    run_main(main)
