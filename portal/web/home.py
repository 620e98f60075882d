"""The first page after login: what there is, what is in work, what waits for whom."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.ml import Kind
from portal.registry import selectors as registry
from portal.web import selectors


def home(request: UserRequest) -> HttpResponse:
    figures = selectors.site_figures(request.user) if access.reaches(request.user, "gallery") else []
    is_admin = access.has_role(request.user, access.ADMINS)
    context = {
        "figures": figures,
        "totals": selectors.totals(figures),
        "kinds": [kind.value for kind in Kind],
        "chart": {
            "sites": [row.site.name for row in figures],
            "patients": [row.patients for row in figures],
            "kinds": {kind.value: [row.kinds[kind.value] for row in figures] for kind in Kind},
            "unlabelled": {
                "waiting for readers": [row.in_review for row in figures],
                "in work": [row.in_work for row in figures],
                "rejected or failed": [row.refused for row in figures],
            },
        },
        "may_read": access.can(request.user, "read"),
        "may_upload": access.can(request.user, "upload"),
        "leads_study": access.can(request.user, "set_rules"),
        "is_admin": is_admin,
        "queue": selectors.queue_figures() if is_admin else None,
        "champion": registry.champion() if is_admin else None,
    }
    return render(request, "home/home.html", context)


urls = [path("", home, name="home")]
