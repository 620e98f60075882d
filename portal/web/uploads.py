"""Pages of uploads."""

from django.urls import URLPattern

urls: list[URLPattern] = []
