"""The API's addresses."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from portal.api import uploads, views

app_name = "api"
urlpatterns = [
    path("v1/sites/", views.Sites.as_view(), name="site-list"),
    path("v1/sites/<int:site_id>/", views.OneSite.as_view(), name="site-detail"),
    path("v1/images/", views.Images.as_view(), name="image-list"),
    path("v1/images/<int:image_id>/", views.OneImage.as_view(), name="image-detail"),
    path("v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    *uploads.urlpatterns,
]
