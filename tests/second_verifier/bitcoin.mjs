// `btc.spv/v1`: a Bitcoin transaction is in a block, under so much work, by a block that the verifier
// knows. Hashes are in the order in which they are hashed; only what people read is reversed.
import { need } from "./errors.mjs";
import { concat, fromHex, reversed, sameBytes, sha256d, toHex } from "./bytes.mjs";
import { exactly, isWhole } from "./fields.mjs";

const FORM = "spv-form";
const MEMBERS = ["kind", "chain", "tx", "index", "branch", "coinbase", "coinbase_branch", "witness_branch", "headers", "at"];
const [MAX_HEADERS, MAX_LEVELS, MAX_TX] = [2048, 15, 1_000_000];
const MAX_MONEY = 21_000_000n * 100_000_000n;
const EASY = 2n ** 224n - 1n;
const DAY_OF_CHANGE = 2016;
const CHANGES = { rarely: 1, anywhere: 2, never: 3 };

export const NETWORKS = {
  "bip122:000000000019d6689c085ae165831e93": { name: "mainnet", limit: EASY, changes: CHANGES.rarely, bip34: 227931 },
  "bip122:000000000933ea01ad0ee984209779ba": { name: "testnet3", limit: EASY, changes: CHANGES.anywhere, bip34: 21111 },
  "bip122:00000008819873e925422c1ff0f99f7c": { name: "signet", limit: 0x377aen << 216n, changes: CHANGES.rarely, bip34: 1 },
  "bip122:0f9188f13cb7b2c71f2a335e3a4fc328": { name: "regtest", limit: 2n ** 255n - 1n, changes: CHANGES.never, bip34: 1 },
};

// ------------------------------------------------------------ transactions

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = 0;
  }

  take(count) {
    need(this.at + count <= this.bytes.length, "tx-form", "the transaction is cut off");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  uint32() {
    this.take(4);
    return this.view.getUint32(this.at - 4, true);
  }

  value() {
    this.take(8);
    const value = this.view.getBigUint64(this.at - 8, true);
    need(value <= MAX_MONEY, "tx-form", "more than 21 million coins");
    return value;
  }

  /** A length in its shortest form, of things that take at least one byte each. */
  length() {
    const first = this.take(1)[0];
    if (first < 0xfd) return first;
    const size = { 0xfd: 2, 0xfe: 4, 0xff: 8 }[first];
    const value = Number(`0x${toHex(this.take(size).slice().reverse())}`);
    const least = { 2: 0xfd, 4: 0x1_0000, 8: 0x1_0000_0000 }[size];
    need(value >= least, "tx-form", "a length that is not in its shortest form");
    need(value <= this.bytes.length, "tx-form", "more than there are bytes");
    return value;
  }

  string() {
    return this.take(this.length());
  }

  many(read) {
    const items = [];
    for (let left = this.length(); left > 0; left -= 1) items.push(read());
    return items;
  }
}

function readInput(reader) {
  return { txid: toHex(reader.take(32)), n: reader.uint32(), script: reader.string(), sequence: reader.uint32(), witness: [] };
}

/** Read a transaction in its classic or (with `witnesses`) its extended form. */
export function readTransaction(bytes) {
  need(bytes.length <= MAX_TX && bytes.length >= 10, "tx-size", "no size of a transaction");
  const reader = new Reader(bytes);
  const version = reader.take(4);
  const extended = bytes[4] === 0;
  if (extended) need(reader.take(2)[1] === 1, "tx-form", "no inputs, or an unknown flag");
  const start = reader.at;
  const inputs = reader.many(() => readInput(reader));
  const outputs = reader.many(() => ({ value: reader.value(), script: toHex(reader.string()) }));
  const body = bytes.subarray(start, reader.at);
  if (extended) {
    for (const input of inputs) input.witness = reader.many(() => reader.string().slice());
    need(inputs.some((input) => input.witness.length > 0), "tx-form", "the extended form without witnesses");
  }
  const locktime = reader.take(4);
  need(reader.at === bytes.length, "tx-form", "trailing bytes");
  need(inputs.length > 0 && outputs.length > 0, "tx-form", "no inputs or no outputs");
  const total = outputs.reduce((sum, output) => sum + output.value, 0n);
  need(total <= MAX_MONEY, "tx-form", "more than 21 million coins");
  const classic = concat(version, body, locktime);
  const lock = new DataView(locktime.buffer, locktime.byteOffset, 4).getUint32(0, true);
  return { inputs, outputs, extended, classic, txid: sha256d(classic), wtxid: sha256d(bytes), locktime: lock };
}

const isNull = (input) => input.txid === "00".repeat(32) && input.n === 0xffff_ffff;

// ------------------------------------------------------------ headers

/** The target that the compact form names. */
function targetOf(bits) {
  const [size, mantissa] = [bits >>> 24, bits & 0x7f_ffff];
  need((bits & 0x80_0000) === 0 && mantissa !== 0, "header-bits", "negative, or zero");
  const target = size <= 3 ? BigInt(mantissa) >> BigInt(8 * (3 - size)) : BigInt(mantissa) << BigInt(8 * (size - 3));
  need(target > 0n && target < 2n ** 256n, "header-bits", "zero, or beyond 256 bits");
  need(compact(target) === bits, "header-bits", "not the shortest form");
  return target;
}

function compact(target) {
  let size = Math.ceil(target.toString(16).length / 2);
  let mantissa = Number(size <= 3 ? target << BigInt(8 * (3 - size)) : target >> BigInt(8 * (size - 3)));
  if (mantissa & 0x80_0000) [mantissa, size] = [mantissa >> 8, size + 1];
  return ((size << 24) | mantissa) >>> 0;
}

function readHeader(text) {
  const raw = fromHex(text, "header-form");
  need(raw.length === 80, "header-form", "not 80 bytes");
  const view = new DataView(raw.buffer, raw.byteOffset, 80);
  const hash = sha256d(raw);
  const bits = view.getUint32(72, true);
  return {
    hash, prev: raw.subarray(4, 36), root: raw.subarray(36, 68), time: view.getUint32(68, true),
    bits, target: targetOf(bits), name: reversed(toHex(hash)),
  };
}

function checkHeader(header, network) {
  need(header.target <= network.limit, "header-limit", "easier than the network allows");
  need(BigInt(`0x${header.name}`) <= header.target, "header-work", "the hash is above the target");
}

function checkChange(before, after, height, network) {
  if (before.target === after.target || network.changes === CHANGES.anywhere) return;
  const may = network.changes === CHANGES.rarely && height % DAY_OF_CHANGE === 0;
  need(may, "header-difficulty", `the target changes at ${height}`);
  const little = after.target <= before.target * 4n && after.target * 4n + 4n >= before.target;
  need(little || after.target === network.limit, "header-difficulty", "more than fourfold");
}

/** Height of the first header, by the blocks that the verifier knows. */
function placeOf(headers, policy) {
  const known = headers.map((header, at) => [at, policy.anchors[header.name], header.name]).filter((one) => one[1] !== undefined);
  need(known.length > 0, "anchor-missing", "no header is of a block that the verifier knows");
  const first = known[0][1] - known[0][0];
  need(first >= 0 && known.every(([at, height]) => height - at === first), "anchor-height", "known blocks contradict each other");
  const [last, , anchor] = known.at(-1);
  return { first, last, anchor };
}

function checkRun(form, policy, network) {
  need(form.headers.length >= 1 && form.headers.length <= MAX_HEADERS, "header-count", "no number of headers");
  const headers = form.headers.map(readHeader);
  need(form.at < headers.length, FORM, "no such header");
  const confirming = headers.slice(form.at);
  need(confirming.length >= policy.confirmations, "confirmations", `only ${confirming.length}`);
  headers.forEach((header) => checkHeader(header, network));
  for (let at = 1; at < headers.length; at += 1) {
    need(sameBytes(headers[at].prev, headers[at - 1].hash), "header-link", "a gap between headers");
  }
  const place = placeOf(headers, policy);
  for (let at = 1; at < headers.length; at += 1) checkChange(headers[at - 1], headers[at], place.first + at, network);
  const work = confirming.reduce((sum, header) => sum + 2n ** 256n / (header.target + 1n), 0n);
  need(work >= policy.minWork, "min-work", "less work than the policy wants");
  return {
    header: headers[form.at], height: place.first + form.at, confirmations: confirming.length, work,
    pinned: place.last >= form.at, anchor: place.anchor, first: place.first, names: headers.map((header) => header.name),
  };
}

// ------------------------------------------------------------ trees

/** The root that a leaf and its siblings make; refuses trees that name a node twice. */
function fold(leaf, index, branch) {
  need(branch.length <= MAX_LEVELS, "merkle-depth", "too many levels");
  need(index < 2 ** branch.length, "merkle-index", "the index does not fit the levels");
  let [node, at, repeated] = [leaf, index, false];
  for (const sibling of branch) {
    const same = sameBytes(sibling, node);
    if (at % 2 === 1) {
      need(!same, "merkle-duplicate", "a left sibling equal to the node");
      node = sha256d(concat(sibling, node));
    } else {
      need(!same || at > 0, "merkle-duplicate", "an equal sibling of a level's first node");
      need(!repeated || same, "merkle-duplicate", "a node after the last of its level");
      repeated ||= same;
      node = sha256d(concat(node, sibling));
    }
    at = Math.floor(at / 2);
  }
  return node;
}

const pushedHeight = (height) => {
  if (height <= 16) return height === 0 ? "00" : (0x50 + height).toString(16);
  const digits = height.toString(16);
  const even = digits.padStart(digits.length + (digits.length % 2), "0");
  const bytes = reversed(even.match(/../g)[0] >= "80" ? `00${even}` : even);
  return `${(bytes.length / 2).toString(16).padStart(2, "0")}${bytes}`;
};
export { pushedHeight as pushOfNumber };

// ------------------------------------------------------------ witnesses

function checkWitnesses(form, tx, coinbase) {
  const branch = form.witness_branch;
  if (branch === null) {
    need(!tx.extended && !coinbase.extended, "witness-unproven", "witnesses without a branch");
    return;
  }
  need(branch.length === form.branch.length, "witness-depth", "another depth than the tree of transactions");
  need(tx.extended && coinbase.extended, "witness-form", "no witnesses");
  const [value, ...more] = coinbase.inputs[0].witness;
  need(more.length === 0 && value?.length === 32, "witness-form", "the coinbase's is not one value of 32 bytes");
  const commitment = coinbase.outputs.map((output) => output.script)
    .filter((script) => script.startsWith("6a24aa21a9ed") && script.length >= 76).at(-1);
  need(commitment !== undefined, "witness-commitment", "the coinbase commits to no witnesses");
  const root = fold(tx.wtxid, form.index, branchOf(branch));
  need(toHex(sha256d(concat(root, value))) === commitment.slice(12, 76), "witness-root", "another commitment");
}

// ------------------------------------------------------------ together

function branchOf(value) {
  need(Array.isArray(value), FORM, "a branch is a list");
  return value.map((node) => fromHex(node, FORM, 32));
}

function readForm(form) {
  exactly(form, MEMBERS, FORM);
  need(form.kind === "btc.spv/v1", FORM, "another kind");
  need(isWhole(form.index) && isWhole(form.at) && Array.isArray(form.headers), FORM, "members of another type");
  const branches = [branchOf(form.branch), branchOf(form.coinbase_branch)];
  need(branches[0].length === branches[1].length, "coinbase-depth", "branches of unequal length");
  return branches;
}

function checkCoinbase(form, tx, coinbase) {
  need(tx.classic.length !== 64 && coinbase.classic.length !== 64, "tx-64-bytes", "a leaf that could be a node");
  need(coinbase.inputs.length === 1 && isNull(coinbase.inputs[0]), "coinbase-form", "it is no coinbase");
  need(!tx.inputs.some(isNull) && form.index !== 0, "coinbase-form", "the transaction is the coinbase");
}

/** Verify a proof under a policy {chain, minWork, confirmations, anchors}. */
export function verifySpv(form, policy) {
  const [branch, coinbaseBranch] = readForm(form);
  need(form.chain === policy.chain, "spv-chain", "another chain than the policy's");
  const network = NETWORKS[policy.chain];
  const [tx, coinbase] = [form.tx, form.coinbase].map((text) => readTransaction(fromHex(text, FORM)));
  checkCoinbase(form, tx, coinbase);
  const run = checkRun(form, policy, network);
  need(sameBytes(fold(tx.txid, form.index, branch), run.header.root), "merkle-root", "another root");
  need(sameBytes(fold(coinbase.txid, 0, coinbaseBranch), run.header.root), "coinbase-root", "another root");
  const height = pushedHeight(run.height);
  const heightThere = run.height < network.bip34 || toHex(coinbase.inputs[0].script).startsWith(height);
  need(heightThere, "coinbase-height", "the coinbase names another height");
  checkWitnesses(form, tx, coinbase);
  const { confirmations, work, pinned, anchor } = run;
  return {
    tx, txid: reversed(toHex(tx.txid)), block: run.header.name, height: run.height, time_s: run.header.time,
    confirmations, work, pinned, anchor, run: run.names.map((name, at) => [name, run.first + at]),
    witnesses: form.witness_branch !== null, spends: tx.inputs.map((input) => `${reversed(input.txid)}:${input.n}`),
  };
}
