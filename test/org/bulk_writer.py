"""Writes the result of a Bulk query: python3 bulk_writer.py DATABASE FOLDER < [sql, parameters]

Each row comes from SQLite as one finished line of CSV. Beside the rows go their byte offsets, as
unsigned 64-bit numbers, the end of the file last.
"""

import array
import json
import os
import sqlite3
import sys

import soql

BLOCK = 5000


def main(database, folder):
    sql, params = json.load(sys.stdin)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA mmap_size = 4294967296")
    connection.execute("PRAGMA temp_store = MEMORY")
    soql.prepare(connection)
    # text arrives as the bytes that it is stored as: nothing to decode and encode again
    connection.text_factory = bytes
    cursor = connection.execute(sql, params)
    offsets, at = array.array("Q", [0]), 0
    with open(os.path.join(folder, "rows.csv"), "wb") as out:
        while True:
            rows = cursor.fetchmany(BLOCK)
            if not rows:
                break
            lines = [row[0] for row in rows]
            out.write(b"".join(lines))
            for line in lines:
                at += len(line)
                offsets.append(at)
    with open(os.path.join(folder, "offsets"), "wb") as out:
        offsets.tofile(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
