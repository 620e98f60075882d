"""Pages of people."""

from django.urls import URLPattern

urls: list[URLPattern] = []
