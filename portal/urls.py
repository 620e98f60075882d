"""Every address. A route without a rule in `accounts/access.py` stops the start."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("api/", include("portal.api.urls")),
    path("", include("portal.web.urls")),
]

handler403 = "portal.accounts.middleware.forbidden"
handler404 = "portal.accounts.middleware.not_found"
handler500 = "portal.accounts.middleware.server_error"
