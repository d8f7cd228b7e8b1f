// Signed notes: checkpoints of a log, and the rotation of the key that signs them.
import { need } from "./errors.mjs";
import { concat, fromBase64, fromHex, sameBytes, sha256, toHex, utf8 } from "./bytes.mjs";
import { keccak256 } from "./keccak.mjs";
import { recoverRsv } from "./secp256k1.mjs";

const [MAX_NOTE, MAX_SIGNATURES, MAX_ROTATIONS] = [128 * 1024, 16, 1000];
const ORIGIN = /^[a-z0-9][a-z0-9._/:-]{0,127}$/;
const SIZE = /^(?:0|[1-9][0-9]{0,15})$/;
const LINE = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)$/;
const CHECKS = { form: "note-signature", highS: "note-high-s" };

function readLine(line) {
  const found = LINE.exec(line);
  need(found !== null, "note-form", "a line that is no signature");
  const bytes = fromBase64(found[2], "note-form");
  need(bytes.length >= 5, "note-form", "a signature too short");
  return { name: found[1], id: bytes.subarray(0, 4), signature: bytes.subarray(4) };
}

/** Text (with its last newline) and signature lines, parted by the last empty line. */
export function parseNote(note) {
  need(utf8(note).length <= MAX_NOTE, "note-size", "too large");
  need(!/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(note), "note-form", "a control character");
  const cut = note.lastIndexOf("\n\n");
  need(cut > 0 && note.endsWith("\n"), "note-form", "no empty line between text and signatures");
  const lines = note.slice(cut + 2, -1).split("\n");
  need(cut + 2 < note.length && lines.length <= MAX_SIGNATURES, "note-signatures", "none, or too many");
  return { text: note.slice(0, cut + 1), lines: lines.map(readLine) };
}

function keyId(name, address) {
  const kind = utf8("eip191-secp256k1");
  return sha256(concat(utf8(`${name}\n`), Uint8Array.of(0xff), kind, fromHex(address, "note-form", 20))).subarray(0, 4);
}

/** Check that exactly one line is the operator's, and that its key made it. */
function checkSigned(note, name, address) {
  const id = keyId(name, address);
  const lines = note.lines.filter((line) => line.name === name && sameBytes(line.id, id));
  need(lines.length > 0, "note-unsigned", "no line of that name and key");
  need(lines.length === 1, "note-duplicate", "two lines of one key");
  const text = utf8(note.text);
  const digest = keccak256(concat(utf8(`\x19Ethereum Signed Message:\n${text.length}`), text));
  need(recoverRsv(digest, lines[0].signature, CHECKS) === address, "note-signer", "another key made it");
}

function linesOf(text, check) {
  const lines = text.split("\n");
  need(lines.pop() === "", check, "the text does not end with a newline");
  need(/^[\n\u0020-\u007e]*$/.test(text), check, "not ASCII");
  return lines;
}

function sizeAndRoot(size, root, check) {
  need(SIZE.test(size) && Number.isSafeInteger(Number(size)), check, "no size");
  return { size: Number(size), root: toHex(fromBase64(root, check, 32)) };
}

function parseCheckpoint(text) {
  const [origin, size, root, ...more] = linesOf(text, "checkpoint-form");
  need(root !== undefined && ORIGIN.test(origin), "checkpoint-form", "no checkpoint");
  need(more.length <= 8 && more.every((line) => line.length >= 1 && line.length <= 256), "checkpoint-form", "extension lines");
  return { origin, ...sizeAndRoot(size, root, "checkpoint-form") };
}

function parseRotation(text, origin) {
  const lines = linesOf(text, "rotation-form");
  need(lines.length === 6 && lines[0] === origin && lines[1] === "key-rotation/v1", "rotation-form", "no rotation of this log");
  const [from, to] = [/^old ([0-9a-f]{40})$/.exec(lines[2]), /^new ([0-9a-f]{40})$/.exec(lines[3])];
  need(from !== null && to !== null, "rotation-form", "no addresses");
  return { from: from[1], to: to[1], ...sizeAndRoot(lines[4], lines[5], "rotation-form") };
}

/** Read the rotations, each signed by both keys; the last address is the present key's. */
function keysOf(origin, first, notes) {
  need(notes.length <= MAX_ROTATIONS, "rotation-order", "too many");
  const [rotations, seen] = [[], new Set([first])];
  let address = first;
  for (const note of notes) {
    const parsed = parseNote(note);
    const rotation = parseRotation(parsed.text, origin);
    need(rotation.from === address && rotation.to !== address, "rotation-key", "from another key, or to itself");
    checkSigned(parsed, origin, rotation.from);
    checkSigned(parsed, origin, rotation.to);
    need(!seen.has(rotation.to), "rotation-order", "a retired key that comes back");
    need(rotation.size >= (rotations.at(-1)?.size ?? 0), "rotation-order", "a log that shrinks");
    seen.add(rotation.to);
    rotations.push(rotation);
    address = rotation.to;
  }
  return { rotations, address };
}

/** The checkpoint in a note, if the log's key at that size signed it. */
export function verifyCheckpoint(note, rotationNotes, origin, first) {
  const { rotations, address } = keysOf(origin, first, rotationNotes);
  const parsed = parseNote(note);
  const checkpoint = parseCheckpoint(parsed.text);
  need(checkpoint.origin === origin, "checkpoint-origin", "a checkpoint of another log");
  need(rotations.every((one) => one.size < checkpoint.size), "rotation-order", "a rotation after the checkpoint");
  checkSigned(parsed, origin, address);
  return { ...checkpoint, address, rotations: rotations.length };
}
