// Recursive length prefix, canonical only, read without recursion.
import { need } from "./errors.mjs";
import { toInt, concat } from "./bytes.mjs";

const CHECK = "rlp-canonical";
const [MAX_BYTES, MAX_ITEMS, MAX_DEPTH] = [1 << 20, 65_536, 8];

/** Where an item begins and ends: {list, start, end}. */
function prefix(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return { list: false, start: at, end: at + 1 };
  const list = first >= 0xc0;
  const short = first - (list ? 0xc0 : 0x80);
  if (short <= 55) {
    const [start, end] = [at + 1, at + 1 + short];
    const needless = !list && short === 1 && bytes[start] < 0x80;
    need(!needless, CHECK, "a byte with a needless prefix");
    return { list, start, end };
  }
  const start = at + 1 + short - 55;
  const lengths = bytes.subarray(at + 1, start);
  need(start <= bytes.length && lengths[0] !== 0, CHECK, "a length that is cut off or has zeros");
  const length = toInt(lengths);
  need(length > 55n && length <= BigInt(MAX_BYTES), CHECK, "a length not in its shortest form");
  return { list, start, end: start + Number(length) };
}

/** Decode one item. A string is {bytes, raw}, a list {items, raw}; raw has the prefix. */
export function decode(bytes) {
  need(bytes.length > 0 && bytes.length <= MAX_BYTES, CHECK, "nothing, or more than 1 MiB");
  const top = { items: [], end: bytes.length };
  const open = [top];
  let [at, count] = [0, 0];
  while (at < bytes.length || open.length > 1) {
    const list = open.at(-1);
    if (at === list.end && list !== top) {
      open.pop();
      continue;
    }
    need(at < bytes.length && (list !== top || top.items.length === 0), CHECK, "something follows");
    count += 1;
    need(count <= MAX_ITEMS, CHECK, "too many items");
    const found = prefix(bytes, at);
    need(found.end <= list.end, CHECK, "an item reaches beyond its list");
    const raw = bytes.subarray(at, found.end);
    const item = found.list ? { items: [], raw, end: found.end } : { bytes: bytes.subarray(found.start, found.end), raw };
    list.items.push(item);
    if (found.list) {
      need(open.length <= MAX_DEPTH, CHECK, "too many lists in lists");
      open.push(item);
    }
    at = found.list ? found.start : found.end;
  }
  return top.items[0];
}

export function listOf(item, check, ...lengths) {
  need(item.items !== undefined, check, "a string where a list belongs");
  need(lengths.length === 0 || lengths.includes(item.items.length), check, `${item.items.length} fields`);
  return item.items;
}

export function bytesOf(item, check, ...lengths) {
  need(item.bytes !== undefined, check, "a list where a string belongs");
  need(lengths.length === 0 || lengths.includes(item.bytes.length), check, `a field of ${item.bytes.length} bytes`);
  return item.bytes;
}

/** An integer: no leading zeros, at most `most` bytes. */
export function intOf(item, check, most = 32) {
  const bytes = bytesOf(item, check);
  need(bytes.length <= most && bytes[0] !== 0, check, "an integer with leading zeros, or too large");
  return toInt(bytes);
}

function head(short, length) {
  if (length <= 55) return Uint8Array.of(short + length);
  const digits = length.toString(16);
  const size = Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex");
  return concat(Uint8Array.of(short + 55 + size.length), size);
}

/** A list of items that are encoded already. */
export function encodeList(raws) {
  const body = concat(...raws);
  return concat(head(0xc0, body.length), body);
}

export function encodeInt(value) {
  if (value === 0) return Uint8Array.of(0x80);
  const digits = value.toString(16);
  const bytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex");
  return bytes.length === 1 && bytes[0] < 0x80 ? new Uint8Array(bytes) : concat(head(0x80, bytes.length), bytes);
}
