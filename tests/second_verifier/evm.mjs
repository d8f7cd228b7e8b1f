// Evidence from EVM chains: what was included and what became of it, the state of an operation, and
// which block was an ancestor. A block's header is believed elsewhere (trust.mjs), never here.
import { need } from "./errors.mjs";
import { concat, fromHex, padded, sameBytes, toHex, toInt, utf8, word } from "./bytes.mjs";
import { exactly, isWhole } from "./fields.mjs";
import { keccak256 } from "./keccak.mjs";
import { ORDER, recover } from "./secp256k1.mjs";
import { lookUp, valueAt } from "./trie.mjs";
import * as rlp from "./rlp.mjs";

const FORM = "evm-form";
const NUMBER = -1;
const ANY = -2;
// The fields of a header in their order: so many bytes, a number, or any string.
const HEADER = [32, 32, 20, 32, 32, 32, 256, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, ANY, 32, 8,
  NUMBER, 32, NUMBER, NUMBER, 32, 32, 32, NUMBER];
const HEADER_LENGTHS = [15, 16, 17, 20, 21, 23];
const MAX_HEADER = 65_536;
const CHAIN = /^eip155:[1-9][0-9]{0,31}$/;

const VAULT_CODE = "c2d042da98fd481753f4bfd879dffbc57922f80a3b27f69107ff9e0ec3572af6";
const TOKEN_CODE = "1a24e64fc9f112b1cf5560974ac806e21b7e6e2cdd92eccdcf8542e14fc61fbd";
const LAYOUTS = {
  [VAULT_CODE]: { heads: 8, terms: 9, words: ["asset", "amount", "to", "hashlock"] },
  [TOKEN_CODE]: { heads: 8, terms: 20, words: ["amount"] },
};
// EIP-2935: the contract that holds the hashes of the last 8191 blocks, and the hash of its code.
const HISTORY = fromHex("0000f90827f1c53a10cb7a02335b175320002935", FORM);
const HISTORY_CODE = "6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d";
const WINDOW = 8191;

// ------------------------------------------------------------ forms

function pathOf(value) {
  need(Array.isArray(value) && value.length <= 65, FORM, "a path is a list of at most 65 nodes");
  return value.map((node) => fromHex(node, FORM));
}

function chainOf(form, kind) {
  need(form.kind === kind, FORM, "another kind");
  need(typeof form.chain === "string" && CHAIN.test(form.chain), FORM, "no chain of this kind");
  return form.chain;
}

function field(item, size) {
  if (size === NUMBER) return rlp.intOf(item, "rlp-canonical");
  const bytes = rlp.bytesOf(item, "evm-header");
  need(size === ANY || bytes.length === size, "evm-header", `a field of ${bytes.length} bytes`);
  return bytes;
}

export function readHeader(text) {
  const raw = fromHex(text, FORM);
  need(raw.length <= MAX_HEADER, "evm-header", "too large");
  const items = rlp.listOf(rlp.decode(raw), "evm-header", ...HEADER_LENGTHS);
  const fields = items.map((item, at) => field(item, HEADER[at]));
  need(fields[8] < 2n ** 53n && fields[11] < 2n ** 53n, "evm-header", "a height or time beyond 2^53");
  return {
    block: toHex(keccak256(raw)), height: Number(fields[8]), time_s: Number(fields[11]),
    stateRoot: fields[3], transactionsRoot: fields[4], receiptsRoot: fields[5],
  };
}

// ------------------------------------------------------------ transactions

// For each type: how many fields, and where nonce, recipient, value and data stand.
const SHAPES = {
  0: { fields: 9, nonce: 0, to: 3, numbers: [0, 1, 2, 4] },
  1: { fields: 11, nonce: 1, to: 4, numbers: [0, 1, 2, 3, 5], access: 7 },
  2: { fields: 12, nonce: 1, to: 5, numbers: [0, 1, 2, 3, 4, 6], access: 8 },
  3: { fields: 14, nonce: 1, to: 5, numbers: [0, 1, 2, 3, 4, 6, 9], access: 8, blobs: 10, mustCall: true },
  4: { fields: 13, nonce: 1, to: 5, numbers: [0, 1, 2, 3, 4, 6], access: 8, authorised: 9, mustCall: true },
};
const TX = "evm-transaction";

function checkAccessList(item) {
  for (const entry of rlp.listOf(item, TX)) {
    const [address, keys] = rlp.listOf(entry, TX, 2);
    rlp.bytesOf(address, TX, 20);
    rlp.listOf(keys, TX).forEach((key) => rlp.bytesOf(key, TX, 32));
  }
}

function checkAuthorisations(item) {
  const entries = rlp.listOf(item, TX);
  need(entries.length > 0, TX, "a transaction of type 4 without authorisations");
  for (const entry of entries) {
    const [chain, address, nonce, parity, r, s] = rlp.listOf(entry, TX, 6);
    rlp.bytesOf(address, TX, 20);
    [chain, r, s].forEach((one) => rlp.intOf(one, TX));
    rlp.intOf(nonce, TX, 8);
    rlp.intOf(parity, TX, 1);
  }
}

function checkFields(items, shape) {
  shape.numbers.forEach((at) => rlp.intOf(items[at], TX));
  rlp.intOf(items[shape.nonce], TX, 8);
  rlp.bytesOf(items[shape.to], TX, ...(shape.mustCall ? [20] : [0, 20]));
  rlp.bytesOf(items[shape.to + 2], TX);
  if (shape.access) checkAccessList(items[shape.access]);
  if (shape.blobs) {
    const hashes = rlp.listOf(items[shape.blobs], TX);
    need(hashes.length > 0, TX, "a transaction of type 3 without blobs");
    hashes.forEach((one) => rlp.bytesOf(one, TX, 32));
  }
  if (shape.authorised) checkAuthorisations(items[shape.authorised]);
}

/** Chain id, parity of the point, and the bytes that were signed. */
function signedPart(type, items, prefix) {
  const raws = items.slice(0, -3).map((item) => item.raw);
  const v = rlp.intOf(items.at(-3), "evm-signature");
  if (type > 0) {
    need(v <= 1n, "evm-signature", "a parity that is neither 0 nor 1");
    return [rlp.intOf(items[0], TX), v, concat(prefix, rlp.encodeList(raws))];
  }
  need(v >= 35n, "evm-chain", "the transaction names no chain");
  const chain = (v - 35n) / 2n;
  const number = chain === 0n ? Uint8Array.of(0x80) : rlp.encodeInt(chain);
  const zero = Uint8Array.of(0x80);
  return [chain, (v - 35n) % 2n, rlp.encodeList([...raws, number, zero, zero])];
}

function readTransaction(raw, chain) {
  const type = raw[0] >= 0xc0 ? 0 : raw[0];
  const shape = SHAPES[type];
  need(shape !== undefined && (type > 0 || raw[0] !== 0), TX, "a type that only its chain knows");
  const prefix = type > 0 ? raw.subarray(0, 1) : new Uint8Array(0);
  const items = rlp.listOf(rlp.decode(raw.subarray(prefix.length)), TX, shape.fields);
  checkFields(items, shape);
  const [id, odd, signed] = signedPart(type, items, prefix);
  need(`eip155:${id}` === chain, "evm-chain", `signed for chain ${id}`);
  const [r, s] = items.slice(-2).map((item) => rlp.intOf(item, "evm-signature"));
  need(s <= ORDER / 2n, "evm-signature", "the second form of a signature");
  const sender = recover(keccak256(signed), r, s, odd, "evm-signature");
  return {
    type, hash: toHex(keccak256(raw)), sender: toHex(sender), nonce: rlp.intOf(items[shape.nonce], TX),
    to: toHex(items[shape.to].bytes), value: rlp.intOf(items[shape.to + 1], TX), data: items[shape.to + 2].bytes,
  };
}

// ------------------------------------------------------------ receipts

const RECEIPT = "evm-receipt";

function readLog(item) {
  const [address, topics, data] = rlp.listOf(item, RECEIPT, 3);
  const named = rlp.listOf(topics, RECEIPT, 0, 1, 2, 3, 4).map((one) => toHex(rlp.bytesOf(one, RECEIPT, 32)));
  return { address: toHex(rlp.bytesOf(address, RECEIPT, 20)), topics: named, data: rlp.bytesOf(data, RECEIPT) };
}

function readReceipt(raw) {
  const type = raw[0] >= 0xc0 ? 0 : raw[0];
  need(type <= 4 && (type > 0 || raw[0] !== 0), RECEIPT, "a type that only its chain knows");
  const items = rlp.listOf(rlp.decode(raw.subarray(type > 0 ? 1 : 0)), RECEIPT, 4);
  const status = rlp.bytesOf(items[0], RECEIPT, 0, 1);
  need(status.length === 0 || status[0] === 1, RECEIPT, "a status that is neither 0 nor 1");
  rlp.intOf(items[1], RECEIPT);
  rlp.bytesOf(items[2], RECEIPT, 256);
  return { type, succeeded: status.length === 1, logs: rlp.listOf(items[3], RECEIPT).map(readLog) };
}

/** `evm.receipt/v1`: a transaction of a block and what became of it. */
export function verifyReceipt(form) {
  exactly(form, ["kind", "chain", "header", "index", "receipt", "transaction"], FORM);
  const chain = chainOf(form, "evm.receipt/v1");
  need(isWhole(form.index) && form.index <= 2 ** 24, FORM, "no index of a transaction");
  const header = readHeader(form.header);
  const key = rlp.encodeInt(form.index);
  const receipt = readReceipt(valueAt(header.receiptsRoot, key, pathOf(form.receipt)));
  const tx = readTransaction(valueAt(header.transactionsRoot, key, pathOf(form.transaction)), chain);
  need(receipt.type === tx.type, "evm-types-agree", "receipt and transaction of two types");
  return { ...header, chain, index: form.index, tx, succeeded: receipt.succeeded, logs: receipt.logs };
}

// ------------------------------------------------------------ state

function account(header, address, path) {
  const items = rlp.listOf(rlp.decode(valueAt(header.stateRoot, keccak256(address), path)), FORM, 4);
  rlp.intOf(items[0], FORM);
  rlp.intOf(items[1], FORM);
  return { root: rlp.bytesOf(items[2], FORM, 32), code: toHex(rlp.bytesOf(items[3], FORM, 32)) };
}

/** One word of storage; one that is not there is zero. */
function wordAt(root, slot, path) {
  const value = lookUp(root, keccak256(word(slot % 2n ** 256n)), path);
  return value === null ? 0n : rlp.intOf(rlp.decode(value), "evm-operation-state");
}

function entrySlot(slot, group, id) {
  return toInt(keccak256(concat(keccak256(concat(word(slot), padded(group))), id)));
}

function readHead(head) {
  const bits = (from, size) => (head >> BigInt(from)) & (2n ** BigInt(size) - 1n);
  const [status, kind] = [Number(bits(0, 8)), Number(bits(8, 8))];
  need(status <= 4 && bits(80, 16) === 0n, "evm-operation-state", "a head our contracts never write");
  return { status, kind, refundAfter: bits(16, 64), party: bits(96, 160).toString(16).padStart(40, "0") };
}

/** `evm.storage/v1`: the state of an operation at the end of a block. */
export function verifyStorage(form) {
  exactly(form, ["kind", "chain", "header", "contract", "account", "group", "op_id", "head", "terms"], FORM);
  const chain = chainOf(form, "evm.storage/v1");
  const contract = fromHex(form.contract, FORM, 20);
  const [group, id] = [fromHex(form.group, FORM, 20), fromHex(form.op_id, FORM, 32)];
  const header = readHeader(form.header);
  const { root, code } = account(header, contract, pathOf(form.account));
  const layout = LAYOUTS[code];
  need(layout !== undefined, "evm-code", "a contract whose storage is not known");
  const head = readHead(wordAt(root, entrySlot(layout.heads, group, id), pathOf(form.head)));
  need(Array.isArray(form.terms), FORM, "terms are a list of paths");
  need([0, layout.words.length].includes(form.terms.length), "evm-code", "terms of another number");
  const first = entrySlot(layout.terms, group, id);
  const shown = form.terms.map((path, at) => [layout.words[at], wordAt(root, first + BigInt(at), pathOf(path))]);
  const terms = shown.length > 0 ? Object.fromEntries(shown) : null;
  return { ...header, chain, contract: form.contract, group: form.group, opId: form.op_id, code, ...head, terms };
}

/** `evm.ancestor/v1`: the hash of an earlier block, as the history contract holds it. */
export function verifyAncestor(form) {
  exactly(form, ["kind", "chain", "header", "ancestor", "account", "slot"], FORM);
  const chain = chainOf(form, "evm.ancestor/v1");
  const header = readHeader(form.header);
  need(isWhole(form.ancestor), FORM, "no height");
  const below = header.height - form.ancestor;
  need(below >= 1 && below <= WINDOW, "evm-ancestor", "a height outside the window");
  const { root, code } = account(header, HISTORY, pathOf(form.account));
  need(code === HISTORY_CODE, "evm-history-code", "not the contract of EIP-2935");
  const hash = wordAt(root, BigInt(form.ancestor % WINDOW), pathOf(form.slot));
  need(hash !== 0n, "evm-ancestor", "the contract does not hold that height");
  return { ...header, chain, ancestor: toHex(word(hash)), ancestorHeight: form.ancestor };
}

// ------------------------------------------------------------ events

export const topicOf = (signature) => toHex(keccak256(utf8(signature)));
const OPERATION = topicOf("Operation(address,bytes32,uint8,uint8,address,uint256,bytes32)");

/** All well-formed events of our contracts for one operation id. */
export function operations(receipt, contract, group, opId) {
  const topics = [OPERATION, toHex(padded(fromHex(group, FORM, 20))), opId];
  return receipt.logs
    .filter((log) => log.address === contract && log.topics.length === 4 && log.data.length === 128)
    .filter((log) => topics.every((topic, at) => topic === log.topics[at]))
    .map(({ topics: named, data }) => ({ status: toInt(fromHex(named[3], FORM)), words: toHex(data) }));
}

/** Whether a log of `contract` has exactly these topics and this data. */
export function hasLog(receipt, contract, topics, data) {
  return receipt.logs.some((log) => log.address === contract && sameBytes(log.data, data) &&
    log.topics.length === topics.length && topics.every((topic, at) => topic === log.topics[at]));
}

/** The hash of what an operation was opened with. */
export function paramsHash({ kind, asset, amount, to, hashlock, refundAfter }) {
  const words = [word(kind), padded(fromHex(asset, FORM)), word(amount), padded(fromHex(to, FORM)),
    fromHex(hashlock, FORM, 32), word(refundAfter)];
  return keccak256(concat(...words));
}

