// What tests in JavaScript may use: assert, expect, test, describe; each tells __ran(name, why it failed).
var __asserted = 0, __inside = 0;
function __same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (a instanceof Map && b instanceof Map) return __same([...a], [...b]);
  if (a instanceof Set && b instanceof Set) return __same([...a], [...b]);
  const x = Object.keys(a), y = Object.keys(b);
  return x.length === y.length && x.every(k => k in b && __same(a[k], b[k]));
}
// Inside a test its failure ends the test; outside, each assertion counts by itself.
function __case(name, right, said) {
  if (__inside) { if (!right) throw new Error(said); return; }
  __asserted += 1;
  __ran(name, right ? "" : "Error: " + said);
}
const __is = not => not ? " is " : " is not ";
const __name = kind => kind + " " + (__asserted + 1);
function __shown(v) { try { return JSON.stringify(v) + ""; } catch (e) { return String(v); } }
function assert(ok, said) { __case(__name("assert"), !!ok, said || "is not true"); }
assert.ok = assert;
assert.equal = (a, b, m) => __case(__name("equal"), a == b, m || __shown(a) + " is not " + __shown(b));
assert.strictEqual = (a, b, m) => __case(__name("equal"), Object.is(a, b), m || __shown(a) + " is not " + __shown(b));
assert.deepEqual = (a, b, m) => __case(__name("equal"), __same(a, b), m || __shown(a) + " is not " + __shown(b));
assert.deepStrictEqual = assert.deepEqual;
assert.notEqual = assert.notStrictEqual = (a, b, m) => __case(__name("differs"), !Object.is(a, b), m || "is " + __shown(b));
assert.notDeepEqual = assert.notDeepStrictEqual = (a, b, m) => __case(__name("differs"), !__same(a, b), m || "is " + __shown(b));
assert.throws = (f, m) => { let threw = false; try { f(); } catch (e) { threw = true; } __case(__name("throws"), threw, "throws nothing"); };
function expect(a) {
  const made = not => ({
    toBe: b => __case(__name("expect"), Object.is(a, b) !== not, __shown(a) + __is(not) + __shown(b)),
    toEqual: b => __case(__name("expect"), __same(a, b) !== not, __shown(a) + __is(not) + __shown(b)),
    toStrictEqual: b => __case(__name("expect"), __same(a, b) !== not, __shown(a) + __is(not) + __shown(b)),
    toBeTruthy: () => __case(__name("expect"), !!a !== not, __shown(a)),
    toBeFalsy: () => __case(__name("expect"), !a !== not, __shown(a)),
    toBeNull: () => __case(__name("expect"), (a === null) !== not, __shown(a)),
    toBeUndefined: () => __case(__name("expect"), (a === undefined) !== not, __shown(a)),
    toBeDefined: () => __case(__name("expect"), (a !== undefined) !== not, __shown(a)),
    toContain: b => __case(__name("expect"), a.includes(b) !== not, __shown(a)),
    toHaveLength: b => __case(__name("expect"), (a.length === b) !== not, __shown(a)),
    toBeGreaterThan: b => __case(__name("expect"), (a > b) !== not, __shown(a)),
    toBeLessThan: b => __case(__name("expect"), (a < b) !== not, __shown(a)),
    toBeCloseTo: (b, d) => __case(__name("expect"), (Math.abs(a - b) < Math.pow(10, -(d === undefined ? 2 : d)) / 2) !== not, __shown(a)),
    toThrow: () => { let threw = false; try { a(); } catch (e) { threw = true; } __case(__name("expect"), threw !== not, "throws nothing"); },
  });
  return Object.assign(made(false), { not: made(true) });
}
function test(name, f) {
  __inside += 1;
  try {
    const later = f();
    __inside -= 1; __asserted += 1;
    if (later && typeof later.then === "function") later.then(() => __ran(name, ""), e => __ran(name, String(e)));
    else __ran(name, "");
  }
  catch (e) { __inside -= 1; __asserted += 1; __ran(name, String(e)); }
}
var it = test, describe = (name, f) => f();
var console = { log() {}, error() {}, warn() {}, info() {}, assert };
var module = { exports: {} }, exports = module.exports;
function require(name) {
  const bare = String(name).replace("node:", "");
  if (bare === "assert" || bare === "assert/strict") return assert;
  if (bare === "node:test" || bare === "test") return { test, it, describe };
  return new Proxy(module.exports, { get: (o, k) => k in o ? o[k] : globalThis[k] });
}
