"""Winnow's portal. Celery's app is imported here so that `@shared_task` finds it."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
