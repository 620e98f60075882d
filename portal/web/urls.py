"""The pages' addresses: each area's module lists its own."""

from portal.web import gallery, home, models, people, reading, snapshots, training, uploads

urlpatterns = [*home.urls, *gallery.urls, *uploads.urls, *people.urls, *reading.urls, *snapshots.urls, *training.urls, *models.urls]
