"""Ask a RAG tool in the terminal: `manage.py ask handbook-qa "How many days of leave?"`."""

import asyncio
import json
from typing import Any

from asgiref.sync import sync_to_async
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from accounts.selectors import principal_for_session, workspace_by_slug
from accounts.services import command_user
from core.exceptions import MagnetError, NotFound
from observability.runs import live
from observability.runs.events import EventName
from observability.runs.work import Started
from rag.answering.engine import Question
from rag.running import question_start
from rag.selectors import rag_tools_of


class Command(BaseCommand):
    help = 'Ask a RAG tool and watch the answer. Example: manage.py ask handbook-qa "How many days of leave do I get?"'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("rag_tool", help="slug of the RAG tool")
        parser.add_argument("question")
        parser.add_argument("--workspace", default="default", help="slug of the workspace (default: default)")
        parser.add_argument("--user", help="e-mail of the user who asks (default: the first superuser)")
        parser.add_argument("--variant", type=int, help="number of the variant (default: the active one)")
        parser.add_argument("--json", action="store_true", help="print the answer object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(self._ask(options))
        except MagnetError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped; what was said is kept in the run.") from None

    async def _ask(self, options: dict[str, Any]) -> None:
        try:
            started = await sync_to_async(_start)(options)
            await live.start(started.run, started.work)
            if options["json"]:
                self.stdout.write(json.dumps(await live.wait(started.run.pk), indent=2, ensure_ascii=False))
            else:
                await self._tell(started)
        finally:
            await live.shutdown()
            await sync_to_async(connections.close_all)()

    async def _tell(self, started: Started) -> None:
        async for event in live.follow(started.run.pk):
            if event.name is EventName.MESSAGE_DELTA:
                self.stdout.write(event.data["text"], ending="")
                self.stdout.flush()
            elif event.name is EventName.RUN_FAILED:
                raise live.RunFailed(event.data["problem"])
            elif event.is_terminal:
                self._sources(event.data["answer"])

    def _sources(self, answer: dict[str, Any]) -> None:
        self.stdout.write("")
        if answer["status"] != "completed":
            self.stdout.write(self.style.WARNING(f"({answer['status']}: {answer.get('finish_reason')})"))
        if answer.get("degraded"):
            self.stdout.write(self.style.WARNING(f"(without {', '.join(answer['degraded'])} search)"))
        for citation in answer.get("citations", []):
            page = f", page {citation['page']}" if citation["page"] else ""
            path = " › ".join([citation["title"], *citation["heading_path"]])
            self.stdout.write(self.style.MIGRATE_HEADING(f"\n[{citation['marker']}] {path}{page}"))
            self.stdout.write(f"    “{' '.join(citation['quote'].split())}”")


def _start(options: dict[str, Any]) -> Started:
    workspace = workspace_by_slug(options["workspace"])
    principal = principal_for_session(command_user(options["user"], workspace), workspace.slug)
    tool = rag_tools_of(principal).filter(slug=options["rag_tool"]).first()
    if tool is None:
        raise NotFound(f"There is no RAG tool '{options['rag_tool']}' in the workspace '{workspace.slug}'.")
    question = Question(options["question"])
    return question_start(principal=principal, tool=tool, question=question, variant=options["variant"])
