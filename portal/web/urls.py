"""The pages' addresses: each area's module lists its own."""

from portal.web import (
    example,
    gallery,
    health,
    home,
    metadata,
    models,
    patients,
    people,
    reading,
    sending,
    snapshots,
    tokens,
    training,
    uploads,
)

areas = (home, health, gallery, models, patients, metadata, people, reading, snapshots, training, uploads, sending, tokens, example)
urlpatterns = [pattern for area in areas for pattern in area.urls]
