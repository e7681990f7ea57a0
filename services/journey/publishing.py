"""The second chapter: what the audit will not have, and what it will."""

from google.protobuf.field_mask_pb2 import FieldMask

from services.journey import content, readings
from services.journey.scene import Scene
from services.journey.telling import new_request
from sharemesh.v1 import audit_pb2, entry_pb2, publish_pb2


def publish(scene: Scene) -> None:
    """The audit refuses the words and says why; corrected, they are published."""
    scene.telling.show.chapter("Publishing: what the audit will not have, and what it will")
    does, lin = scene.telling.does, scene.lin
    submitted = does(
        "Lin",
        "submits it",
        lin.publish.SubmitActivity,
        publish_pb2.SubmitActivityRequest(name=scene.activity, request_id=new_request()),
        readings.state,
        "REJECTED",
    )
    audit = does(
        "Lin",
        "asks why",
        lin.audit.GetAudit,
        audit_pb2.GetAuditRequest(name=submitted.audit),
        lambda audit: audit_pb2.Decision.Name(audit.decision).removeprefix("DECISION_"),
        "REJECT",
    )
    scene.telling.show.evidence(
        "The evidence", [("where", "passage", "category", "the law, and how to put it instead"), *readings.found(audit)]
    )
    scene.telling.is_refused(
        "Mallory",
        "tries to read Lin's draft",
        scene.mallory.entry.GetActivity,
        entry_pb2.GetActivityRequest(name=scene.activity),
        "RESOURCE_NOT_FOUND",
    )
    corrected = entry_pb2.Activity(
        name=scene.activity, etag=submitted.etag, title=content.TITLE, description=content.DESCRIPTION
    )
    update = entry_pb2.UpdateActivityRequest(
        activity=corrected, update_mask=FieldMask(paths=["title", "description"]), request_id=new_request()
    )
    does("Lin", f"corrects it: {content.TITLE}", lin.entry.UpdateActivity, update, readings.state, "DRAFT")
    scene.publication = does(
        "Lin",
        "submits it again",
        lin.publish.SubmitActivity,
        publish_pb2.SubmitActivityRequest(name=scene.activity, request_id=new_request()),
        readings.state,
        "APPROVED",
    ).publication
    does(
        "anybody",
        "reads the publication, without a token",
        scene.anybody.publish.GetPublication,
        publish_pb2.GetPublicationRequest(name=scene.publication),
        lambda seen: entry_pb2.PublicationState.Name(seen.state).removeprefix("PUBLICATION_STATE_"),
        "LIVE",
    )
