"""Runs a program on an input; its output is what it prints."""

import io
import random
import sys

GIVEN = globals()["GIVEN"]
random.seed(GIVEN["seed"])
sys.stdin = io.TextIOWrapper(io.BytesIO(GIVEN["input"].encode("utf-8", "surrogatepass")), "utf-8")
sys.argv = ["solution.py"]
exec(
    compile(GIVEN["solution"], "solution.py", "exec", dont_inherit=True),
    {"__name__": "__main__", "__builtins__": __builtins__},
)
