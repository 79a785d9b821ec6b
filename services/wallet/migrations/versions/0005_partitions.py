"""Ledger tables by month of their UUIDv7 id; callers' transfer ids by hash; openings of what was archived.

Rows stay where they are: each table becomes the first partition of a new one of its name. An id of a time to
come, or no UUIDv7, may have no place there; then the migration fails. The build before this one goes on
settling on the new tables; its deposits and withdrawals fail, with nothing done, until it is replaced.
"""

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"
# Why the version before loses nothing by what is taken away or held tighter here.
contract = "no release was before it"

# Each table's id and its primary key.
TABLES = {
    "settlement": ("round_id", "round_id, step_key"),
    "reversal": ("round_id", "round_id"),
    "transfer": ("transfer_id", "transfer_id"),
    "posting": ("transaction_id", "transaction_id, leg"),
}


def upgrade() -> None:
    op.execute("""
-- Every transfer's id as its caller chose it, for ever: here a request is arbitrated and found.
create table transfer_request (
  operator_id text not null,
  request_id uuid not null,
  transfer_id uuid not null,                -- of an archived transfer no row is left
  primary key (operator_id, request_id)
) partition by hash (operator_id, request_id);
do $$ begin
  for part in 0..15 loop
    execute format('create table transfer_request_%s partition of transfer_request '
                   'for values with (modulus 16, remainder %s)', part, part);
  end loop;
end $$;
insert into transfer_request select operator_id, request_id, transfer_id from transfer;
alter table transfer drop constraint transfer_operator_id_request_id_key;

-- The months of the ledger, each with a partition of every table; the first one with all before it, too.
create table ledger_month (
  month date primary key check (extract(day from month) = 1),   -- its first day, UTC
  close_time timestamptz,                   -- nothing is added to it any more, its ids are expired
  archive_time timestamptz check (archive_time >= close_time),  -- its rows are in files only
  manifest jsonb,                           -- of these files
  check ((archive_time is null) = (manifest is null))
);
-- There were no UUIDv7 before 1970: nothing to keep.
insert into ledger_month values ('1969-12-01', now(), now(), '{}');

-- What archived postings add up to: balance = opening + sum of postings, version = opening + movements.
create table account_opening (
  account_id bigint primary key,            -- no foreign key: it would lock rows that settles update
  amount_minor bigint not null,
  movements bigint not null check (movements >= 0)              -- 0 of a counter-account
);

-- The smallest UUIDv7 of a month: its start in ms is the first 48 bits.
create function month_id(month date) returns uuid language sql immutable return
  cast(rpad(lpad(to_hex(cast(extract(epoch from month) * 1000 as bigint)), 12, '0'), 32, '0') as uuid);

-- Partitions for every month up to this one; any number of callers may do it at once. Attaching, unlike
-- CREATE TABLE ... PARTITION OF, lets settles and reads of the parent go on.
create function add_months(month_last date) returns integer language plpgsql as $$
declare
  month_new date;
  parent text;
  part text;
  added integer := 0;
begin
  perform pg_advisory_xact_lock(7263002);
  loop
    select month + interval '1 month' into month_new from ledger_month order by month desc limit 1;
    exit when month_new > month_last;
    foreach parent in array array['settlement', 'reversal', 'transfer', 'posting'] loop
      part := parent || to_char(month_new, '_YYYY_MM');
      execute format('create table %I (like %I including all)', part, parent);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, part,
        month_id(month_new), month_id(cast(month_new + interval '1 month' as date)));
    end loop;
    insert into ledger_month (month) values (month_new);
    added := added + 1;
  end loop;
  return added;
end $$;

-- On a partition of a closed month: nothing is added, and nothing fails.
create function add_nothing() returns trigger language plpgsql as $$ begin return null; end $$;
""")
    bind = op.get_bind()
    start, month, end = bind.execute(
        text("""
select cast(month_id('1970-01-01') as text), month,
  cast(month_id(cast(month + interval '1 month' as date)) as text)
from (select cast(date_trunc('month', now() at time zone 'UTC') as date) as month) this""")
    ).one()
    op.execute(f"insert into ledger_month (month) values ('{month}')")
    views = dict(
        bind.execute(
            text("""
select distinct cast(c.oid as regclass)::text, pg_get_viewdef(c.oid)
from pg_depend d join pg_rewrite r on r.oid = d.objid join pg_class c on c.oid = r.ev_class
where c.relkind = 'v' and d.refobjid = any(cast(:tables as regclass[]))"""),
            {"tables": list(TABLES)},
        ).all()
    )
    for view in views:
        op.execute(f"drop view {view}")
    for table, (key, primary_key) in TABLES.items():
        first = f"{table}_{month:%Y_%m}"
        op.execute(f"""
alter table {table} rename to {first};
alter index {table}_pkey rename to {first}_pkey;
create table {table} (like {first} including defaults including constraints including comments)
  partition by range ({key});
alter table {table} add primary key ({primary_key});
""")
        indexes = bind.execute(
            text("""
select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index
where indrelid = cast(:first as regclass) and not indisprimary"""),
            {"first": first},
        ).all()
        for index, definition in indexes:
            op.execute(f"alter index {index} rename to {first}_{index.removeprefix(f'{table}_')}")
            op.execute(definition.replace(f".{first} ", f".{table} "))
    op.execute(f"""
alter table reversal add foreign key (account_id) references account;
alter table transfer add foreign key (account_id) references account;
alter table settlement attach partition settlement_{month:%Y_%m} for values from ('{start}') to ('{end}');
alter table reversal attach partition reversal_{month:%Y_%m} for values from ('{start}') to ('{end}');
alter table transfer attach partition transfer_{month:%Y_%m} for values from ('{start}') to ('{end}');
alter table posting attach partition posting_{month:%Y_%m} for values from ('{start}') to ('{end}');
""")
    for view, definition in views.items():
        op.execute(text(f"create view {view} as {definition}".replace(":", "\\:")))
    op.execute("""
select add_months(cast(date_trunc('month', now() at time zone 'UTC') + interval '2 months' as date))
""")
