// No preimage before its time, and no signed bytes.
import { sha256, toHex } from "./bytes.mjs";

const FORBIDDEN = ["raw", "preimage", "secret", "private_key", "passphrase", "mnemonic", "seed", "password"];
const RUNS = /[0-9a-fA-F]{64,}/g;

function* members(value, name = "") {
  yield [name, value];
  if (value === null || typeof value !== "object") return;
  for (const [key, inner] of Object.entries(value)) yield* members(inner, Array.isArray(value) ? name : key);
}

function* runs(value) {
  for (const [, text] of members(value)) {
    if (typeof text === "string") yield* text.match(RUNS) ?? [];
  }
}

/** Whether any 32 bytes in hexadecimal texts hash to one of the hashlocks. */
function holdsPreimage(value, hashlocks) {
  if (hashlocks.size === 0) return false;
  for (const run of runs(value)) {
    for (const skip of run.length % 2 === 0 ? [0] : [0, 1]) {
      const bytes = Buffer.from(run.slice(skip, skip + 2 * Math.floor((run.length - skip) / 2)), "hex");
      for (let at = 0; at + 32 <= bytes.length; at += 1) {
        if (hashlocks.has(toHex(sha256(bytes.subarray(at, at + 32))))) return true;
      }
    }
  }
  return false;
}

/** Hashlock → the place of the record that reveals its preimage; never: Infinity. */
function revealsOf(records) {
  const places = new Map();
  records.forEach(({ kind, data }, at) => {
    if (typeof data.hashlock !== "string") return;
    const before = places.get(data.hashlock) ?? Infinity;
    places.set(data.hashlock, Math.min(before, kind === "reveal" ? at : Infinity));
  });
  return places;
}

export function preimagesOut(records, evidence) {
  const places = [...revealsOf(records)];
  const hidden = (at) => new Set(places.filter((one) => one[1] > at).map((one) => one[0]));
  const early = records.findIndex((record, at) => holdsPreimage(record.data, hidden(at)));
  if (early >= 0) return `record ${early + 1} holds the preimage of a hashlock`;
  const never = new Set(places.filter((one) => one[1] === Infinity).map((one) => one[0]));
  return [...evidence.values()].some((proof) => holdsPreimage(proof, never)) ? "a proof holds a preimage" : undefined;
}

export function signedBytesOut(records) {
  const signed = new Set(records.filter((one) => one.kind === "intent").map((one) => one.data.bytes));
  for (const [at, { data }] of records.entries()) {
    for (const [name] of members(data)) if (FORBIDDEN.includes(name)) return `record ${at + 1} has a member ${name}`;
    for (const run of runs(data)) {
      const bytes = Buffer.from(run.slice(0, run.length - (run.length % 2)), "hex");
      if (signed.has(toHex(sha256(bytes)))) return `record ${at + 1} holds signed bytes`;
    }
  }
}
