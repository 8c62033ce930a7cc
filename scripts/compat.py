"""make compat: run aws-sam-cli's durable tests against the candidate, judge, write the verdict."""

import shutil

from gate import baseline, engine, images, model, preflight, report, rules, runner, samcli
from gate.cli import run_main
from gate.settings import load
from gate.workspace import delete_verdicts, lock, results


def main() -> int:
    """Return 0 for a green verdict, 1 for a red one. After an error there is none."""
    with lock():
        delete_verdicts()  # before anything else can fail
        settings, client = load(), engine.connect()
        platform = engine.platform(client)
        candidate, _ = images.load_candidate(platform)
        checkouts = samcli.install_all(settings)  # quick: `make compat` has run `make samcli`
        shutil.rmtree(results(platform) / "logs", ignore_errors=True)
        runs = []
        with preflight.worktrees(client, runner.jobs(settings, client)) as folder:
            for checkout in checkouts:
                run = runner.run(settings, checkout, candidate, folder)
                baseline.attribute(settings, checkout, candidate, folder, run)
                runs.append(run)
        required = model.requirements(settings)
        reasons = rules.reasons_against(required, candidate, runs)
        now = engine.image_id(client, candidate.reference) or "nothing"
        if now != candidate.image_id:  # rule 5
            moved = f"{candidate.reference} was moved from {candidate.image_id} to {now}"
            reasons.append(f"{moved}: does another clone use this tag? Set EMULATOR_TAG there")
        verdict = model.Verdict(required, candidate, runs, reasons)
        verdict.save()
    report.show(verdict)
    return 0 if verdict.green else 1


if __name__ == "__main__":
    run_main(main)
