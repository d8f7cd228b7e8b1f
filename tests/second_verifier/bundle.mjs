// The form of a bundle: canonical, bounded, every part used, every proof under its own hash.
import { Refused, need } from "./errors.mjs";
import { fromBase64, sha256, toHex } from "./bytes.mjs";
import { digest, encodeBytes, parse } from "./canonical.mjs";
import { unpacked } from "./packing.mjs";
import { exactly, HEX32, isObject, isWhole, listOf, matches } from "./fields.mjs";

const FORM = "bundle-form";
const PARTS = "bundle-parts";
const [MAX_BYTES, MAX_RECORDS, MAX_PARTS, MAX_EVIDENCE, MAX_NODES] = [8 << 20, 20_000, 4096, 4096, 65_536];
const MAX_SIGNATURES = 64;
const MAX_EXPANDED = 32 * 1024 * 1024;
const ROLE = /^[a-z][a-z0-9_-]{0,47}$/;

function parsed(raw) {
  const content = unpacked(raw, MAX_BYTES);
  try {
    return parse(content);
  } catch (error) {
    if (error instanceof Refused) throw new Refused(FORM, error.message);
    throw error;
  }
}

function readParts(value) {
  need(Array.isArray(value) && value.length <= MAX_PARTS, FORM, "parts are a list");
  const parts = value.map((text) => toHex(fromBase64(text, PARTS)));
  need(parts.every((part) => part.length > 0), PARTS, "an empty part");
  need(new Set(parts).size === parts.length, PARTS, "two equal parts");
  return parts;
}

/** Puts parts back where texts refer to them, in canonical order; each new one is the next. */
class Expansion {
  constructor(parts) {
    this.parts = parts;
    this.next = 0;
    this.size = 0;
  }

  text(value) {
    const whole = value.startsWith("@") ? this.part(value.slice(1)) : value;
    this.size += whole.length;
    need(this.size <= MAX_EXPANDED, PARTS, "too large when its parts are put back");
    return whole;
  }

  part(name) {
    need(/^(?:0|[1-9][0-9]{0,4})$/.test(name), PARTS, "no reference to a part");
    const index = Number(name);
    need(index <= this.next && index < this.parts.length, PARTS, "a part out of its order, or none");
    this.next = Math.max(this.next, index + 1);
    return this.parts[index];
  }

  value(value) {
    if (typeof value === "string") return this.text(value);
    if (Array.isArray(value)) return value.map((item) => this.value(item));
    if (!isObject(value)) return value;
    const whole = Object.create(null);
    for (const name of Object.keys(value).sort()) {
      need(!name.startsWith("@"), PARTS, "a member that looks like a reference");
      whole[name] = this.value(value[name]);
    }
    return whole;
  }
}

function readEvidence(parts, value) {
  need(isObject(value) && Object.keys(value).length <= MAX_EVIDENCE, FORM, "evidence is an object");
  const expansion = new Expansion(readParts(parts));
  const evidence = new Map();
  for (const name of Object.keys(value).sort()) {
    need(HEX32.test(name) && isObject(value[name]), FORM, "evidence is named by a hash");
    evidence.set(name, expansion.value(value[name]));
  }
  need(expansion.next === expansion.parts.length, PARTS, "a part that nothing uses");
  for (const [name, proof] of evidence) need(digest(proof) === name, "bundle-evidence", "other bytes than those named");
  return evidence;
}

function checkNode(node, before) {
  need(Array.isArray(node) && node.length === 3, FORM, "a node of the log");
  const [level, index, text] = node;
  need(isWhole(level) && level <= 64 && isWhole(index) && typeof text === "string", FORM, "a node of the log");
  const sorted = before === undefined || before[0] < level || (before[0] === level && before[1] < index);
  need(sorted, FORM, "nodes that are not sorted");
}

function readLog(form) {
  if (form === null) return null;
  exactly(form, ["checkpoint", "positions", "nodes", "rotations", "consistency"], FORM);
  const text = (value) => typeof value === "string";
  need(text(form.checkpoint) && listOf(text, 0, 1000)(form.rotations), FORM, "notes are texts");
  need(listOf(isWhole, 0, MAX_RECORDS)(form.positions), FORM, "positions");
  need(Array.isArray(form.nodes) && form.nodes.length <= MAX_NODES, FORM, "nodes");
  form.nodes.forEach((node, at) => checkNode(node, form.nodes[at - 1]));
  if (form.consistency !== null) {
    exactly(form.consistency, ["size", "path"], FORM);
    need(isWhole(form.consistency.size) && listOf(text, 0, 64)(form.consistency.path), FORM, "consistency");
  }
  return form;
}

function readSignatures(value) {
  need(Array.isArray(value) && value.length <= MAX_SIGNATURES, FORM, "signatures are a list");
  value.forEach((entry, at) => {
    exactly(entry, ["role", "address", "signature"], FORM);
    need(matches(ROLE)(entry.role), FORM, "a role");
    need(matches(/^[0-9a-f]{40}$/)(entry.address) && matches(/^[0-9a-f]{130}$/)(entry.signature), FORM, "a signature");
    need(at === 0 || value[at - 1].role < entry.role, FORM, "signatures that are not sorted");
  });
  return value;
}

/** Read a bundle without believing it. */
export function readBundle(raw) {
  const form = exactly(parsed(raw), ["v", "kind", "payload", "records", "parts", "evidence", "log", "signatures"], FORM);
  need(form.v === 1 && form.kind === "settlement-bundle/v1", FORM, "no bundle of this version");
  need(isObject(form.payload), FORM, "the payload is no object");
  const { records } = form;
  need(Array.isArray(records) && records.length >= 1 && records.length <= MAX_RECORDS, FORM, "records");
  records.forEach((record) => exactly(record, ["at", "data", "kind", "prev", "seq", "stream", "v"], FORM));
  const bodies = records.map(encodeBytes);
  const evidence = readEvidence(form.parts, form.evidence);
  return {
    payload: form.payload, records, bodies, hashes: bodies.map((body) => toHex(sha256(body))), evidence,
    log: readLog(form.log), signatures: readSignatures(form.signatures),
  };
}
