"""Runs a solution in JavaScript and its tests in QuickJS, which is part of this process and so in the same jail."""

import json
import sys

import quickjs

GIVEN = globals()["GIVEN"]


def run(prelude, solution, tests):
    told = {"ran": [], "error": ""}
    context = quickjs.Context()
    context.set_max_stack_size(1 << 20)
    context.add_callable("__ran", lambda name, why: told["ran"].append([str(name), str(why)]))
    context.eval(prelude)
    for what, source in (("solution", solution), ("tests", tests)):
        try:
            context.eval(source)
            while context.execute_pending_job():
                pass
        except BaseException as error:
            return {**told, "error": f"the {what}: {str(error)[:300]}"}
    return told


found = run(GIVEN["prelude"], GIVEN["solution"], GIVEN["tests"])
sys.stdout.write(f"\n{GIVEN['mark']}{json.dumps(found)}\n")
