"""Say what is wrong and which setting mends it."""

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from typing import Any

import django
from django.conf import settings
from django.core.management.base import BaseCommand

from core.doctor import Finding, Level, examine
from magnet.embedded.data_dir import DataDir
from magnet.processes import ProcessMemory, platform_memory

MARKS = {Level.OK: "ok  ", Level.WARNING: "warn", Level.ERROR: "FAIL"}


class Command(BaseCommand):
    help = (
        "Versions, reachability, settings that are wrong and what mends them, memory by process (PSS). "
        "Exit code 1 when something is wrong. Example: manage.py doctor --json"
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="data and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = [*_versions(), *examine()]
        memory = platform_memory(DataDir(settings.DATA_DIR))
        if options["json"]:
            self.stdout.write(json.dumps(_report(findings, memory), indent=2))
        else:
            self._print(findings, memory)
        if any(finding.level is Level.ERROR for finding in findings):
            sys.exit(1)

    def _print(self, findings: list[Finding], memory: list[ProcessMemory]) -> None:
        for finding in findings:
            self.stdout.write(f"{MARKS[finding.level]}  {finding.subject:<16} {finding.detail}")
            if finding.remedy:
                self.stdout.write(f"      {'':<16} → {finding.remedy}")
        if not memory:
            self.stdout.write("      The platform does not run on this DATA_DIR.")
            return
        self.stdout.write("\nMemory (MB, PSS)")
        for process in memory:
            self.stdout.write(
                f"  {process.bytes / 2**20:8.1f}  {process.part:<12} {process.pid:>8}  {process.command[:80]}"
            )
        for part, size in _by_part(memory).items():
            self.stdout.write(f"  {size / 2**20:8.1f}  {part}")
        self.stdout.write(f"  {sum(process.bytes for process in memory) / 2**20:8.1f}  total")


def _versions() -> list[Finding]:
    return [
        Finding("Profile", Level.OK, settings.MAGNET_ENV),
        Finding("Python", Level.OK, sys.version.split()[0]),
        Finding("Django", Level.OK, django.get_version()),
    ]


def _by_part(memory: list[ProcessMemory]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for process in memory:
        sizes[process.part] += process.bytes
    return sizes


def _report(findings: list[Finding], memory: list[ProcessMemory]) -> dict[str, Any]:
    processes = [{"part": one.part, "pid": one.pid, "pss_bytes": one.bytes, "command": one.command} for one in memory]
    return {
        "ok": all(finding.level is not Level.ERROR for finding in findings),
        "findings": [finding.as_json() for finding in findings],
        "memory": {
            "total_bytes": sum(one.bytes for one in memory),
            "parts": dict(_by_part(memory)),
            "processes": processes,
        },
    }
