"""Pages of people, invitations and sites."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.password_validation import password_validators_help_text_html
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import access, selectors, services
from portal.accounts.http import UserRequest
from portal.accounts.models import EVERYWHERE, Invitation, Membership, Role, Site, User
from portal.core.errors import BadInput
from portal.web import audit, operations, sites

_WHERE = (
    "Needed for uploader and site lead. For a reader or adjudicator: the site they work at themselves, whose images they do not read first."
)


class RolesForm(forms.Form):
    """Roles and where they hold. The choices of sites are the visible ones."""

    roles = forms.MultipleChoiceField(choices=Role.choices, widget=forms.CheckboxSelectMultiple)
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="no site", help_text=_WHERE)

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = selectors.sites(user)  # type: ignore[attr-defined]

    def grants(self) -> list[services.Grant]:
        site, roles = self.cleaned_data["site"], [Role(name) for name in self.cleaned_data["roles"]]
        return [(role, None if role in EVERYWHERE else site) for role in roles]


class InviteForm(RolesForm):
    email = forms.EmailField(label="E-mail address", max_length=254)
    field_order = ("email", "roles", "site")


class SiteForm(forms.Form):
    name = forms.CharField(max_length=120)
    country = forms.CharField(max_length=80, required=False)


class AcceptForm(forms.Form):
    email = forms.EmailField(label="Your e-mail address", max_length=254)
    name = forms.CharField(label="Your name", max_length=120, widget=forms.TextInput({"autocomplete": "name"}))
    password = forms.CharField(
        widget=forms.PasswordInput({"autocomplete": "new-password"}), help_text=password_validators_help_text_html, strip=False
    )

    def __init__(self, invitation: Invitation, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if invitation.email:
            del self.fields["email"]


@require_safe
def people(request: UserRequest) -> HttpResponse:
    return _people_page(request, InviteForm(request.user))


@require_POST
def invite(request: UserRequest) -> HttpResponse:
    """Answers with the page itself: the link is shown this once and kept nowhere."""
    access.require(request.user, "invite")
    form = InviteForm(request.user, request.POST)
    if not form.is_valid():
        return _people_page(request, form, status=400)
    try:
        invitation, link = services.invite(email=form.cleaned_data["email"], roles=form.grants(), actor=request.user)
    except BadInput as error:
        form.add_error(None, error.message)
        return _people_page(request, form, status=400)
    address = request.build_absolute_uri(link)
    mailed = _mail(invitation.email, address)
    return _people_page(request, InviteForm(request.user), link=address, invited=invitation.email, mailed=mailed)


def _people_page(request: UserRequest, form: InviteForm, *, status: int = 200, **extra: Any) -> HttpResponse:
    shown = {"people": selectors.people(request.user), "invitations": selectors.open_invitations(request.user), "form": form}
    return render(request, "people/people.html", {**shown, **extra}, status=status)


def _mail(email: str, address: str) -> bool:
    """Send the link where a mail server is configured; else the administrator hands it over."""
    if settings.EMAIL_BACKEND.endswith(("console.EmailBackend", "dummy.EmailBackend")):
        return False
    text = f"You are invited to Winnow. Open this link within seven days to make your account:\n\n{address}\n\nIt works once."
    return bool(send_mail("Your invitation to Winnow", text, None, [email], fail_silently=True))


@require_POST
def invitation_void(request: UserRequest, invitation_id: int) -> HttpResponse:
    access.require(request.user, "invite")
    services.void_invitation(invitation=access.get_visible(Invitation, request.user, invitation_id), actor=request.user)
    return redirect("people")


@require_safe
def person(request: UserRequest, user_id: int) -> HttpResponse:
    found = access.get_visible(User, request.user, user_id)
    return _person_page(request, found, RolesForm(request.user))


@require_POST
def person_grant(request: UserRequest, user_id: int) -> HttpResponse:
    access.require(request.user, "invite")
    found = access.get_visible(User, request.user, user_id)
    form = RolesForm(request.user, request.POST)
    if not form.is_valid():
        return _person_page(request, found, form, status=400)
    try:
        services.grant_all(user=found, grants=form.grants(), actor=request.user)
    except BadInput as error:
        form.add_error(None, error.message)
        return _person_page(request, found, form, status=400)
    return redirect("person", user_id=user_id)


def _person_page(request: UserRequest, person: User, form: RolesForm, *, status: int = 200) -> HttpResponse:
    held = person.memberships.select_related("site").order_by("role", "site__name")
    return render(request, "people/person.html", {"person": person, "held": held, "form": form}, status=status)


@require_POST
def person_active(request: UserRequest, user_id: int) -> HttpResponse:
    access.require(request.user, "invite")
    found = access.get_visible(User, request.user, user_id)
    change = services.deactivate if found.is_active else services.reactivate
    change(user=found, actor=request.user)
    return redirect("person", user_id=user_id)


@require_POST
def membership_revoke(request: UserRequest, membership_id: int) -> HttpResponse:
    access.require(request.user, "invite")
    found = access.get_visible(Membership, request.user, membership_id)
    services.revoke(membership=found, actor=request.user)
    return redirect("person", user_id=found.user_id)


@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    found = services.open_invitation(token)
    form = AcceptForm(found, request.POST or None)
    if form.is_valid():
        given = {"email": found.email, **form.cleaned_data}
        try:
            services.accept_invitation(token=token, **given)
        except BadInput as error:
            form.add_error(None, error.message)
        else:
            logout(request)
            messages.success(request, "Your account is made. Log in with your e-mail address and password.")
            return redirect("account_login")
    roles = [Role(grant["role"]).label for grant in found.roles]
    status = 400 if form.errors else 200
    return render(request, "people/invitation.html", {"form": form, "invitation": found, "roles": roles}, status=status)


@require_safe
def site_list(request: UserRequest) -> HttpResponse:
    return _sites_page(request, SiteForm())


@require_POST
def site_create(request: UserRequest) -> HttpResponse:
    access.require(request.user, "manage_sites")
    form = SiteForm(request.POST)
    if form.is_valid():
        try:
            site = services.create_site(actor=request.user, **form.cleaned_data)
        except BadInput as error:
            form.add_error("name", error.message)
        else:
            return redirect("site", site_id=site.pk)
    return _sites_page(request, form, status=400)


def _sites_page(request: UserRequest, form: SiteForm, *, status: int = 200) -> HttpResponse:
    may_create = access.can(request.user, "manage_sites")
    return render(
        request, "people/sites.html", {"sites": selectors.sites(request.user), "form": form, "may_create": may_create}, status=status
    )


urls = [
    path("people/", people, name="people"),
    path("people/invite/", invite, name="invite"),
    path("people/<int:user_id>/", person, name="person"),
    path("people/<int:user_id>/roles/", person_grant, name="person_grant"),
    path("people/<int:user_id>/active/", person_active, name="person_active"),
    path("people/roles/<int:membership_id>/revoke/", membership_revoke, name="membership_revoke"),
    path("people/invitations/<int:invitation_id>/void/", invitation_void, name="invitation_void"),
    path("invitation/<str:token>/", invitation, name="invitation"),
    path("sites/", site_list, name="site_list"),
    path("sites/create/", site_create, name="site_create"),
    *sites.urls,
    *operations.urls,
    *audit.urls,
]
