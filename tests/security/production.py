"""What an administrator sets who follows docs/administrator.md."""

PRODUCTION = {
    "SECRET_KEY": "Kq7-nTz_2wXc9LrVb4YgMs8PjHd6FaEu3QoZi5RkUy1tBxNv0mWlSeCfGhJpDA",
    "ALLOWED_HOSTS": "winnow.example.org",
    "CSRF_TRUSTED_ORIGINS": "https://winnow.example.org",
    "DATABASE_URL": "postgres://winnow_app:b7c1f0aa@db.example.org/winnow",
    "REDIS_URL": "redis://cache.example.org:6379/0",
    "WINNOW_BEHIND_PROXY": "1",
}
