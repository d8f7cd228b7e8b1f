// Paths in Merkle-Patricia tries: the value at a key, or that there is none.
import { need } from "./errors.mjs";
import { sameBytes, toHex } from "./bytes.mjs";
import { keccak256 } from "./keccak.mjs";
import { decode } from "./rlp.mjs";

const MAX_NODES = 65;
const EMPTY_ROOT = keccak256(Uint8Array.of(0x80));

/** Half bytes and kind of a hex-prefix path. */
function hexPrefix(bytes) {
  const digits = toHex(bytes);
  const flag = Number.parseInt(digits[0], 16);
  need(digits.length > 0 && flag <= 3, "trie-node", "a path with no such flag");
  need(flag % 2 === 1 || digits[1] === "0", "trie-node", "a path with dirty padding");
  return { leaf: flag >= 2, path: digits.slice(flag % 2 === 1 ? 1 : 2) };
}

function checkChild(child) {
  if (child.items !== undefined) need(child.raw.length < 32, "trie-node", "a long node inside another");
  else need(child.bytes.length === 0 || child.bytes.length === 32, "trie-node", "a child that is none");
}

function branch(items) {
  items.slice(0, 16).forEach(checkChild);
  need(items[16].bytes !== undefined, "trie-node", "a branch whose value is a list");
  const filled = items.filter((item) => item.items !== undefined || item.bytes.length > 0);
  need(filled.length >= 2, "trie-node", "a branch with less than two things");
  return { branch: true, children: items.slice(0, 16), value: items[16].bytes };
}

function read(item) {
  const { items } = item;
  need(items !== undefined && [2, 17].includes(items.length), "trie-node", "neither branch nor pair");
  if (items.length === 17) return branch(items);
  need(items[0].bytes !== undefined && items[0].bytes.length > 0, "trie-node", "a pair without a path");
  const { leaf, path } = hexPrefix(items[0].bytes);
  if (leaf) {
    need(items[1].bytes?.length > 0, "trie-node", "a leaf without a value");
    return { leaf, path, value: items[1].bytes };
  }
  checkChild(items[1]);
  need(path.length > 0 && items[1].bytes?.length !== 0, "trie-node", "an extension that leads nowhere");
  return { leaf, path, child: items[1] };
}

/** What a node says of the rest of the key: a child to go on with, or the end. */
function step(node, rest) {
  if (node.branch) {
    if (rest === "") return { value: node.value };
    return { child: node.children[Number.parseInt(rest[0], 16)], rest: rest.slice(1) };
  }
  if (node.leaf) return { value: node.path === rest ? node.value : new Uint8Array(0) };
  if (!rest.startsWith(node.path)) return { value: new Uint8Array(0) };
  return { child: node.child, rest: rest.slice(node.path.length), wantsBranch: true };
}

/** The value at `key` under `root`; null where the path shows that there is none. */
export function lookUp(root, key, nodes) {
  need(nodes.length <= MAX_NODES && key.length <= 64, "trie-bounds", "more nodes than any path has");
  if (sameBytes(root, EMPTY_ROOT)) {
    need(nodes.length === 0 || (nodes.length === 1 && toHex(nodes[0]) === "80"), "trie-surplus", "nodes of an empty trie");
    return null;
  }
  let [rest, used, wanted, item, wantsBranch] = [toHex(key), 0, root, undefined, false];
  for (;;) {
    if (wanted !== undefined) {
      need(used < nodes.length, "trie-incomplete", "the path stops before the key is decided");
      need(sameBytes(keccak256(nodes[used]), wanted), "trie-hash", `node ${used} is another`);
      need(used === 0 || nodes[used].length >= 32, "trie-node", "a short node that is named by its hash");
      item = decode(nodes[used++]);
    }
    const node = read(item);
    need(!wantsBranch || node.branch, "trie-node", "an extension that leads to no branch");
    const next = step(node, rest);
    if (next.child === undefined || next.child.bytes?.length === 0) {
      need(used === nodes.length, "trie-surplus", "nodes that the path does not use");
      return next.value?.length > 0 ? next.value : null;
    }
    [rest, wantsBranch] = [next.rest, next.wantsBranch === true];
    [item, wanted] = [next.child, next.child.bytes];
  }
}

export function valueAt(root, key, nodes) {
  const value = lookUp(root, key, nodes);
  need(value !== null, "trie-absent", "the path shows that there is no value");
  return value;
}
