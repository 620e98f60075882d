"""The pages' addresses: each area's module lists its own."""

from portal.web import (
    csp,
    erasures,
    example,
    gallery,
    health,
    home,
    metadata,
    models,
    patients,
    people,
    pictures,
    quarantine,
    reading,
    sending,
    snapshots,
    tokens,
    training,
    uploads,
)

areas = (
    home,
    health,
    csp,
    gallery,
    models,
    metadata,
    patients,
    erasures,
    people,
    pictures,
    quarantine,
    reading,
    snapshots,
    training,
    uploads,
    sending,
    tokens,
    example,
)
urlpatterns = [pattern for area in areas for pattern in area.urls]
