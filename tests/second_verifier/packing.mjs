// A bundle's file may be one member of gzip (RFC 1952), with a file's name in its header or without.
import { inflateRawSync } from "node:zlib";
import { need } from "./errors.mjs";

const CHECK = "bundle-packing";
const [HEADER, TRAILER, NAME_MAX] = [10, 8, 255];
const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function inflated(body, most) {
  try {
    return inflateRawSync(body, { maxOutputLength: most, info: true });
  } catch (error) {
    need(error.code !== "ERR_BUFFER_TOO_LARGE", "bundle-size", `more than ${most} bytes`);
    return need(false, CHECK, "not what gzip makes");
  }
}

/** Where the deflate stream begins; 0 where there can be none. */
function begin(raw) {
  if (raw[3] === 0) return HEADER;
  return raw[3] === 8 ? raw.subarray(0, HEADER + NAME_MAX + 1).indexOf(0, HEADER) + 1 : 0;
}

/** What a file holds: itself, if it is not packed; never more than `most` bytes. */
export function unpacked(raw, most) {
  if (raw[0] !== 0x1f || raw[1] !== 0x8b) {
    need(raw.length <= most, "bundle-size", `more than ${most} bytes`);
    return raw;
  }
  const start = begin(raw);
  need(raw[2] === 8 && start > 0 && raw.length >= start + TRAILER, CHECK, "gzip of another kind");
  const body = raw.subarray(start, -TRAILER);
  const { buffer, engine } = inflated(body, most);
  need(engine.bytesWritten === body.length, CHECK, "more than one member, or something after it");
  const trailer = new DataView(raw.buffer, raw.byteOffset + raw.length - TRAILER, TRAILER);
  const same = trailer.getUint32(0, true) === crc32(buffer) && trailer.getUint32(4, true) === buffer.length;
  need(same, CHECK, "not what was packed");
  return new Uint8Array(buffer);
}
