"""Pages of snapshots."""

from django.urls import URLPattern

urls: list[URLPattern] = []
