from django.apps import AppConfig


class HoldingsConfig(AppConfig):
    name = "portal.holdings"
    label = "holdings"
