"""What a schema promises to the code that was written for it, and which promises a newer schema breaks.

While a version is rolled out, the one before runs on the new schema: a migration may add, not take away. It
is read from the migrated database itself, whatever the migration was written as.
"""

from collections.abc import Set
from typing import NamedTuple, TypeAlias

import psycopg

# Of partitions the parent speaks.
_COLUMNS = """
select c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  a.atthasdef or a.attidentity <> '' or a.attgenerated <> '', a.attidentity = 'a' or a.attgenerated <> ''
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
  and not c.relispartition and a.attnum > 0 and not a.attisdropped and c.relname <> 'alembic_version'"""

# Checks, foreign keys, exclusions; and what is unique, by whichever way.
_RULES = """
select c.relname, pg_get_constraintdef(r.oid), false, array(
  select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = any (r.conkey))
from pg_constraint r join pg_class c on c.oid = r.conrelid
where c.relnamespace = 'public'::regnamespace and not c.relispartition and r.contype in ('c', 'f', 'x')
union all
select c.relname, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', ''), true, array(
  select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum = any (i.indkey))
from pg_index i join pg_class c on c.oid = i.indrelid
where c.relnamespace = 'public'::regnamespace and not c.relispartition and i.indisunique
  and c.relname <> 'alembic_version'"""

_FUNCTIONS = """
select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') '
  || pg_get_function_result(p.oid)
from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'"""

# What may refuse or change a row that the code of before writes; and rows that it may not see any more.
_TRIGGERS = """
select c.relname, pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = 'public'::regnamespace and not c.relispartition and not t.tgisinternal
union all
select c.relname, 'row level security' from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relrowsecurity"""


class Column(NamedTuple):
    """Of a table or view."""

    type: str
    not_null: bool
    has_default: bool
    computed: bool
    """An insert may not name it."""


class Rule(NamedTuple):
    """A constraint or a unique index: its text, and the columns that it names."""

    text: str
    unique: bool
    columns: frozenset[str]


Relation: TypeAlias = dict[str, Column]


class Schema(NamedTuple):
    """All of a database."""

    kinds: dict[str, str]
    relations: dict[str, Relation]
    rules: dict[str, set[Rule]]
    functions: set[str]
    triggers: set[tuple[str, str]]


def read(connection: psycopg.Connection) -> Schema:
    """The schema as it is."""
    kinds: dict[str, str] = {}
    relations: dict[str, Relation] = {}
    rules: dict[str, set[Rule]] = {}
    for relation, kind, name, *column in connection.execute(_COLUMNS):
        # A table that is partitioned now is a table still.
        kinds[relation] = "table" if kind in "rp" else "view"
        relations.setdefault(relation, {})[name] = Column(*column)
    for relation, text, unique, columns in connection.execute(_RULES):
        rules.setdefault(relation, set()).add(Rule(text, unique, frozenset(columns)))
    functions = {row[0] for row in connection.execute(_FUNCTIONS)}
    triggers = {(relation, text) for relation, text in connection.execute(_TRIGGERS)}
    return Schema(kinds, relations, rules, functions, triggers)


def broken(before: Schema, after: Schema) -> list[str]:
    """What the code of before may rely on, or do, and cannot any more; a line each."""
    problems = [f"function {name} is gone" for name in before.functions - after.functions]
    for relation, columns in before.relations.items():
        if after.kinds.get(relation) != before.kinds[relation]:
            problems.append(f"{before.kinds[relation]} {relation} is gone")
            continue
        problems += _columns(relation, columns, after.relations[relation])
        if before.kinds[relation] == "table":
            rules, now = (side.rules.get(relation, set()) for side in (before, after))
            problems += _rules(relation, columns.keys(), rules, now)
    for relation, text in after.triggers - before.triggers:
        if relation in before.relations:
            problems.append(f"{relation}: a new trigger: {text}")
    return sorted(problems)


def _columns(relation: str, before: Relation, after: Relation) -> list[str]:
    problems = []
    for name, column in before.items():
        now = after.get(name)
        if now is None:
            problems.append(f"{relation}.{name} is gone")
            continue
        if now.type != column.type:
            problems.append(f"{relation}.{name} was {column.type}, is {now.type}")
        if now.not_null and not column.not_null:
            problems.append(f"{relation}.{name} must not be null any more")
        if column.has_default and not now.has_default:
            problems.append(f"{relation}.{name} has no default any more")
        if now.computed and not column.computed:
            problems.append(f"{relation}.{name} is computed now, and inserts of before name it")
    for name in after.keys() - before.keys():
        if after[name].not_null and not after[name].has_default:
            problems.append(f"{relation}.{name} is new, and inserts of before do not name it")
    return problems


def _rules(relation: str, known: Set[str], before: set[Rule], after: set[Rule]) -> list[str]:
    """A rule about new columns alone holds by their defaults. What was unique arbitrates ON CONFLICT."""
    problems = [f"{relation}: not unique any more: {rule.text}" for rule in before - after if rule.unique]
    for rule in after - before:
        if rule.columns & known or not rule.columns:
            problems.append(f"{relation}: a new rule: {rule.text}")
    return problems
