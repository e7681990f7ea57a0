"""Activities as their owners see them, in the shape of the contract's Activity."""

from collections.abc import Sequence
from typing import Any

from services.chassis.names import name
from services.schema.catalogue import uids
from services.schema.tables import Activity, Audit, Merchant, Publication


def activity_view(activity: Activity) -> dict[str, Any]:
    """One activity; see activity_views()."""
    return activity_views([activity])[0]


def activity_views(activities: Sequence[Activity]) -> list[dict[str, Any]]:
    """The activities as plain dicts in the shape of Activity, whatever their number by three look-ups."""
    merchants = uids(Merchant, (one.merchant_id for one in activities))
    publications = _publications({one.publication_id for one in activities if one.publication_id is not None})
    audits = uids(Audit, (one.audit_id for one in activities))
    views = []
    for activity in activities:
        publication, audit = publications.get(activity.publication_id or 0), audits.get(activity.audit_id or 0)
        views.append(
            {
                **activity.content,
                "name": name("activities", activity.uid),
                "merchant": name("merchants", merchants[activity.merchant_id]),
                "template": name("templates", activity.template),
                "state": activity.state,
                "revision": activity.revision,
                "publication": publication and name("publications", publication.uid),
                "publication_state": publication and publication.state,
                "audit": audit and name("audits", audit),
                "create_time": activity.create_time,
                "update_time": activity.update_time,
                "etag": str(activity.version),
            }
        )
    return views


def _publications(ids: set[int]) -> dict[int, Publication]:
    """The publications by id, without their snapshots, which no view of an activity shows."""
    columns = (Publication.id, Publication.uid, Publication.state)
    return {row.id: row for row in Publication.select(*columns).where(Publication.id << ids)} if ids else {}
