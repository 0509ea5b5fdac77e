"""Calibrate the extractive answerer, or judge it on other data (docs/extractive.md)."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm.providers.local.calibration.cases import Kind, Outcome, cases_of, outcomes, sample
from llm.providers.local.calibration.fitting import fit
from llm.providers.local.calibration.judging import latency, shares, table
from llm.providers.local.calibration.sets import beir, shipped
from llm.providers.local.extractive.answerability import MODEL, AnswerabilityModel, calibrated

OFF_TOPIC = 100
TIMED = 60
ABOUT = "Written by manage.py calibrate_extractive from set.json; docs/extractive.md says how."


class Command(BaseCommand):
    help = "Fit the extractive answerer's weights and threshold to the shipped set, or judge them with --check."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", type=Path, metavar="DIR", help="judge on this set in BEIR form; write nothing")
        parser.add_argument("--split", default="test", help="qrels of the set to check (default: test)")
        parser.add_argument("--questions", type=int, help="check with the first so many questions only")
        parser.add_argument("--show", action="store_true", help="list the unanswerable questions that are answered")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"] is None:
            self._calibrate(options["show"])
            return
        try:
            given = beir(options["check"], options["split"], options["questions"])
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(f"{options['check']} is no set in BEIR form: {error!r}") from error
        off_topic = sample([question.text for question in shipped().questions if question.gold], OFF_TOPIC)
        cases = list(cases_of(given, off_topic))
        self._report(calibrated(), list(outcomes(cases)), options["show"])
        median, high = latency([case for case in cases if case.kind is Kind.FOUND][:TIMED])
        self.stdout.write(f"An answer takes {median * 1000:.0f} ms (median), {high * 1000:.0f} ms (95th percentile).")

    def _calibrate(self, show: bool) -> None:
        found = [one for joined in (False, True) for one in outcomes(cases_of(shipped(joined=joined)))]
        model = fit(found)
        self._report(model, found, show)
        stored = json.dumps({"about": ABOUT, **asdict(model)}, indent=1)
        MODEL.write_text(f"{stored}\n", encoding="utf-8")
        calibrated.cache_clear()
        self.stdout.write(f"Threshold {model.threshold}; written to {MODEL}.")

    def _report(self, model: AnswerabilityModel, found: list[Outcome], show: bool) -> None:
        self.stdout.write(table(list(shares(model, found))))
        for one in found if show else ():
            chance = model.chance(one.measures)
            if one.case.kind is not Kind.FOUND and chance >= model.threshold:
                self.stdout.write(f"{one.case.kind}, {chance:.2f}: {one.case.grounding.question}")
