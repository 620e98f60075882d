"""The web process. Never loads torch."""

import gc
import os

# what the first file's bell would import while its sender waits
import celery.app.amqp  # noqa: F401
import kombu.transport.redis  # noqa: F401
from django.core.wsgi import get_wsgi_application

from portal.core.charset import guarded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = guarded(get_wsgi_application())
# What is loaded by now stays: no collection needs to look at it again.
gc.collect()
gc.freeze()
