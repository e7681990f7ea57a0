"""What an answer comes to, in the few words that a table has room for."""

from services.journey import content
from sharemesh.v1 import audit_pb2, entry_pb2, publish_pb2, redeem_pb2, share_pb2
from sharemesh.v1.error_reason_pb2 import ErrorReason
from sharemesh.v1.options_pb2 import Role


def state(activity: entry_pb2.Activity) -> str:
    return entry_pb2.ActivityState.Name(activity.state).removeprefix("ACTIVITY_STATE_")


def coupon_state(coupon: redeem_pb2.Coupon) -> str:
    return redeem_pb2.CouponState.Name(coupon.state).removeprefix("COUPON_STATE_")


def channel(share: share_pb2.Share) -> str:
    return share_pb2.Channel.Name(share.channel).removeprefix("CHANNEL_")


def visited(visit: share_pb2.RecordVisitResponse) -> str:
    return "first visit" if visit.is_first else "seen before"


def verdict(answer: redeem_pb2.VerifyCouponResponse) -> str:
    verdict = answer.verdicts[0]
    if verdict.is_usable:
        return f"{content.text_of(verdict.discount)} off"
    return ErrorReason.Name(verdict.reason).removeprefix("ERROR_REASON_")


def taken_off(redemption: redeem_pb2.Redemption) -> str:
    return f"{content.text_of(redemption.discount)} off"


def found(audit: audit_pb2.Audit) -> list[tuple[str, ...]]:
    """The findings as rows of evidence, each with the transformations that exposed it; terms that say the same once."""
    rows = (
        (
            one.field,
            one.text + "".join(f"\n({step})" for step in one.steps),
            one.category,
            f"{one.basis}\n{one.rewrite.en}",
        )
        for one in audit.findings
    )
    return [*dict.fromkeys(rows)]


def row(row: redeem_pb2.ActivityReport.Row) -> tuple[str, ...]:
    counts = (row.shares, row.visits, row.claims, row.redemptions)
    return (row.key or "total", *map(str, counts), content.text_of(row.discount))


def moves(page: publish_pb2.ListTransitionsResponse) -> list[tuple[str, ...]]:
    return [
        (
            str(move.sequence),
            publish_pb2.Transition.Subject.Name(move.subject).removeprefix("SUBJECT_").lower(),
            move.from_state,
            move.to_state,
            Role.Name(move.actor_role).removeprefix("ROLE_").lower(),
        )
        for move in page.transitions
    ]
