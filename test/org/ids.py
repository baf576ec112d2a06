"""Salesforce record ids.

An id is a three-character key prefix and twelve base-62 characters; the 18-character form appends
a checksum that makes it safe where case is lost.
"""

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
EMPTY = "000000000000000AAA"

#: two characters that stand for the instance, one that is reserved
POD = "5h0"


def checksum(id15):
    """The three characters that tell which of the fifteen are upper case."""
    out = ""
    for start in (0, 5, 10):
        bits = 0
        for k, ch in enumerate(id15[start:start + 5]):
            if "A" <= ch <= "Z":
                bits |= 1 << k
        out += CHECK[bits]
    return out


def base62(number, width):
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = BASE62[rest] + digits
    return digits.rjust(width, "0")


def make(prefix, number):
    """The 18-character id of the number-th record under a key prefix."""
    id15 = prefix + POD + base62(number, 9)
    return id15 + checksum(id15)


def well_formed(text):
    """Whether a text could be an id: length, alphabet, and the checksum of a long one."""
    if not isinstance(text, str) or len(text) not in (15, 18):
        return False
    if not (text.isascii() and text.isalnum()):
        return False
    return len(text) == 15 or checksum(text[:15]) == text[15:].upper()


def long_form(text):
    """The 18-character form of a well-formed id."""
    return text[:15] + checksum(text[:15])
