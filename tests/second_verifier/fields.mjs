// Strict reading of JSON members.
import { need } from "./errors.mjs";

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
export const isText = (value) => typeof value === "string";
export const isFlag = (value) => typeof value === "boolean";
export const isWhole = (value) => Number.isSafeInteger(value) && value >= 0;
export const matches = (pattern) => (value) => typeof value === "string" && pattern.test(value);
export const oneOf = (...words) => (value) => typeof value === "string" && words.includes(value);
export const listOf = (item, least = 0, most = 10_000) => (value) =>
  Array.isArray(value) && value.length >= least && value.length <= most && value.every(item);
export const mapOf = (key, item) => (value) =>
  isObject(value) && Object.keys(value).length <= 10_000 &&
  Object.entries(value).every(([name, one]) => key(name) && item(one));
/** The members named must be there and of their form; others may be. */
export const having = (forms) => (value) =>
  isObject(value) && Object.entries(forms).every(([name, form]) => name in value && form(value[name]));
export const orNull = (form) => (value) => value === null || form(value);

export const HEX32 = /^[0-9a-f]{64}$/;
export const HEX20 = /^[0-9a-f]{40}$/;

/** An object with exactly these members. */
export function exactly(value, names, check) {
  need(isObject(value), check, "not an object");
  const found = Object.keys(value).sort().join();
  need(found === [...names].sort().join(), check, `its members are ${found.slice(0, 100)}`);
  return value;
}
