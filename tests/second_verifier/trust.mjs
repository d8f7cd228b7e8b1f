// The trust file: what the verifier believes without proof. A bundle never brings any of it.
import { Refused, need } from "./errors.mjs";
import { fromHex } from "./bytes.mjs";
import { parseLoose } from "./canonical.mjs";
import { exactly, HEX20, isObject, isWhole, matches } from "./fields.mjs";
import { NETWORKS } from "./bitcoin.mjs";

const FORM = "trust-form";
const [MAX_BYTES, MAX_ENTRIES, MAX_HEADERS] = [1 << 20, 10_000, 2048];
const EVM = /^eip155:[1-9][0-9]{0,17}$/;
const EVM_SCHEMES = ["evm.receipt/v1", "evm.storage/v1", "evm.ancestor/v1"];
const COMMON = ["schemes", "needed", "statements"];

/** What is known of the blocks of one chain. */
class ChainTrust {
  constructor(form, pins, schemes) {
    const listed = form.schemes;
    need(Array.isArray(listed) && listed.length <= 16 && listed.every((one) => schemes.includes(one)), FORM, "schemes");
    need(isWhole(form.needed) && form.needed >= 1 && form.needed <= MAX_ENTRIES, FORM, "needed is at least 1");
    this.schemes = new Set(listed);
    this.needed = form.needed;
    this.pins = blocksOf(pins);
    this.statements = statementsOf(form.statements);
    this.heights = new Map();
    this.checkTogether();
  }

  /** Two blocks pinned at one height, a node that states two there, a block of two heights. */
  checkTogether() {
    const once = new Map();
    const agree = (key, value) => {
      need(!once.has(key) || once.get(key) === value, "block-contradicted", `${key} is said twice`);
      once.set(key, value);
    };
    for (const [block, height] of this.pins) {
      agree(`pin at ${height}`, block);
      agree(`height of ${block}`, height);
    }
    for (const { node, block, height } of this.statements) {
      agree(`${node} at ${height}`, block);
      agree(`height of ${block}`, height);
    }
  }

  nodesFor(block) {
    return [...new Set(this.statements.filter((one) => one.block === block).map((one) => one.node))].sort();
  }

  /** Blocks that are believed at a height. */
  believedAt(height) {
    const pinned = [...this.pins].filter((one) => one[1] === height).map((one) => one[0]);
    const stated = this.statements.filter((one) => one.height === height).map((one) => one.block);
    return new Set([...pinned, ...stated.filter((block) => this.nodesFor(block).length >= this.needed)]);
  }

  /** Which input carries a block; null where none does. */
  believes(block, height) {
    const known = this.pins.get(block);
    need(known === undefined || known === height, "block-contradicted", `it is known at height ${known}`);
    const believed = this.believedAt(height);
    for (const other of believed) need(other === block, "block-contradicted", `${other} is known at that height`);
    return believed.has(block) ? this.carrier(block) : null;
  }

  carrier(block) {
    return this.pins.has(block) ? "pinned" : `statement of ${this.nodesFor(block).join(", ")}`;
  }
}

function entriesOf(value) {
  need(isObject(value) && Object.keys(value).length <= MAX_ENTRIES, FORM, "not an object, or too large");
  return Object.entries(value);
}

function blocksOf(value) {
  return new Map(entriesOf(value).map(([block, height]) => {
    fromHex(block, FORM, 32);
    need(isWhole(height), FORM, "a height");
    return [block, height];
  }));
}

function statementsOf(value) {
  need(Array.isArray(value) && value.length <= MAX_ENTRIES, FORM, "statements are a list");
  for (const one of value) {
    exactly(one, ["node", "block", "height", "at_s"], FORM);
    need(typeof one.node === "string" && /^[!-~]{1,100}$/.test(one.node), FORM, "a node's name");
    fromHex(one.block, FORM, 32);
    need(isWhole(one.height) && isWhole(one.at_s), FORM, "a height or time");
  }
  return value;
}

function readBitcoin(name, form) {
  exactly(form, [...COMMON, "min_work", "confirmations", "anchors"], FORM);
  const trust = new ChainTrust(form, form.anchors, ["btc.spv/v1"]);
  need(typeof form.min_work === "string" && /^(?:0|[1-9][0-9]{0,77})$/.test(form.min_work), FORM, "min_work");
  need(isWhole(form.confirmations) && form.confirmations <= MAX_HEADERS, FORM, "confirmations");
  const anchors = Object.fromEntries(trust.pins);
  for (const { block, height } of trust.statements) {
    if (trust.believes(block, height) !== null) anchors[block] = height;
  }
  const confirmations = Math.max(form.confirmations, 1);
  trust.policy = Object.keys(anchors).length === 0 ? null
    : { chain: name, minWork: BigInt(form.min_work), confirmations, anchors };
  return trust;
}

function readChain(name, form) {
  if (Object.hasOwn(NETWORKS, name)) return readBitcoin(name, form);
  need(EVM.test(name), FORM, "a chain that can not be verified");
  exactly(form, [...COMMON, "blocks"], FORM);
  return new ChainTrust(form, form.blocks, EVM_SCHEMES);
}

function readLog(form) {
  if (form === null) return null;
  exactly(form, ["origin", "address", "checkpoint"], FORM);
  need(typeof form.origin === "string" && /^[a-z0-9][a-z0-9._/:-]{0,127}$/.test(form.origin), FORM, "the log's origin");
  need(matches(HEX20)(form.address), FORM, "the log's address");
  if (form.checkpoint !== null) {
    exactly(form.checkpoint, ["size", "root"], FORM);
    need(isWhole(form.checkpoint.size), FORM, "the checkpoint's size");
    fromHex(form.checkpoint.root, FORM, 32);
  }
  return form;
}

function parsed(raw) {
  need(raw.length <= MAX_BYTES, FORM, "more than 1 MiB");
  try {
    return parseLoose(raw);
  } catch (error) {
    throw new Refused(FORM, error.message);
  }
}

/** Read a trust file. */
export function readTrust(raw) {
  const form = exactly(parsed(raw), ["v", "kind", "log", "chains", "participants"], FORM);
  need(form.v === 1 && form.kind === "trust/v1", FORM, "no trust file of this version");
  for (const [role, address] of entriesOf(form.participants)) {
    need(/^[a-z][a-z0-9_-]{0,47}$/.test(role) && matches(HEX20)(address), FORM, "a participant");
  }
  const chains = new Map(entriesOf(form.chains).map(([name, value]) => [name, readChain(name, value)]));
  return { log: readLog(form.log), chains, participants: form.participants };
}
