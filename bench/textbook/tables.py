"""The tables of the three services."""

import datetime
import uuid

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {int: BigInteger}  # noqa: RUF012


class Session(Base):
    __tablename__ = "session"
    session_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    account_id: Mapped[int]
    game_id: Mapped[str]
    stake_max_minor: Mapped[int]
    spin_time_last: Mapped[datetime.datetime | None]


class Authorization(Base):
    __tablename__ = "spin_authorization"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("session.session_id"))
    stake_minor: Mapped[int]
    create_time: Mapped[datetime.datetime] = mapped_column(server_default=func.now())


class Round(Base):
    __tablename__ = "round"
    __table_args__ = (UniqueConstraint("account_id", "request_id"),)
    round_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[int]
    request_id: Mapped[uuid.UUID]
    game_id: Mapped[str]
    stake_minor: Mapped[int]
    win_minor: Mapped[int]
    outcome: Mapped[bytes]
    create_time: Mapped[datetime.datetime] = mapped_column(server_default=func.now())


class Account(Base):
    __tablename__ = "account"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    balance_minor: Mapped[int]


class Settlement(Base):
    __tablename__ = "settlement"
    round_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.account_id"))
    applied: Mapped[bool]
    stake_minor: Mapped[int]
    win_minor: Mapped[int]
    balance_after_minor: Mapped[int]
    create_time: Mapped[datetime.datetime] = mapped_column(server_default=func.now())


class Posting(Base):
    """One leg. Account 0 is the house; its balance is not kept, or every spin would wait for its row."""

    __tablename__ = "posting"
    round_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("settlement.round_id"), primary_key=True)
    leg: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int]
    amount_minor: Mapped[int]
