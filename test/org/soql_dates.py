"""Dates in SOQL: literals such as LAST_N_DAYS:7, and datetimes with offsets.

A date literal is a span of whole days, [first, last); weeks begin on Sunday
and the day on midnight UTC, as for a user in that time zone.
"""

import datetime
import re

DATETIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?"
    r"([Zz]|[+-]\d\d:?\d\d)$")


def day(year, month, date=1):
    """A first of a month, where month may lie outside 1 to 12."""
    return datetime.date(year + (month - 1) // 12, (month - 1) % 12 + 1, date)


def unit_start(unit, today):
    if unit == "DAY":
        return today
    if unit == "WEEK":
        return today - datetime.timedelta(days=(today.weekday() + 1) % 7)
    if unit == "MONTH":
        return today.replace(day=1)
    if unit == "QUARTER":
        return day(today.year, (today.month - 1) // 3 * 3 + 1)
    return datetime.date(today.year, 1, 1)


def shift(unit, start, n):
    if unit == "DAY":
        return start + datetime.timedelta(days=n)
    if unit == "WEEK":
        return start + datetime.timedelta(days=7 * n)
    months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}[unit]
    return day(start.year, start.month + months * n)


def span(name, n, today):
    """The days [first, last) that a date literal stands for."""
    name = name.replace("FISCAL_", "")
    if name == "TODAY":
        return today, shift("DAY", today, 1)
    if name == "YESTERDAY":
        return shift("DAY", today, -1), today
    if name == "TOMORROW":
        return shift("DAY", today, 1), shift("DAY", today, 2)
    if name == "LAST_90_DAYS":
        return shift("DAY", today, -90), shift("DAY", today, 1)
    if name == "NEXT_90_DAYS":
        return shift("DAY", today, 1), shift("DAY", today, 91)
    match = re.match(r"(LAST|THIS|NEXT)_([A-Z]+)$", name)
    if match:
        unit = match.group(2)
        here = shift(unit, unit_start(unit, today),
                     {"LAST": -1, "THIS": 0, "NEXT": 1}[match.group(1)])
        return here, shift(unit, here, 1)
    match = re.match(r"N_([A-Z]+)S_AGO$", name)
    if match:
        unit = match.group(1)
        here = shift(unit, unit_start(unit, today), -n)
        return here, shift(unit, here, 1)
    match = re.match(r"(LAST|NEXT)_N_([A-Z]+)S$", name)
    unit = match.group(2)
    here = unit_start(unit, today)
    if match.group(1) == "LAST":
        # Days count up to and with today; longer units leave out this one.
        return (shift(unit, here, -n),
                shift(unit, here, 1 if unit == "DAY" else 0))
    return shift(unit, here, 1), shift(unit, here, n + 1)


def midnight(date):
    """A day's first moment as the org stores datetimes."""
    return date.isoformat() + "T00:00:00.000Z"


def stored_datetime(text):
    """A datetime literal in UTC as the org stores it, or None.

    Fractions of a second are dropped: nothing is stored that fine.
    """
    match = DATETIME.match(text)
    if match is None:
        return None
    numbers = [int(part or 0) for part in match.groups()[:6]]
    try:
        moment = datetime.datetime(*numbers)
    except ValueError:
        return None
    zone = match.group(7)
    if zone not in "Zz":
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        delta = datetime.timedelta(minutes=minutes)
        moment += delta if zone[0] == "-" else -delta
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def stored_date(text):
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        return None
