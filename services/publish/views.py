"""What publishing shows, in the shape of the contract's messages."""

from typing import Any

from services.chassis.names import name
from services.schema.tables import Activity, Audit, Merchant, Publication, Supply, Transition


def publication_view(publication: Publication, *, with_audit: bool) -> dict[str, Any]:
    """The plain form of Publication."""
    audit = Audit.get_by_id(publication.audit_id).uid if with_audit else None
    return {
        "name": name("publications", publication.uid),
        "activity": name("activities", Activity.get_by_id(publication.activity_id).uid),
        "merchant": name("merchants", Merchant.get_by_id(publication.merchant_id).uid),
        "revision": publication.revision,
        "state": publication.state,
        "digest": publication.digest,
        "snapshot": publication.snapshot,
        "publish_time": publication.publish_time,
        "audit": audit and name("audits", audit),
    }


def supply_view(supply: Supply, activity_uid: str, currency: str) -> dict[str, Any]:
    """The plain form of Supply."""
    has_budget = supply.budget is not None
    return {
        "activity": name("activities", activity_uid),
        "stock": supply.stock,
        "day_stock": supply.day_stock,
        "taken": supply.taken,
        "redeemed": supply.redeemed,
        "budget": {"currency": currency, "minor": supply.budget} if has_budget else None,
        "committed": {"currency": currency, "minor": supply.committed} if has_budget else None,
        "is_issuing_stopped": supply.is_stopped,
    }


def transition_view(row: Transition) -> dict[str, Any]:
    """The plain form of Transition."""
    return {
        "sequence": row.sequence,
        "subject": row.subject,
        "revision": row.revision,
        "from_state": row.from_state,
        "to_state": row.to_state,
        "time": row.time,
        "actor_role": row.actor_role,
        "actor": row.actor,
        "reason": row.reason,
    }
