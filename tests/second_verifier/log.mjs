// The log's tree (RFC 6962): inclusion of many leaves at once, and consistency of two sizes.
import { need } from "./errors.mjs";
import { concat, fromBase64, sameBytes, sha256, toHex } from "./bytes.mjs";

const leafHash = (body) => sha256(concat(Uint8Array.of(0), body));
const nodeHash = (left, right) => sha256(concat(Uint8Array.of(1), left, right));
const MAX_PATH = 64;

/** The largest power of two below a width of at least two. */
function split(width) {
  let half = 1;
  while (half * 2 < width) half *= 2;
  return half;
}

/** Stored nodes [level, index] that cover a range, largest first from the left. */
function covering(start, end) {
  const names = [];
  for (let at = start; at < end; ) {
    let [level, width] = [0, 1];
    while (at % (width * 2) === 0 && at + width * 2 <= end) [level, width] = [level + 1, width * 2];
    names.push([level, at / width]);
    at += width;
  }
  return names;
}

/** The root of [start, end), from leaves at known positions and stored nodes for the rest. */
function rootOf(start, end, positions, leaves, take) {
  if (positions.length === 0) return covering(start, end).map(take).reduceRight((right, left) => nodeHash(left, right));
  if (end - start === 1) return leaves.get(start);
  const middle = start + split(end - start);
  const cut = positions.findIndex((position) => position >= middle);
  const left = cut < 0 ? positions : positions.slice(0, cut);
  const right = cut < 0 ? [] : positions.slice(cut);
  return nodeHash(rootOf(start, middle, left, leaves, take), rootOf(middle, end, right, leaves, take));
}

function checkPositions(positions, size) {
  need(positions.length > 0 && positions.at(-1) < size, "log-positions", "a position beyond the log");
  need(positions.every((one, at) => at === 0 || one > positions[at - 1]), "log-positions", "not increasing");
}

/** Check that the records are the leaves at their positions under a checkpoint. */
export function verifyInclusion(part, bodies, checkpoint) {
  const { positions, nodes } = part;
  need(positions.length === bodies.length, "log-positions", "another number than of records");
  checkPositions(positions, checkpoint.size);
  const leaves = new Map(bodies.map((body, at) => [positions[at], leafHash(body)]));
  const stored = new Map(nodes.map(([level, index, text]) => [`${level}/${index}`, fromBase64(text, "log-nodes", 32)]));
  const used = new Set();
  const take = ([level, index]) => {
    const name = `${level}/${index}`;
    need(stored.has(name), "log-nodes", `node ${name} is missing`);
    used.add(name);
    return stored.get(name);
  };
  const root = rootOf(0, checkpoint.size, positions, leaves, take);
  need(used.size === stored.size, "log-nodes", "nodes that nothing needs");
  need(toHex(root) === checkpoint.root, "log-root", "the records do not make the checkpoint's root");
}

/** RFC 9162, 2.1.4.2: the log of `second` leaves begins with the one of `first`. */
export function verifyConsistency(first, second, firstRoot, secondRoot, path) {
  need(path.length <= MAX_PATH, "log-path", "more hashes than any proof has");
  if (first === 0) {
    need(path.length === 0, "log-path", "nothing has to be shown from an empty log");
    return;
  }
  need(path.length > 0, "log-path", "an empty proof");
  const hashes = Number.isInteger(Math.log2(first)) ? [firstRoot, ...path] : [...path];
  let [node, last] = [BigInt(first) - 1n, BigInt(second) - 1n];
  while (node & 1n) [node, last] = [node >> 1n, last >> 1n];
  let [left, right] = [hashes[0], hashes[0]];
  for (const hash of hashes.slice(1)) {
    need(last !== 0n, "log-path", "too many hashes");
    if ((node & 1n) || node === last) {
      [left, right] = [nodeHash(hash, left), nodeHash(hash, right)];
      while (!(node & 1n) && node !== 0n) [node, last] = [node >> 1n, last >> 1n];
    } else {
      right = nodeHash(right, hash);
    }
    [node, last] = [node >> 1n, last >> 1n];
  }
  need(last === 0n, "log-path", "too few hashes");
  const shown = sameBytes(left, firstRoot) && sameBytes(right, secondRoot);
  need(shown, "log-consistency", "the new log does not begin with the old one");
}
