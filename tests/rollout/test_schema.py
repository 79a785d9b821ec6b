"""A migration leaves the version before it working, or says why nobody of before needs what it takes."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import psycopg
import pytest

from deploy.local.databases import SERVICES, Server
from services.common.migrate import SERVICES as SOURCE
from services.common.migrate import migrate
from tests.rollout import schema

# What a migration's module says that takes something away: `contract = "why nobody needs it any more"`.
MARK = "contract"

# What no migration may do without saying why, and what is found of it.
TAKEN = {
    "alter table player drop column name": "player.name is gone",
    "alter table player rename column name to full_name": "player.name is gone",
    "alter table player rename to person": "table player is gone",
    "drop table player cascade": "table player is gone",
    "drop view player_name": "view player_name is gone",
    "alter table player alter column level type bigint": "player.level was integer, is bigint",
    "alter table player alter column level set not null": "player.level must not be null any more",
    "alter table player alter column score drop default": "player.score has no default any more",
    "alter table player add column country text not null": (
        "player.country is new, and inserts of before do not name it"
    ),
    "alter table player add check (level < 100)": "player: a new rule: CHECK ((level < 100))",
    "create unique index on player (name)": "player: a new rule: btree (name)",
    "alter table player add foreign key (level) references level": (
        "player: a new rule: FOREIGN KEY (level) REFERENCES level(level)"
    ),
    "alter table player drop constraint player_nick_key": "player: not unique any more: btree (nick)",
    "create trigger refuse before insert on player for each row execute function refuse()": (
        "player: a new trigger: CREATE TRIGGER refuse BEFORE INSERT ON public.player FOR EACH ROW "
        "EXECUTE FUNCTION refuse()"
    ),
    "alter table player enable row level security": "player: a new trigger: row level security",
    "alter table player drop column score; alter table player add column score bigint "
    "generated always as (player_id * 2) stored": (
        "player.score is computed now, and inserts of before name it"
    ),
    "alter table player alter column player_id add generated always as identity": (
        "player.player_id is computed now, and inserts of before name it"
    ),
    "drop function greet": "function greet(who text) text is gone",
    "drop function greet; create function greet(who text) returns integer language sql as 'select 1'": (
        "function greet(who text) text is gone"
    ),
}
ADDED = [
    "create table visit (visit_id bigint primary key)",
    "alter table player add column country text",
    "alter table player add column country text not null default 'MT' check (country <> '')",
    "alter table player add column key uuid not null default gen_random_uuid() unique",
    "create index on player (level)",
    "alter table player alter column name drop not null",
    "alter table player drop constraint player_level_check",
    "create or replace function greet(who text) returns text language sql as 'select who || who'",
]
TABLES = """
create table level (level integer primary key);
create table player (
  player_id bigint primary key, name text not null, nick text unique, level integer check (level > 0),
  score bigint not null default 0);
create view player_name as select player_id from player;
create function greet(who text) returns text language sql as 'select who';
create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'"""


@contextmanager
def empty_database(server: Server, service: str) -> Iterator[tuple[str, psycopg.Connection]]:
    """URL of a new database, as the service's role, and a connection."""
    name = f"{service}_{uuid.uuid4().hex[:12]}"
    server.create_role(service)
    url = server.create_database(service, name)
    with server.connect(name) as connection:
        yield url, connection
    server.drop_database(name)


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_migration_takes_away_it_says(server: Server, service: str) -> None:
    with empty_database(server, service) as (url, connection):
        before = schema.Schema({}, {}, {}, set(), set())
        for path in sorted((SOURCE / service / "migrations" / "versions").glob("[0-9]*.py")):
            migrate(service, url, revision=path.name[:4])
            after = schema.read(connection)
            problems, mark = schema.broken(before, after), mark_of(path)
            assert not problems or mark, (
                f"{service} {path.name}: the version before still runs while this one is rolled out, but "
                f"{'; '.join(problems)}. Add first, take away a release later (docs/kubernetes/"
                f'rollout-proof.md); where it is safe, say why: {MARK} = "..."'
            )
            assert problems or not mark, f"{service} {path.name} says {MARK} and takes nothing away"
            before = after


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[psycopg.Connection]:
    """To a database with the tables above."""
    with empty_database(server, "events") as (_, connection):
        connection.execute(TABLES)
        yield connection


@pytest.mark.parametrize("statement", TAKEN)
def test_what_is_taken_away_is_found(connection: psycopg.Connection, statement: str) -> None:
    assert TAKEN[statement] in changed(connection, statement)


@pytest.mark.parametrize("statement", ADDED)
def test_what_is_added_is_no_problem(connection: psycopg.Connection, statement: str) -> None:
    assert changed(connection, statement) == []


def changed(connection: psycopg.Connection, statement: str) -> list[str]:
    """What a statement breaks; it is rolled back."""
    before = schema.read(connection)
    with connection.transaction(force_rollback=True):
        connection.execute(statement.encode())
        return schema.broken(before, schema.read(connection))


def mark_of(path: Path) -> str:
    """Why it may take something away; empty where it says nothing."""
    spec = spec_from_file_location(f"migration_{uuid.uuid4().hex}", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(getattr(module, MARK, ""))
