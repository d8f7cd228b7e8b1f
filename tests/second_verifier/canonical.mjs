// Canonical JSON: a parser that refuses what JSON.parse forgives (a key twice, floats, numbers that
// do not fit), and the one form in which a value is hashed. Written without recursion over the
// input's depth being unbounded: at most 32 levels.
import { need } from "./errors.mjs";
import { sha256, toHex, utf8 } from "./bytes.mjs";

const CHECK = "canonical-json";
const MAX_DEPTH = 32;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const NUMBER = /-?(?:0|[1-9][0-9]*)/y;
const SPACE = /[ \t\n\r]*/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;

class Parser {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return null;
    this.at = pattern.lastIndex;
    return found[0];
  }

  take(literal) {
    const here = this.text.startsWith(literal, this.at);
    if (here) this.at += literal.length;
    return here;
  }

  file() {
    const value = this.value(0);
    this.match(SPACE);
    need(this.at === this.text.length, CHECK, "something follows the value");
    return value;
  }

  value(depth) {
    this.match(SPACE);
    const first = this.text[this.at];
    if (first === "{" || first === "[") {
      need(depth < MAX_DEPTH, CHECK, `more than ${MAX_DEPTH} levels`);
      return first === "{" ? this.object(depth + 1) : this.list(depth + 1);
    }
    if (first === '"') return this.string();
    for (const [literal, value] of [["null", null], ["true", true], ["false", false]]) {
      if (this.take(literal)) return value;
    }
    return this.number();
  }

  number() {
    const digits = this.match(NUMBER);
    need(digits !== null && !/[.eE]/.test(this.text[this.at] ?? ""), CHECK, "not an integer");
    need(Number.isSafeInteger(Number(digits)), CHECK, "an integer beyond 2^53");
    return Number(digits) + 0; // never minus zero
  }

  string() {
    let text = "";
    this.at += 1;
    for (;;) {
      text += this.match(PLAIN);
      if (this.take('"')) break;
      need(this.take("\\"), CHECK, "a string that does not end, or a raw control character");
      text += this.escape();
    }
    need(text.isWellFormed(), CHECK, "a lone surrogate");
    return text;
  }

  escape() {
    const letter = this.text[this.at++];
    if (letter in ESCAPES) return ESCAPES[letter];
    const digits = this.text.slice(this.at, this.at + 4);
    need(letter === "u" && /^[0-9a-fA-F]{4}$/.test(digits), CHECK, "no such escape");
    this.at += 4;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  list(depth) {
    const items = [];
    this.at += 1;
    this.match(SPACE);
    if (this.take("]")) return items;
    for (;;) {
      items.push(this.value(depth));
      this.match(SPACE);
      if (this.take("]")) return items;
      need(this.take(","), CHECK, "no comma between elements");
    }
  }

  object(depth) {
    const members = Object.create(null); // so that "__proto__" is a key like any other
    this.at += 1;
    this.match(SPACE);
    if (this.take("}")) return members;
    for (;;) {
      this.member(members, depth);
      this.match(SPACE);
      if (this.take("}")) return members;
      need(this.take(","), CHECK, "no comma between members");
    }
  }

  member(members, depth) {
    this.match(SPACE);
    need(this.text[this.at] === '"', CHECK, "a member without a name");
    const name = this.string();
    need(!(name in members), CHECK, "a key stands there twice");
    need(/^[\u0000-\u007f]*$/.test(name), CHECK, "a key that is not ASCII");
    this.match(SPACE);
    need(this.take(":"), CHECK, "no colon after a name");
    members[name] = this.value(depth);
  }
}

function decoded(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    need(false, CHECK, "not UTF-8");
  }
}

/** Read JSON in any layout (people write trust files). */
export function parseLoose(bytes) {
  return new Parser(decoded(bytes)).file();
}

/** Read JSON that is byte for byte its own canonical form. */
export function parse(bytes) {
  const text = decoded(bytes);
  const value = new Parser(text).file();
  need(encode(value) === text, CHECK, "not the canonical form of what it means");
  return value;
}

/** The canonical text of a value that `parse` returned or that we made. */
export function encode(value) {
  if (Array.isArray(value)) return `[${value.map(encode).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${encode(value[name])}`).join(",")}}`;
}

export const encodeBytes = (value) => utf8(encode(value));

/** SHA-256 of the canonical form, as hexadecimal digits. */
export const digest = (value) => toHex(sha256(encodeBytes(value)));
export const equal = (left, right) => encode(left) === encode(right);
