"""The one way to write an audit event: in the transaction of the change itself."""

from typing import Any

from django.db.models import Model

from portal.audit.models import AuditEvent


def record(*, actor_id: int | None, action: str, subject: Model, site_id: int | None = None, **details: Any) -> AuditEvent:
    """Write one event. `details` are small JSON values: before and after, never a patient's name, a picture or a secret."""
    return AuditEvent.objects.create(
        actor_id=actor_id, action=action, subject_type=subject._meta.label, subject_id=subject.pk, site_id=site_id, details=details
    )
