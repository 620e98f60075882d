"""Pages of models."""

from django.urls import URLPattern

urls: list[URLPattern] = []
