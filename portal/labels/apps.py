from django.apps import AppConfig


class LabelsConfig(AppConfig):
    name = "portal.labels"
    label = "labels"
