"""Makes tables in SQLite, in memory, and runs a query over them; tells the rows of its last statement."""

import json
import sqlite3
import sys

GIVEN = globals()["GIVEN"]
MOST_ROWS = 10_000


def plain(value):
    return value.hex() if isinstance(value, bytes) else value


def run(setup, steps):
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(setup)
    except BaseException as error:
        return {"rows": [], "error": f"the tables: {str(error)[:300]}"}
    rows = []
    try:
        for step in steps:
            rows = connection.execute(step).fetchmany(MOST_ROWS)
    except BaseException as error:
        return {"rows": [], "error": f"the query: {str(error)[:300]}"}
    return {"rows": [[plain(value) for value in row] for row in rows], "error": ""}


found = run(GIVEN["setup"], GIVEN["steps"])
sys.stdout.write(f"\n{GIVEN['mark']}{json.dumps(found)}\n")
