"""Where a difference becomes a review: game's own RPC, so that whatever game knows or learns comes first."""

from typing import TYPE_CHECKING, NamedTuple

from reelmesh.game.v1 import game_pb2

from services.common.errors import DomainError
from services.reconciliation.facts import Difference, Sides
from services.reconciliation.walk import Walk

if TYPE_CHECKING:  # the name exists in the type stubs only
    from reelmesh.game.v1.game_pb2_grpc import GameServiceAsyncStub

# What a review's text may hold.
PROBLEM_LENGTH_MAX = 500


class Finding(NamedTuple):
    """A difference, and its review: OPENED, WAITING, DECIDED, RECORDED or NONE."""

    sides: Sides
    differences: list[Difference]
    review: str
    detail: str

    @property
    def counts(self) -> bool:
        """Whether it is open: not decided as it stands, nor ended by looking at it."""
        return self.review not in ("DECIDED", "RECORDED")


class Desk:
    """Takes differences in."""

    def __init__(self, game: "GameServiceAsyncStub", walk: Walk) -> None:
        self._game, self._walk = game, walk

    async def take(self, sides: Sides, found: list[Difference]) -> Finding:
        """Puts a round in review, or says why it is not. What was decided is not asked again."""
        problem = problem_of(found)
        request = game_pb2.OpenReviewRequest(
            operator_id=sides.owner.operator_id, round_id=sides.round_id, problem=problem
        )
        try:
            answer = await self._game.OpenReview(request)
        except DomainError as error:
            return Finding(sides, found, "NONE", f"game did not take it: {error.reason}")
        if not answer.HasField("review"):
            # Game had not heard the wallet's answer. Now it has.
            left = await self._walk.look_again(sides.round_id)
            return (
                Finding(sides, left, "NONE", "look again") if left else Finding(sides, found, "RECORDED", "")
            )
        review = answer.review
        if answer.opened:
            return Finding(sides, found, "OPENED", "make review")
        if not review.HasField("resolve_time"):
            return Finding(sides, found, "WAITING", "make review")
        verdict = game_pb2.Verdict.Name(review.verdict).removeprefix("VERDICT_")
        decided = f"{verdict} by {review.actor}: {review.reason}"
        return Finding(sides, found, "DECIDED", decided)


def problem_of(found: list[Difference]) -> str:
    """What a review says."""
    return f"reconcile: {'; '.join(one.problem for one in found)}"[:PROBLEM_LENGTH_MAX]
