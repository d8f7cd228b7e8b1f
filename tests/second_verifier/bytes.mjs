// Bytes, hexadecimal digits, base64 and SHA-256, all strict.
import { createHash } from "node:crypto";
import { need } from "./errors.mjs";

const HEX = /^(?:[0-9a-f]{2})*$/;

export const sha256 = (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest());
export const sha256d = (bytes) => sha256(sha256(bytes));
export const toHex = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
export const utf8 = (text) => new TextEncoder().encode(text);
export const concat = (...parts) => new Uint8Array(Buffer.concat(parts));
export const reversed = (hex) => hex.match(/../g).reverse().join("");

export function fromHex(text, check, length = undefined) {
  need(typeof text === "string" && HEX.test(text), check, "not lower-case hexadecimal digits");
  need(length === undefined || text.length === 2 * length, check, `not ${length} bytes`);
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** Node's decoder forgives almost anything, so what it read must encode to the same text. */
export function fromBase64(text, check, length = undefined) {
  need(typeof text === "string", check, "not base64");
  const bytes = Buffer.from(text, "base64");
  need(bytes.toString("base64") === text, check, "not base64 in its one form");
  need(length === undefined || bytes.length === length, check, `not ${length} bytes`);
  return new Uint8Array(bytes);
}

export function sameBytes(left, right) {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** A big-endian number. */
export function toInt(bytes) {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`);
}

/** A number as one EVM word. */
export function word(value) {
  return fromHex(BigInt(value).toString(16).padStart(64, "0"), "word", 32);
}

/** Bytes, padded on the left to one EVM word. */
export function padded(bytes) {
  return concat(new Uint8Array(32 - bytes.length), bytes);
}
