"""make compat: run aws-sam-cli's durable tests against the candidate, judge, write the verdict."""

import shutil

from gate import baseline, engine, images, model, preflight, report, rules, runner, samcli
from gate.cli import run_main
from gate.settings import load
from gate.workspace import delete_verdict, lock, results


def main() -> int:
    """Return 0 for a green verdict, 1 for a red one. After an error there is none."""
    with lock():
        delete_verdict()  # before anything else can fail
        settings, client = load(), engine.connect()
        platform = engine.platform(client)
        delete_verdict(platform)
        candidate, _ = images.load_candidate(platform)
        checkouts = samcli.installed(settings)
        shutil.rmtree(results(platform) / "logs", ignore_errors=True)
        runs = []
        with preflight.worktrees(client, runner.jobs(settings)) as folder:
            for checkout in checkouts:
                run = runner.run(settings, checkout, candidate, folder)
                baseline.attribute(client, settings, checkout, candidate, folder, run)
                runs.append(run)
        required = model.requirements(settings)
        reasons = rules.reasons_against(required, candidate, runs)
        reasons += rules.moved_tag(candidate, engine.image_id(client, candidate.reference))
        verdict = model.Verdict(required, candidate, runs, reasons)
        verdict.save()
    report.publish(verdict)
    return 0 if verdict.green else 1


if __name__ == "__main__":
    run_main(main)
