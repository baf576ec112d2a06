"""Records as clients send them: dictionaries whose keys are names in any case."""

import ids
from errors import RecordError


def given(record):
    """Without the fields that are null."""
    return {name: value for name, value in record.items() if value is not None}


def pop_key(record, name):
    for key in list(record):
        if key.lower() == name.lower():
            return record.pop(key)
    return None


def of_object(obj, text):
    """The 18-character form of an id given for an object, or a refusal."""
    if not ids.well_formed(text):
        raise RecordError("MALFORMED_ID", "malformed id %s" % text, ["Id"])
    text = ids.long_form(text)
    if obj.key_prefix and not text.startswith(obj.key_prefix):
        raise RecordError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    return text
