"""Pages of reading."""

from django.urls import URLPattern

urls: list[URLPattern] = []
