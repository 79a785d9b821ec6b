"""The scale of every currency that money was counted in."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
-- Written with the first account in a currency, never changed: another scale would multiply all its money.
create table currency (
  currency_code text primary key,
  scale smallint not null check (scale between 0 and 18),   -- a unit is 10 ^ scale minor units
  create_time timestamptz not null default clock_timestamp()
);

-- What accounts were opened in until now, as the code said it then.
insert into currency (currency_code, scale)
select distinct currency_code, case
  when currency_code in ('CLP', 'ISK', 'JPY', 'KRW') then 0
  when currency_code in ('BHD', 'JOD', 'KWD', 'TND') then 3
  when currency_code in ('BTC', 'ETH') then 8
  else 2 end
from account;
""")
