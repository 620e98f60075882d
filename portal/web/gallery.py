"""Pages of gallery."""

from django.urls import URLPattern

urls: list[URLPattern] = []
