"""Values on their way in: from JSON or CSV to what the database stores, or a refusal."""

import base64
import binascii
import datetime as dt
import decimal
import re

import ids
from errors import ApiError, RecordError

EMAIL = re.compile(r"[^@\s,;:\"<>()]+@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
                   r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+\Z")
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)\Z")
# a time without milliseconds needs Z or an offset with a colon: real orgs refused ...:00+0000
DATETIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)"
                      r"(?:(\.\d{1,9})(Z|[+-]\d\d:?\d\d)|(Z|[+-]\d\d:\d\d))\Z")
TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.\d{1,3})?)?Z?\Z")
TEXT = ("string", "picklist", "multipicklist", "combobox", "textarea", "phone", "url", "email",
        "encryptedstring", "anyType")
NUMBERS = ("double", "currency", "percent")


def json_type(value):
    if isinstance(value, bool):
        return "VALUE_TRUE" if value else "VALUE_FALSE"
    if isinstance(value, int):
        return "VALUE_NUMBER_INT"
    if isinstance(value, float):
        return "VALUE_NUMBER_FLOAT"
    if isinstance(value, str):
        return "VALUE_STRING"
    return "START_ARRAY" if isinstance(value, list) else "START_OBJECT"


def unreadable(kind, value):
    """JSON of the wrong type: the request as a whole cannot be read."""
    return ApiError(400, "JSON_PARSER_ERROR",
                    "Cannot deserialize instance of %s from %s value %s or request may be missing "
                    "a required field" % (kind, json_type(value), value))


def convert(field, value):
    """The stored form of a value for a field; None is null."""
    if value is None or value == "":
        return 0 if field.type == "boolean" else None
    kind = field.type
    if kind in TEXT:
        return text(field, value)
    if kind in NUMBERS:
        return number(field, value)
    if kind in ("int", "long"):
        return whole(field, value)
    if kind == "boolean":
        return boolean(value)
    if kind in ("reference", "id"):
        return reference(field, value)
    if kind == "date":
        return date(value)
    if kind == "datetime":
        return datetime(value)
    if kind == "time":
        return time(value)
    if kind == "base64":
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise unreadable("base64Binary", value) from None
    raise RecordError("INVALID_TYPE_ON_FIELD_IN_RECORD",
                      "%s: cannot be set" % field.label, [field.name])


def text(field, value):
    if not isinstance(value, str):
        raise unreadable("string", value)
    # leading and trailing white space is not kept, and an empty text is null
    value = value.strip()
    if not value.isascii():
        # half of a surrogate pair is no character
        value = value.encode("utf-8", "replace").decode("utf-8")
    if not value:
        return None
    if field.type == "multipicklist":
        value = multi(field, value)
    elif field.type == "picklist":
        value = pick(field, value)
    elif field.type == "email" and not EMAIL.match(value):
        raise RecordError("INVALID_EMAIL_ADDRESS",
                          "%s: invalid email address: %s" % (field.label, value), [field.name])
    if field.length and len(value) > field.length:
        shown = value if len(value) <= 255 else value[:252] + "..."
        raise RecordError("STRING_TOO_LONG", "%s: data value too large: %s (max length=%d)"
                          % (field.label, shown, field.length), [field.name])
    return value


def pick(field, value):
    if not field.restricted_picklist:
        return value
    for entry in field.picklist:
        if entry["active"] and entry["value"].lower() == value.lower():
            return entry["value"]
    raise RecordError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                      "%s: bad value for restricted picklist field: %s" % (field.label, value),
                      [field.name])


def multi(field, value):
    """Several picklist values in the order of the picklist, each once."""
    parts = [pick(field, part.strip()) for part in value.split(";") if part.strip()]
    order = {entry["value"]: at for at, entry in enumerate(field.picklist)}
    return ";".join(sorted(dict.fromkeys(parts), key=lambda part: order.get(part, len(order))))


def whole(field, value):
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise unreadable("int", value)
    try:
        exact = decimal.Decimal(str(value))
    except decimal.InvalidOperation:
        raise unreadable("int", value) from None
    if not exact.is_finite() or exact != exact.to_integral_value():
        raise unreadable("int", value)
    if field.digits and abs(exact) >= 10 ** field.digits or abs(exact) >= 2 ** 63:
        raise out_of_range(field, value)
    return int(exact)


def number(field, value):
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise unreadable("double", value)
    try:
        exact = decimal.Decimal(str(value).strip())
    except decimal.InvalidOperation:
        raise unreadable("double", value) from None
    if not exact.is_finite():
        raise unreadable("double", value)
    scale = field.scale
    if field.type == "currency" and not field.custom:
        # standard amounts report scale 0 and take cents all the same
        scale = max(scale, 2)
    if field.precision and abs(exact) >= decimal.Decimal(10) ** (field.precision - field.scale):
        raise out_of_range(field, value)
    with decimal.localcontext() as context:
        context.prec = 60
        exact = exact.quantize(decimal.Decimal(1).scaleb(-scale), decimal.ROUND_HALF_UP)
    return float(exact)


def out_of_range(field, value):
    return RecordError("NUMBER_OUTSIDE_VALID_RANGE",
                       "%s: value outside of valid range on numeric field: %s"
                       % (field.label, value), [field.name])


def boolean(value):
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.lower() in ("true", "1"):
        return 1
    if isinstance(value, str) and value.lower() in ("false", "0"):
        return 0
    raise unreadable("boolean", value)


def reference(field, value):
    if not isinstance(value, str):
        raise unreadable("reference", value)
    value = value.strip()
    if not ids.well_formed(value):
        raise RecordError("MALFORMED_ID", "%s: id value of incorrect type: %s"
                          % (field.label, value), [field.name])
    value = ids.long_form(value)
    return None if value == ids.EMPTY else value


def date(value):
    found = DATE.match(value) if isinstance(value, str) else None
    if found is None and isinstance(value, str):
        moment = DATETIME.match(value)
        found = DATE.match(moment.group(1)) if moment else None
    if found is None or not _is_day(*found.groups()):
        raise unreadable("date", value)
    return found.group(0)


def _is_day(year, month, day):
    try:
        return 1700 <= dt.date(int(year), int(month), int(day)).year <= 4000
    except ValueError:
        return False


def datetime(value):
    """Whole seconds of UTC, whatever offset and fraction came in."""
    found = DATETIME.match(value) if isinstance(value, str) else None
    if found is None or not _is_day(*found.group(1).split("-")):
        raise unreadable("datetime", value)
    zone = found.group(4) or found.group(5)
    zone = "+00:00" if zone == "Z" else zone[:3] + ":" + zone[-2:]
    try:
        moment = dt.datetime.fromisoformat(found.group(1) + "T" + found.group(2) + zone)
        return moment.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    except (ValueError, OverflowError):
        raise unreadable("datetime", value) from None


def time(value):
    found = TIME.match(value) if isinstance(value, str) else None
    if found is None:
        raise unreadable("time", value)
    return "%s:%s:%s.000Z" % (found.group(1), found.group(2), found.group(3) or "00")
