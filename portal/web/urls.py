"""The pages' addresses: each area's module lists its own."""

from portal.web import csp, example, gallery, health, home, models, patients, people, reading, sending, snapshots, tokens, training, uploads

areas = (home, health, csp, gallery, models, patients, people, reading, snapshots, training, uploads, sending, tokens, example)
urlpatterns = [pattern for area in areas for pattern in area.urls]
