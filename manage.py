#!/usr/bin/env python
"""Winnow's command line; `manage.py up` starts everything."""

import os
import sys


def main() -> int:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    if not {"DATABASE_URL", "DATABASE_URL_FILE"} & os.environ.keys() or command == "up":
        from portal.embedded.environment import adopt

        adopt(os.environ, command)
    if command == "up":
        # Without Django: it is what starts Django's processes, with the settings that each is to have.
        from portal.embedded.stack import main as up

        return up()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
