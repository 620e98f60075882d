"""The storm over the whole way: the command line client sends folders over HTTP, by tus, to a web server that is killed as well."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from portal.accounts import tokens
from portal.accounts.models import Role, Site
from portal.audit import services as audit
from tests.cast import make_user, make_version, picture_bytes
from tests.chaos.groups import Group
from tests.chaos.storm import COMPARE, IMAGES_AN_EXAM, Storm
from tests.serving import Web

_RECEIVED = "SELECT count(*) FROM images_image"
_UNFINISHED = "SELECT count(*) FROM images_arrival AS a WHERE file_id IS NULL AND name NOT IN (SELECT original_name FROM images_image)"
_SENT_TWICE = "SELECT name FROM images_uploadfile GROUP BY upload_id, name HAVING count(*) > 1"


class LineStorm(Storm):
    """`plan.web_kills` fall while files are being received, the other blows as in every storm."""

    def _senders(self) -> list[Group]:
        site = Site.objects.create(name="Storm", slug="storm")
        actor = make_user("storm", (Role.UPLOADER, site))
        version = make_version("champion", context=COMPARE.as_json(), fusion={"t_lo": 0.3, "t_hi": 0.7})
        audit.record(actor_id=None, action="version.registered", subject=version)
        token = self.folder / "token.txt"
        token.touch(mode=0o600)
        token.write_text(tokens.make(site=site, name="storm", days=1, actor=actor)[1])
        stores = {"WINNOW_ORIGINALS": str(settings.ORIGINALS_DIR), "WINNOW_CLEAN": str(settings.CLEAN_DIR)}
        self.web = Web(self.folder / "web", workers=2, **{**self.env, **stores})
        early = self._shares()[-1][0]
        self.web_kills_due = [early * (n + 0.5) / self.plan.web_kills for n in range(self.plan.web_kills)]
        """Images received by then."""
        self.sent: set[str] = set()
        return [self._sending(n, token, first, last) for n, (first, last) in enumerate(self._shares())]

    def _sending(self, number: int, token: Path, first: int, last: int) -> Group:
        folder = self.folder / f"clinic{number}"
        folder.mkdir()
        for item in range(first, last):
            data = picture_bytes(seed=item)
            (folder / f"{item}.jpg").write_bytes(data)
            self.sent.add(hashlib.sha256(data).hexdigest())
        table = self.folder / f"table{number}.csv"
        table.write_text("file,patient,exam\n" + "".join(f"{n}.jpg,P{n // IMAGES_AN_EXAM},visit\n" for n in range(first, last)))
        argv = [sys.executable, "-m", "client", "upload", str(folder), "--site", "storm", "--server", self.web.url]
        argv += ["--token-file", str(token), "--metadata", str(table)]
        return Group(f"sender{number}", argv, self.env, self.folder / f"sender{number}.log", finite=True)

    def _is_over(self) -> bool:
        return super()._is_over() and not self.web_kills_due

    def _until_done(self) -> Iterator[float]:
        for progress in super()._until_done():
            received = self._one(_RECEIVED) or 0
            while self.web_kills_due and received >= self.web_kills_due[0]:
                self.web_kills_due.pop(0)
                self.web.kill()
                time.sleep(0.3)
                self.web.start()
                self.outcome.web_kills += 1
            yield progress

    @contextmanager
    def _everything_running(self) -> Iterator[None]:
        try:
            self.web.start()
            with super()._everything_running():
                yield
        finally:
            self.web.close()

    def _acknowledged(self) -> set[str]:
        """Every file of every folder: the client ends well only when all are in."""
        return self.sent if all(sender.finished for sender in self.senders) else set()

    def _count(self) -> None:
        super()._count()
        self.outcome.doubled += self._one(f"SELECT count(*) FROM ({_SENT_TWICE}) AS x") or 0
        self.outcome.lost += self._one(_UNFINISHED) or 0
