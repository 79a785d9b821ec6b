"""API keys with names, scopes, an end and a last use; signed requests; origins of an operator's pages."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # A key that was given out before may do what it could: '*' is every scope, also of later versions.
    op.execute("""
alter table operator
  add column allowed_origins text[] not null default '{}';  -- pages whose scripts may call us (CORS)
alter table api_key
  add column key_id uuid not null default gen_random_uuid(),
  add column name text not null default 'first' check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  add column scopes text[] not null default '{*}' check (cardinality(scopes) > 0),
  add column signature_required boolean not null default false,
  add column expire_time timestamptz,
  add column last_use_time timestamptz;     -- to the minute
create unique index api_key_id on api_key (key_id);
create index api_key_of_operator on api_key (operator_id, name);
create table request_nonce (                -- of signed requests, for as long as their timestamp is taken
  key_id uuid not null,
  nonce text not null,
  expire_time timestamptz not null,
  primary key (key_id, nonce)               -- the arbiter: of copies of a request one is carried out
);
create index request_nonce_end on request_nonce (expire_time);
""")
