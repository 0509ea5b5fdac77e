"""Migrations run while the release before them still serves: they add, take nothing away, and hold no lock for long.

django-migration-linter reads their SQL: no dropped or renamed column or table, no changed type, no new column that old
code cannot fill, no unique constraint and no index that locks a table with rows. Added here: no constraint that reads
all rows under a lock. What the Python functions of a migration do, nobody reads but people.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import connection, models
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    DeleteModel,
    Migration,
    RemoveField,
    RenameField,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django_migration_linter.sql_analyser import PostgresqlAnalyser, analyse_sql_statements

from magnet.environment import BASE_DIR

OURS = {config.label for config in apps.get_app_configs() if Path(config.path).parent == BASE_DIR}
NAMES = sorted(name for name in MigrationLoader(None).disk_migrations if name[0] in OURS)


@pytest.fixture(scope="module")
def loader(django_db_setup: None, django_db_blocker: Any) -> Iterator[MigrationLoader]:
    """Outside of a transaction, as indexes that are built concurrently refuse one. Nothing is executed."""
    with django_db_blocker.unblock():
        yield MigrationLoader(connection, replace_migrations=False)


def statements(migration: Migration, loader: MigrationLoader) -> list[str]:
    state = loader.project_state((migration.app_label, migration.name), at_end=False)
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        migration.apply(state, editor, collect_sql=True)
    read = [one.strip() for one in editor.collected_sql if not one.startswith("--")]
    return ["BEGIN;", *read] if migration.atomic else read


def objections(sql: list[str]) -> set[str]:
    errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, sql)
    return {issue.code for issue in [*errors, *warnings]} | scans(sql)


def scans(sql: list[str]) -> set[str]:
    """A CHECK or a foreign key that a table with rows gets reads all of them, and nobody writes meanwhile."""
    created = {found[1] for one in sql if (found := re.match(r'CREATE TABLE ("\w+")', one))}
    added = [re.match(r'ALTER TABLE ("\w+") ADD CONSTRAINT "\w+" (CHECK|FOREIGN KEY) ', one) for one in sql]
    return {"SCAN" for found in added if found and found[1] not in created and "NOT VALID" not in found.string}


@pytest.mark.parametrize("name", NAMES, ids=".".join)
def test_a_migration_is_additive_and_online(name: tuple[str, str], loader: MigrationLoader) -> None:
    assert objections(statements(loader.disk_migrations[name], loader)) == set()


INDEX = models.Index(fields=["title"], name="document_by_title")
CHECK = models.CheckConstraint(condition=models.Q(size__gte=0), name="document_has_a_size")
UNIQUE = models.UniqueConstraint(fields=["title"], name="document_title")
REFUSED: dict[str, tuple[Operation, set[str]]] = {
    "a column goes": (RemoveField("document", "title"), {"DROP_COLUMN"}),
    "a column gets another name": (RenameField("document", "title", "heading"), {"RENAME_COLUMN"}),
    "a table goes": (DeleteModel("documenttext"), {"DROP_TABLE"}),
    "a type changes": (AlterField("document", "size", models.TextField()), {"ALTER_COLUMN"}),
    "old code cannot fill it": (AddField("document", "x", models.IntegerField(default=1)), {"NOT_NULL"}),
    "null is refused": (AlterField("document", "ready_at", models.DateTimeField()), {"NOT_NULL"}),
    "an index locks": (AddIndex("document", INDEX), {"CREATE_INDEX"}),
    "what is there is compared": (AddConstraint("document", UNIQUE), {"ADD_UNIQUE"}),
    "what is there is read": (AddConstraint("document", CHECK), {"SCAN"}),
}
TAKEN: dict[str, Operation] = {
    "null": AddField("document", "x", models.IntegerField(null=True)),
    "a default of the database": AddField("document", "x", models.IntegerField(db_default=1)),
    "an index beside the work": AddIndexConcurrently("document", INDEX),
}


def one_of(operation: Operation) -> Migration:
    migration = Migration("0002_search_tables", "knowledge")
    migration.operations = [operation]
    migration.atomic = not isinstance(operation, AddIndexConcurrently)
    return migration


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_disturb_the_running_release_is_seen(case: str, loader: MigrationLoader) -> None:
    operation, codes = REFUSED[case]

    assert objections(statements(one_of(operation), loader)) >= codes


@pytest.mark.parametrize("case", TAKEN)
def test_what_disturbs_nobody_is_taken(case: str, loader: MigrationLoader) -> None:
    assert objections(statements(one_of(TAKEN[case]), loader)) == set()
