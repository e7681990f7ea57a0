"""Submissions that wait for the machine's audit, each leased to one process at a time."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis import database, parameters
from services.chassis.names import name
from services.schema.tables import Activity

_CANDIDATES = 20


@dataclass(frozen=True)
class Pending:
    """One submission to ask AuditService about; `uid` is the activity's."""

    uid: str
    digest: str
    version: int

    @classmethod
    def of(cls, activity: Activity) -> "Pending":
        return cls(activity.uid, str(activity.digest), activity.version)

    @property
    def activity(self) -> str:
        """activities/{activity}."""
        return name("activities", self.uid)

    @property
    def request_id(self) -> str:
        """The same for the same submission, whoever asks and however often: only one asking has an effect."""
        return hashlib.sha256(f"{self.uid}/{self.digest}/{self.version}".encode()).hexdigest()


def lease_from(now: datetime) -> datetime:
    """Until when a submission that is taken now is left alone by everybody else."""
    return now + timedelta(seconds=parameters.current().audit_lease_seconds)


def take_next(now: datetime) -> Pending | None:
    """Lease the submission that has waited longest beyond its lease; None if there is none. Opens its own write()."""
    waiting = (
        Activity.select(Activity.id, Activity.uid, Activity.digest, Activity.version, Activity.lease_until)
        .where(Activity.state == "PENDING_AUDIT", Activity.lease_until <= now)
        .order_by(Activity.lease_until)
        .limit(_CANDIDATES)
    )
    for row in list(waiting):
        with database.write():
            taken = (
                Activity.update(lease_until=lease_from(now))
                .where(
                    Activity.id == row.id, Activity.state == "PENDING_AUDIT", Activity.lease_until == row.lease_until
                )
                .execute()
            )
        if taken:
            return Pending.of(row)
    return None
