"""The example set's page: what it is, and its readers' work done by the generator's truth."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.core.text import counted
from portal.pipeline import example


@require_GET
def page(request: UserRequest) -> HttpResponse:
    return render(request, "example/example.html", {"states": example.states(), "may_settle": access.can(request.user, "freeze")})


@require_POST
def settle(request: UserRequest) -> HttpResponse:
    access.require(request.user, "freeze")
    settled = example.settle(actor=request.user)
    later = f"; {settled.waiting} {'is' if settled.waiting == 1 else 'are'} not yet analysed: settle again later" if settled.waiting else ""
    messages.success(
        request, f"{counted(settled.settled, 'image')} settled now, {settled.done} {'was' if settled.done == 1 else 'were'} before{later}."
    )
    return redirect("example")


urls = [path("example/", page, name="example"), path("example/settle/", settle, name="example_settle")]
