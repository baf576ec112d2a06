"""The org's own clock.

Everything that the org stamps or dates comes from here, so that a test can make the org disagree
with the client's machine.
"""

import threading
import time
from datetime import datetime, timezone
from email.utils import format_datetime, parsedate_to_datetime

STORED = "%Y-%m-%dT%H:%M:%S.000Z"


class Clock:
    def __init__(self):
        self._lock = threading.Lock()
        self._skew = 0.0
        self._frozen = None

    def now(self):
        """Seconds since 1970 as the org sees them."""
        with self._lock:
            if self._frozen is not None:
                return self._frozen
            return time.time() + self._skew

    def set_skew(self, seconds):
        with self._lock:
            self._skew = float(seconds)
            if self._frozen is not None:
                self._frozen = time.time() + self._skew

    def step(self, seconds):
        with self._lock:
            self._skew += seconds
            if self._frozen is not None:
                self._frozen += seconds

    def set_at(self, moment):
        with self._lock:
            self._skew = moment - time.time()
            if self._frozen is not None:
                self._frozen = moment

    def freeze(self, on):
        with self._lock:
            if on and self._frozen is None:
                self._frozen = time.time() + self._skew
            elif not on and self._frozen is not None:
                self._skew = self._frozen - time.time()
                self._frozen = None

    def datetime(self):
        return datetime.fromtimestamp(self.now(), timezone.utc)

    def stamp(self):
        """Now, as the database stores a datetime: whole seconds."""
        return to_stored(self.now())

    def http_date(self):
        return to_http(self.now())


def to_stored(moment):
    return time.strftime(STORED, time.gmtime(moment))


def from_stored(text):
    return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(
        tzinfo=timezone.utc).timestamp()


def to_http(moment):
    return format_datetime(
        datetime.fromtimestamp(int(moment), timezone.utc), usegmt=True)


def from_http(text):
    """Seconds of an HTTP-date, or None when it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()


def to_rest(stored):
    """A stored datetime as the REST API writes it: +0000, without a colon."""
    return stored[:-1] + "+0000"


def rest(moment):
    """Seconds as the REST API writes them."""
    return to_rest(to_stored(moment))


def parse_iso(text):
    """Seconds of an ISO 8601 datetime as the API takes them in URLs, or None."""
    text = text.strip()
    if text.endswith(("Z", "z")):
        text = text[:-1] + "+00:00"
    elif len(text) > 5 and text[-5] in "+-" and text[-4:].isdigit():
        text = text[:-2] + ":" + text[-2:]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return moment.timestamp()
