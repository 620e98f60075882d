"""The first page after login."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

from portal.accounts.http import UserRequest


def home(request: UserRequest) -> HttpResponse:
    return render(request, "home/home.html")


urls = [path("", home, name="home")]
