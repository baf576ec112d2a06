"""Rows of the simulated org as lines of text, quickly: for SyncTest::same_rows.

usage: org_rows.py ADMIN_URL SOQL FIELD...

Prints one line per record, the fields separated by tabs, in the text format
of COPY: null is \\N, special characters are escaped.
"""

import json
import sys
import urllib.parse
import urllib.request

ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b",
                         "\f": "\\f", "\v": "\\v"})


def text(value):
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "true" if value else "false"
    return str(value).translate(ESCAPES)


def main():
    admin, soql, *fields = sys.argv[1:]
    url = f"{admin}/rows?{urllib.parse.urlencode({'soql': soql})}"
    with urllib.request.urlopen(url) as answer:
        records = json.load(answer)["records"]
    out = []
    for record in records:
        values = {name.lower(): value for name, value in record.items()}
        out.append("\t".join(text(values[field]) for field in fields) + "\n")
    sys.stdout.buffer.write("".join(out).encode())


if __name__ == "__main__":
    main()
