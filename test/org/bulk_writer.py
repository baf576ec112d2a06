"""Writes the result of a Bulk query.

    python3 bulk_writer.py DATABASE FOLDER PIECES < [sql, parameters]

Each row comes from SQLite as one finished line of CSV. Beside the rows go their byte offsets, as
unsigned 64-bit numbers, the end of the file last.
"""

import array
import itertools
import json
import os
import sqlite3
import sys

import soql

BLOCK = 5000


def main(database, folder, pieces):
    sql, params = json.load(sys.stdin)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA mmap_size = 4294967296")
    connection.execute("PRAGMA temp_store = MEMORY")
    soql.prepare(connection)
    # text arrives as the bytes that it is stored as: nothing to decode and encode again
    connection.text_factory = bytes
    rows, sizes = os.path.join(folder, "rows.csv"), array.array("L")
    with open(rows, "wb") as out:
        for lines in blocks(connection.execute(sql, params)):
            out.write(b"".join(lines))
            sizes.extend(map(len, lines))
    sizes = reorder(rows, sizes, int(pieces))
    with open(os.path.join(folder, "offsets"), "wb") as out:
        array.array("Q", itertools.accumulate(sizes, initial=0)).tofile(out)


def blocks(cursor):
    while True:
        rows = cursor.fetchmany(BLOCK)
        if not rows:
            return
        yield [row[0] for row in rows]


def reorder(path, sizes, pieces):
    """Cut the file into pieces of whole rows and write them in another order."""
    step = len(sizes) // pieces
    if pieces < 2 or step < 1:
        return sizes
    cuts = [step * number for number in range(pieces)] + [len(sizes)]
    spans = list(zip(cuts, cuts[1:]))
    spans = spans[1::2] + spans[::2]
    out_sizes = array.array("L")
    with open(path, "rb") as source, open(path + ".new", "wb") as out:
        starts = [0] + list(itertools.accumulate(sum(sizes[a:b]) for a, b in zip(cuts, cuts[1:])))
        for first, last in spans:
            copy(source, out, starts[cuts.index(first)], sum(sizes[first:last]))
            out_sizes.extend(sizes[first:last])
    os.replace(path + ".new", path)
    return out_sizes


def copy(source, out, offset, size):
    out.flush()
    while size > 0:
        done = os.sendfile(out.fileno(), source.fileno(), offset, size)
        if done == 0:
            raise OSError("the file is too short")
        offset += done
        size -= done


if __name__ == "__main__":
    main(*sys.argv[1:])
