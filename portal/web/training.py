"""Pages of training."""

from django.urls import URLPattern

urls: list[URLPattern] = []
