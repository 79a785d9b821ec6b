"""Where the auditor stands, and the breaks that it found: statements of auditor.py."""

from sqlalchemy import text

# All that has a create_time before `horizon` is committed or gone by the next snapshot: whoever writes still
# began at the horizon or later, and who has no transaction id yet has locked no account. Before the pass.
CLAIM = text("""
update auditor set due_time = clock_timestamp() + make_interval(secs => :lease_s)
where due_time <= clock_timestamp()
returning cast(since as text) as since,
  cast((select least(min(xact_start), clock_timestamp()) from pg_stat_activity
        where datname = current_database() and backend_xid is not null) as text) as horizon,
  counters_time < clock_timestamp() - make_interval(secs => :seldom_s) as seldom
""")

MOVE_ON = text("""
update auditor set since = cast(:horizon as timestamptz),
  due_time = clock_timestamp() + make_interval(secs => :interval_s),
  counters_time = case when :seldom then clock_timestamp() else counters_time end
""")

WIDEN = text("select cast(cast(:since as timestamptz) - make_interval(secs => :seconds) as text)")

INSERT_BREAK = text("""
insert into ledger_break (invariant, detail, violations) values (:invariant, :detail, :violations)
on conflict (invariant) where resolve_time is null do nothing returning break_id
""")

LIST_OPEN_BREAKS = text("""
select break_id, invariant, detail, violations, find_time from ledger_break
where resolve_time is null order by break_id
""")

RESOLVE_BREAKS = text("""
update ledger_break set resolve_time = clock_timestamp(), actor = :actor, reason = :reason
where resolve_time is null returning break_id, invariant, detail, violations, find_time
""")
